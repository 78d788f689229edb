"""Handing over through a real Redis: who is woken, and what happens when a wake-up gets lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import arq.worker
import pytest
from redis.asyncio import Redis

from application.ports.workers import DueWork
from application.tasks import end
from infrastructure.queue import QUEUE, WAKE_UPS, ArqQueue, ArqWorker

NEVER = 1.5  # seconds without a wake-up: shorter than an answer may take, longer than tests wait
SOON = 1.0


@dataclass
class Performing:
    """A worker that notes what it begins, and goes on with it until told."""

    begun: list[UUID] = field(default_factory=list)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def perform(self, ref: UUID) -> None:
        self.begun.append(ref)
        await self.may_end.wait()

    @asynccontextmanager
    async def at_work(self, redis_url: str, *, slots: int = 1) -> AsyncIterator[None]:
        worker = ArqWorker(redis_url, {"generate": self.perform}, slots=slots)
        running = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            self.may_end.set()
            await end(running)

    async def has_begun(self, pieces: int, *, within: float = SOON) -> None:
        async with asyncio.timeout(within):
            while len(self.begun) < pieces:
                await asyncio.sleep(0.005)


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[ArqQueue]:
    queue = ArqQueue(redis_url)
    yield queue
    await queue.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url) as redis:
        yield redis


@pytest.fixture
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infrastructure.queue.LOOK_ANYHOW", NEVER)


def pieces(count: int) -> list[DueWork]:
    return [DueWork("generate", uuid4(), uuid4()) for _ in range(count)]


async def waits(redis: Redis) -> None:
    """Until a worker is idle."""
    async with asyncio.timeout(5):
        while not any(client["cmd"] == "blpop" for client in await redis.client_list()):
            await asyncio.sleep(0.005)


async def hand_over_in_silence(
    redis: Redis, queue: ArqQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One piece, whose wake-up gets lost."""

    async def nobody(_: int) -> None: ...

    with monkeypatch.context() as patched:
        patched.setattr(queue, "_wake", nobody)
        await queue.hand_over(pieces(1))
    assert not await redis.exists(WAKE_UPS)


@pytest.mark.usefixtures("nobody_looks")
async def test_an_idle_worker_is_woken(redis_url: str, queue: ArqQueue, redis: Redis) -> None:
    one = Performing()
    async with one.at_work(redis_url, slots=3):
        await waits(redis)
        work = pieces(3)
        await queue.hand_over(work)
        await one.has_begun(3)
    assert set(one.begun) == {piece.ref for piece in work}


@pytest.mark.usefixtures("nobody_looks")
async def test_what_a_full_worker_leaves_wakes_another(redis_url: str, queue: ArqQueue) -> None:
    full, free = Performing(), Performing()
    async with full.at_work(redis_url):
        await queue.hand_over(pieces(1))
        await full.has_begun(1)
        async with free.at_work(redis_url):
            await queue.hand_over(pieces(1))
            await free.has_begun(1)
    assert len(full.begun) == 1


async def test_a_slot_that_becomes_free_is_filled(redis_url: str, queue: ArqQueue) -> None:
    one = Performing()
    async with one.at_work(redis_url):
        await queue.hand_over(pieces(2))
        await one.has_begun(1)
        one.may_end.set()
        await one.has_begun(2)


async def test_a_lost_wake_up_costs_a_moment(
    redis_url: str, queue: ArqQueue, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.queue.LOOK_ANYHOW", 0.3)
    one = Performing()
    async with one.at_work(redis_url):
        await waits(redis)
        await hand_over_in_silence(redis, queue, monkeypatch)
        await one.has_begun(1)


@pytest.mark.usefixtures("nobody_looks")
async def test_a_worker_that_comes_looks_before_it_waits(
    redis_url: str, redis: Redis, queue: ArqQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hand_over_in_silence(redis, queue, monkeypatch)
    one = Performing()
    async with one.at_work(redis_url):
        await one.has_begun(1)


@pytest.mark.usefixtures("nobody_looks")
async def test_a_machine_whose_clock_is_behind_takes_work_at_once(
    redis_url: str, queue: ArqQueue, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = arq.worker.timestamp_ms
    monkeypatch.setattr("arq.worker.timestamp_ms", lambda: here() - 60_000)
    one = Performing()
    async with one.at_work(redis_url):
        await waits(redis)
        await queue.hand_over(pieces(1))
        await one.has_begun(1)


async def test_wake_ups_that_nobody_takes_are_bounded_and_go(
    queue: ArqQueue, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.queue.MOST_WAKE_UPS", 2)
    await queue.hand_over(pieces(3))
    assert await redis.llen(WAKE_UPS) == 2
    assert 0 < await redis.ttl(WAKE_UPS) <= 600
    assert await redis.zcard(QUEUE) == 3
