"""Waiting, on behalf of a client, for a generation to end."""

from __future__ import annotations

import asyncio
import logging
from asyncio import FIRST_COMPLETED
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any
from uuid import UUID

from application.generations import Placed
from application.ports.event_store import EventNews, EventStore, StoreUnavailableError
from domain.generation import ENDINGS, Generation

log = logging.getLogger(__name__)

LOOK_AGAIN = 1.0  # seconds, after a look that failed: there may be no other news


class Waiting:
    """Folds the generation when it has ended; `stop` lets everybody go at once."""

    def __init__(self, store: EventStore, news: EventNews) -> None:
        self._store = store
        self._news = news
        self._under_way: set[asyncio.Task[Generation]] = set()
        self._stopped = False

    def stop(self) -> None:
        """This process is about to end: nobody waits any more."""
        self._stopped = True
        for waiting in self._under_way:
            waiting.cancel()

    async def for_end(
        self, placed: Placed, *, seconds: float, gone: Coroutine[Any, Any, None]
    ) -> Generation | None:
        """The generation as soon as it has ended, or as it is when the time is up.

        `gone` ends when the client goes away: then nobody is waiting any more, and there is None.
        Raises StoreUnavailableError.
        """
        if seconds <= 0 or self._stopped:
            gone.close()
            return placed.generation or await self._now(placed.id)
        waiting, leaving = asyncio.create_task(self._end(placed)), asyncio.create_task(gone)
        self._under_way.add(waiting)
        try:
            await asyncio.wait({waiting, leaving}, timeout=seconds, return_when=FIRST_COMPLETED)
            if waiting.done() and not waiting.cancelled():
                return waiting.result()
            if leaving.done():
                leaving.result()
                return None
        finally:
            waiting.cancel()
            leaving.cancel()
            self._under_way.discard(waiting)
        return await self._now(placed.id)

    async def _end(self, placed: Placed) -> Generation:
        news = self._news.watch(placed.id, kinds=ENDINGS, after=placed.position)
        async with aclosing(news):
            async for _ in news:
                generation = await self._look(placed.id)
                if generation.closed:
                    return generation
        raise AssertionError("The news of a stream never ends.")

    async def _look(self, id_: UUID) -> Generation:
        while True:
            try:
                return await self._now(id_)
            except StoreUnavailableError as error:
                log.warning("cannot look yet: %s", error)
                await asyncio.sleep(LOOK_AGAIN)

    async def _now(self, id_: UUID) -> Generation:
        generation = await self._store.get(Generation, id_)
        if generation is None:
            raise LookupError(f"Generation {id_} was accepted and is not in the log.")
        return generation
