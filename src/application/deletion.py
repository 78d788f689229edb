"""Deleted generations: their images leave the image store, whatever happens on the way."""

from __future__ import annotations

import logging
from datetime import timedelta
from uuid import UUID

from application.pictures import Pictures
from application.ports import (
    Accepted,
    ClaimWork,
    CloseWork,
    Command,
    EventStore,
    ImageStoreUnavailableError,
    OpenWork,
    ReleaseWork,
    StoreUnavailableError,
)
from domain.generation import Generation

log = logging.getLogger(__name__)

PATIENCE = timedelta(days=30)
AGAIN = timedelta(seconds=5)


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
        """What a worker does with this work. Raises StoreUnavailableError."""
        claimed = await self._store.append(Command(work=ClaimWork("delete", ref, worker)))
        generation = await self._store.get(Generation, ref)
        if generation is None or not isinstance(claimed, Accepted):
            return
        try:
            await self._pictures.erase(generation.objects)
        except ImageStoreUnavailableError as error:
            log.warning("images cannot be erased yet: %s", error)
            later = ReleaseWork("delete", ref, worker, self._store.now() + AGAIN)
            await self._store.append(Command(work=later))
        else:
            await self._store.append(Command(work=CloseWork("delete", ref, worker)))
