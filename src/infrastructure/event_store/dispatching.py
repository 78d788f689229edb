"""The dispatcher's duty: one process in the world hands out work, and sweeps."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import AsyncConnection

from application.dispatch import Dispatcher
from application.ports.event_store import StoreUnavailableError
from application.ports.workers import QueueUnavailableError
from application.sweeping import Sweep, sweep_for_ever
from application.tasks import end
from infrastructure.event_store.leadership import leadership

log = logging.getLogger(__name__)

CONNECTIONS = 1
WITHOUT_QUEUE = 1.0
BUSY_PAUSE = 0.02  # between rounds while no slot is free: news of due work costs nothing


class Dispatching:
    """Dispatches whenever nobody else does; woken by the channel `work`, and every second.

    Sweeps go on beside it, over other connections: neither a queue nor an image store that does not
    answer keeps the others.
    """

    def __init__(self, database_url: str, dispatcher: Dispatcher, sweeps: Sequence[Sweep]) -> None:
        self._url = database_url
        self._dispatcher = dispatcher
        self._sweeps = sweeps

    async def run(self) -> None:
        """Have the duty until cancelled; whatever goes wrong, try again."""
        while True:
            try:
                async with leadership(self._url, "dispatcher") as connection:
                    log.info("this worker dispatches")
                    await connection.execute("LISTEN work")
                    await self._dispatch_and_sweep(connection)
            except (psycopg.Error, StoreUnavailableError) as error:
                log.warning("the dispatcher lost the database: %s", type(error).__name__)
            except Exception:
                log.exception("the dispatcher begins again")
            await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311  # spreads reconnects

    async def _dispatch_and_sweep(self, connection: AsyncConnection[Any]) -> None:
        sweeping = asyncio.create_task(sweep_for_ever(self._sweeps))
        try:
            await self._dispatch(connection)
        finally:
            await end(sweeping)

    async def _dispatch(self, connection: AsyncConnection[Any]) -> None:
        while True:
            await connection.execute("SELECT")  # a statement each second keeps the duty
            pause = await self._hand_over()
            async for _ in connection.notifies(timeout=pause, stop_after=1):
                pass
            if self._dispatcher.saturated:
                await asyncio.sleep(BUSY_PAUSE)

    async def _hand_over(self) -> float:
        try:
            return await self._dispatcher.hand_over()
        except QueueUnavailableError as error:
            log.warning("%s", error)
            return WITHOUT_QUEUE
