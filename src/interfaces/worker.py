"""The worker process: performs generations, and one of them has the dispatcher's duty."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg

from application.dispatch import Dispatcher, Sweeper
from application.perform import Performer
from application.ports import QueueUnavailableError, StoreUnavailableError, WorkBoard
from infrastructure.container import Container
from infrastructure.event_store.leadership import leadership
from infrastructure.queue import ArqWorker
from infrastructure.settings import Settings

log = logging.getLogger(__name__)

RECREATE_EVERY = 30.0
DRAIN_MARGIN = 15.0  # seconds to store and record what a call answered
BUSY_PAUSE = 0.02  # between rounds while no slot is free: news of accepted requests cost nothing


class Incarnation:
    """This worker as the work board knows it; once its lease has ended, it is somebody new."""

    def __init__(self, board: WorkBoard, *, slots: int, lease: timedelta) -> None:
        self._board = board
        self._slots = slots
        self._lease = lease
        self.id = uuid4()

    async def open(self) -> None:
        """Begin to take work."""
        await self._board.register(self.id, slots=self._slots, lease=self._lease)

    async def beat_for_ever(self) -> None:
        """Extend the lease well before it ends."""
        while True:
            await asyncio.sleep(self._lease.total_seconds() / 4)
            try:
                if not await self._board.extend(self.id, lease=self._lease):
                    log.warning("the lease of this worker had ended: it goes on as a new one")
                    self.id = uuid4()
                    await self.open()
            except StoreUnavailableError as error:
                log.warning("the lease cannot be extended: %s", error)

    async def close(self) -> None:
        """Give back what is still held."""
        with suppress(StoreUnavailableError):
            await self._board.retire(self.id)


async def perform_work(
    performer: Performer,
    incarnation: Incarnation,
    board: WorkBoard,
    *,
    redis_url: str,
    slots: int,
    drain: timedelta,
    stopping: asyncio.Event,
) -> None:
    """Perform what is handed over until told to stop; then let what is under way end."""

    async def perform(ref: UUID) -> None:
        await performer.perform(ref, incarnation.id)

    worker = ArqWorker(redis_url, perform, slots=slots)
    running = asyncio.create_task(worker.run())
    beating = asyncio.create_task(incarnation.beat_for_ever())
    await stopping.wait()
    with suppress(StoreUnavailableError):
        await board.drain(incarnation.id)
    if not await worker.stop(within=drain):
        log.error("calls under way were abandoned: they took longer than a call may take")
    await running
    beating.cancel()
    await asyncio.gather(beating, return_exceptions=True)
    await incarnation.close()


async def dispatch_for_ever(dispatcher: Dispatcher, sweeper: Sweeper, database_url: str) -> None:
    """Have the dispatcher's duty whenever nobody else has it."""
    while True:
        try:
            async with leadership(database_url, "dispatcher") as connection:
                log.info("this worker dispatches")
                await connection.execute("LISTEN work")
                await _dispatch(dispatcher, sweeper, connection)
        except (psycopg.Error, StoreUnavailableError) as error:
            log.warning("the dispatcher lost the database: %s", type(error).__name__)
            await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311  # spreads reconnects


async def _dispatch(
    dispatcher: Dispatcher, sweeper: Sweeper, connection: psycopg.AsyncConnection[Any]
) -> None:
    swept = recreated = float("-inf")
    while True:
        if time.monotonic() - swept >= 1.0:
            await connection.execute("SELECT")  # a statement each second keeps the duty
            await sweeper.free_abandoned()
            swept = time.monotonic()
        if time.monotonic() - recreated >= RECREATE_EVERY:
            await sweeper.recreate_missing()
            recreated = time.monotonic()
        pause = await _hand_over(dispatcher)
        async for _ in connection.notifies(timeout=pause, stop_after=1):
            await asyncio.sleep(BUSY_PAUSE if dispatcher.saturated else 0)


async def _hand_over(dispatcher: Dispatcher) -> float:
    try:
        return await dispatcher.hand_over()
    except QueueUnavailableError as error:
        log.warning("%s", error)
        return 1.0


async def stop_together(stopping: asyncio.Event, *duties: Coroutine[Any, Any, None]) -> None:
    """Run duties until told to stop; one that ends by an error ends the process."""
    tasks = [asyncio.create_task(duty) for duty in duties]
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    stop.cancel()
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def run(settings: Settings, stopping: asyncio.Event) -> None:
    """The whole worker process, until `stopping` is set; then it drains."""
    container = Container(settings=settings)
    store, board, queue = container.store(), container.board(), container.queue()
    await store.open()
    lease = timedelta(seconds=settings.lease_seconds)
    incarnation = Incarnation(board, slots=settings.worker_slots, lease=lease)
    await incarnation.open()
    dispatcher = Dispatcher(board, queue)
    dispatching = dispatch_for_ever(dispatcher, Sweeper(store, board), container.database_url())
    performing = perform_work(
        container.performer(),
        incarnation,
        board,
        redis_url=container.redis_url(),
        slots=settings.worker_slots,
        drain=timedelta(seconds=settings.call_seconds + DRAIN_MARGIN),
        stopping=stopping,
    )
    try:
        await asyncio.gather(performing, stop_together(stopping, dispatching))
    finally:
        await queue.close()
        await store.close()
