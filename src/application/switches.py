"""What a process knows of the administrators' decisions about providers, kept current."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing

from application.ports.event_store import (
    EventNews,
    EventStore,
    StoreUnavailableError,
    UnknownEventError,
)
from domain.provider import PROVIDERS, Providers

log = logging.getLogger(__name__)

LOOK_EVERY = 5.0  # seconds, if there is no news
LOOK_AGAIN = 1.0  # seconds, after a look that failed


class Switches:
    """Which providers are on, and in which order: as last seen; until then, as configured."""

    def __init__(self, store: EventStore, *, every: float = LOOK_EVERY) -> None:
        self._store, self._every = store, every
        self._seen: Providers | None = None
        self._is_behind = False  # a newer release decided something

    def order(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of these that are on, in the order of preference."""
        return tuple(name for name in self.arranged(names) if self.is_on(name))

    def arranged(self, names: Sequence[str]) -> tuple[str, ...]:
        """All of these, on or off, in the order of preference."""
        return self._seen.arranged(names) if self._seen else tuple(names)

    def is_on(self, name: str) -> bool:
        """Whether it may be asked."""
        return self._seen is None or name not in self._seen.switched_off

    async def look(self) -> None:
        """See what was decided. Raises StoreUnavailableError."""
        try:
            self._seen = await self._store.get(Providers, PROVIDERS)
            self._is_behind = False
        except UnknownEventError as error:
            if not self._is_behind:
                log.warning("which providers are on is as it was seen last: %s", error)
            self._is_behind = True

    async def follow(self, news: EventNews) -> None:
        """Look whenever something was decided, and every few seconds, for ever."""
        async with aclosing(news.watch(PROVIDERS, every=self._every)) as told:
            async for _ in told:
                await self._look_until_seen()

    async def _look_until_seen(self) -> None:
        while True:
            try:
                return await self.look()
            except StoreUnavailableError as error:
                log.warning("cannot see which providers are on: %s", error)
            except Exception:
                log.exception("cannot see which providers are on")
            await asyncio.sleep(LOOK_AGAIN)
