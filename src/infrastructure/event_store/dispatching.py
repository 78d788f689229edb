"""The dispatcher's duty: one process in the world hands out work and sweeps."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import Any

import psycopg
from psycopg import AsyncConnection

from application.dispatch import Dispatcher, Sweeper
from application.ports import QueueUnavailableError, StoreUnavailableError
from infrastructure.event_store.leadership import leadership

log = logging.getLogger(__name__)

SWEEP_EVERY = 1.0
LOOK_EVERY = 30.0
TIDY_EVERY = 60.0
WITHOUT_QUEUE = 1.0
BUSY_PAUSE = 0.02  # between rounds while no slot is free: news of due work costs nothing


class Dispatching:
    """Dispatches whenever nobody else does; woken by the channel `work`, and every second."""

    def __init__(self, database_url: str, dispatcher: Dispatcher, sweeper: Sweeper) -> None:
        self._url = database_url
        self._dispatcher = dispatcher
        self._sweeper = sweeper
        self._sweep_at = self._look_at = self._tidy_at = 0.0

    async def run(self) -> None:
        """Have the duty until cancelled; whatever goes wrong, try again."""
        while True:
            try:
                async with leadership(self._url, "dispatcher") as connection:
                    log.info("this worker dispatches")
                    await connection.execute("LISTEN work")
                    await self._dispatch(connection)
            except (psycopg.Error, StoreUnavailableError) as error:
                log.warning("the dispatcher lost the database: %s", type(error).__name__)
            except Exception:
                log.exception("the dispatcher begins again")
            await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311  # spreads reconnects

    async def _dispatch(self, connection: AsyncConnection[Any]) -> None:
        while True:
            await self._sweep_when_it_is_time(connection)
            pause = await self._hand_over()
            async for _ in connection.notifies(timeout=pause, stop_after=1):
                pass
            if self._dispatcher.saturated:
                await asyncio.sleep(BUSY_PAUSE)

    async def _sweep_when_it_is_time(self, connection: AsyncConnection[Any]) -> None:
        now = time.monotonic()
        if now >= self._sweep_at:
            await connection.execute("SELECT")  # a statement each second keeps the duty
            await self._sweeper.free_abandoned()
            self._sweep_at = now + SWEEP_EVERY
        if now >= self._look_at:
            ended = await self._sweeper.recreate_missing()
            self._look_at = now + (LOOK_EVERY if ended else SWEEP_EVERY)
        if now >= self._tidy_at:
            await self._sweeper.tidy()
            self._tidy_at = now + TIDY_EVERY

    async def _hand_over(self) -> float:
        try:
            return await self._dispatcher.hand_over()
        except QueueUnavailableError as error:
            log.warning("%s", error)
            return WITHOUT_QUEUE
