"""Deleted generations: their images leave the image store, whatever happens on the way."""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from application.pictures import Pictures
from application.ports.event_store import (
    Accepted,
    ClaimWork,
    CloseWork,
    Command,
    EventStore,
    OpenWork,
    Outcome,
    ReleaseWork,
    StoreUnavailableError,
    Work,
)
from application.ports.images import ImageStoreUnavailableError
from application.recording import record_patiently
from domain.generation import Generation

log = logging.getLogger(__name__)

PATIENCE = timedelta(days=30)
AGAIN = timedelta(seconds=5)
UNEXPECTED_AGAIN = timedelta(seconds=30)


class Deletions:
    """Erases what deleted generations stored: at once where possible, else by a worker, later."""

    def __init__(self, *, store: EventStore, pictures: Pictures) -> None:
        self._store = store
        self._pictures = pictures

    def work(self, generation: UUID, user_id: UUID) -> OpenWork:
        """What is due from the decision on until every image is gone."""
        return OpenWork("delete", generation, user_id, PATIENCE)

    async def try_now(self, generation: Generation) -> None:
        """Erase without waiting for a worker; if that fails, the work is still due."""
        try:
            await self._pictures.erase(generation.objects)
            await self._store.append(Command(work=CloseWork("delete", generation.id)))
        except (ImageStoreUnavailableError, StoreUnavailableError) as error:
            log.warning("a worker has to erase the images: %s", error)

    async def perform(self, ref: UUID, worker: UUID) -> None:
        """What a worker does with this work; after an error it is due again a little later."""
        claim = ClaimWork("delete", ref, worker)
        if not isinstance(await self._record(claim), Accepted):
            return
        try:
            generation = await self._store.get(Generation, ref)
            if generation is not None:
                await self._pictures.erase(generation.objects)
        except (ImageStoreUnavailableError, StoreUnavailableError) as error:
            log.warning("images cannot be erased yet: %s", error)
            await self._put_back(ref, worker, AGAIN)
        except Exception:
            await self._put_back(ref, worker, UNEXPECTED_AGAIN)
            raise
        else:
            await self._record(CloseWork("delete", ref, worker))

    async def _put_back(self, ref: UUID, worker: UUID, later: timedelta) -> None:
        await self._record(ReleaseWork("delete", ref, worker, self._store.now() + later))

    async def _record(self, work: Work) -> Outcome:
        return await record_patiently(self._store, Command(work=work))
