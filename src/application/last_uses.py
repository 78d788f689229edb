"""What is used is noted now and then, not each time: without an event, and some may be lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from application.ports.event_store import StoreUnavailableError
from application.ports.uses import Uses

log = logging.getLogger(__name__)

MOST_AT_ONCE = 10_000  # uses that wait to be noted; what is used besides may look unused


class LastUses:
    """What this process knows of last uses, and what all of them noted."""

    def __init__(self, uses: Uses, *, every: float) -> None:
        self._uses, self._every = uses, every
        self._new: dict[UUID, datetime] = {}

    def use(self, id_: UUID, now: datetime) -> None:
        """It is used now."""
        if id_ in self._new or len(self._new) < MOST_AT_ONCE:
            self._new[id_] = now

    def here(self, id_: UUID) -> datetime | None:
        """When it was used here last; None where that was noted, or it was not."""
        return self._new.get(id_)

    async def last(self, ids: Collection[UUID]) -> Mapping[UUID, datetime]:
        """When they were used last, of those that were. Raises StoreUnavailableError."""
        noted = await self._uses.last(ids)
        newer = {id_: self._new[id_] for id_ in ids if id_ in self._new}
        return {**noted, **newer}

    async def keep(self) -> None:
        """Note every few seconds what is new, for ever."""
        while True:
            await asyncio.sleep(self._every)
            await self.note()

    async def note(self) -> None:
        """Let other processes know, and the next ones."""
        new, self._new = self._new, {}
        try:
            if new:
                await self._uses.note(new)
        except StoreUnavailableError as error:
            log.warning("cannot note what is in use yet: %s", error)
            self._new = {**new, **self._new}
