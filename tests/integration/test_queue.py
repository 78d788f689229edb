"""Handing over through a real Redis: who is woken, and what happens when a wake-up gets lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID, uuid4

import arq.worker
import pytest
from redis.asyncio import Redis

from application.ports.workers import DueWork
from application.tasks import end
from infrastructure.queue import QUEUE, WAKE_UPS, ArqQueue, ArqWorker

NEVER = 60  # seconds that nobody looks without a wake-up
SOON = 10.0


@dataclass
class Performing:
    """A worker that notes what it begins, and goes on with it until told."""

    begun: list[UUID] = field(default_factory=list)
    may_take: bool = True
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def perform(self, ref: UUID) -> None:
        self.begun.append(ref)
        await self.may_end.wait()

    @asynccontextmanager
    async def at_work(self, redis_url: str, *, slots: int = 1) -> AsyncIterator[None]:
        worker = ArqWorker(
            redis_url, {"generate": self.perform}, slots=slots, may_take=lambda: self.may_take
        )
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
    monkeypatch.setattr("infrastructure.redis_line.REDIS_SECONDS", 2 * NEVER)


def pieces(count: int) -> list[DueWork]:
    return [DueWork("generate", uuid4(), uuid4()) for _ in range(count)]


async def wait(redis: Redis, workers: int = 1) -> None:
    """Until so many workers are idle."""
    async with asyncio.timeout(SOON):
        while [client["cmd"] for client in await redis.client_list()].count("blpop") < workers:
            await asyncio.sleep(0.005)


async def hand_over_in_silence(
    redis: Redis, queue: ArqQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One piece, whose wake-up gets lost."""

    async def nobody(_: object) -> None: ...

    with monkeypatch.context() as patched:
        patched.setattr(queue, "_wake_one", nobody)
        await queue.hand_over(pieces(1))
    assert not await redis.exists(WAKE_UPS)


@pytest.mark.usefixtures("nobody_looks")
async def test_an_idle_worker_is_woken(redis_url: str, queue: ArqQueue, redis: Redis) -> None:
    one = Performing()
    async with one.at_work(redis_url, slots=3):
        await wait(redis)
        work = pieces(3)
        await queue.hand_over(work)
        await one.has_begun(3)
    assert set(one.begun) == {piece.ref for piece in work}


@pytest.mark.usefixtures("nobody_looks")
async def test_each_piece_wakes_another(redis_url: str, queue: ArqQueue, redis: Redis) -> None:
    one, other = Performing(), Performing()
    async with one.at_work(redis_url), other.at_work(redis_url):
        await wait(redis, workers=2)
        await queue.hand_over(pieces(2))
        await one.has_begun(1)
        await other.has_begun(1)


@pytest.mark.usefixtures("nobody_looks")
async def test_who_is_full_takes_no_wake_up(redis_url: str, queue: ArqQueue, redis: Redis) -> None:
    full, free = Performing(), Performing()
    async with full.at_work(redis_url):
        await queue.hand_over(pieces(1))
        await full.has_begun(1)
        async with free.at_work(redis_url):
            await wait(redis)
            await redis.delete(WAKE_UPS)
            await queue.hand_over(pieces(1))
            await free.has_begun(1)
    assert len(full.begun) == 1


@pytest.mark.usefixtures("nobody_looks")
async def test_who_may_not_take_leaves_work_until_it_may(redis_url: str, queue: ArqQueue) -> None:
    cut_off, other = Performing(may_take=False), Performing()
    async with cut_off.at_work(redis_url):
        async with other.at_work(redis_url, slots=20):
            for piece in pieces(20):
                await queue.hand_over([piece])
            await other.has_begun(20)
        assert not cut_off.begun
        await queue.hand_over(pieces(1))
        cut_off.may_take = True
        await cut_off.has_begun(1)


@pytest.mark.usefixtures("nobody_looks")
async def test_a_slot_that_becomes_free_is_filled(
    redis_url: str, queue: ArqQueue, redis: Redis
) -> None:
    one = Performing()
    async with one.at_work(redis_url):
        await queue.hand_over(pieces(2))
        await one.has_begun(1)
        await redis.delete(WAKE_UPS)
        one.may_end.set()
        await one.has_begun(2)


@pytest.mark.usefixtures("nobody_looks")
async def test_a_worker_that_is_nearly_full_overlooks_nothing(
    redis_url: str, queue: ArqQueue
) -> None:
    for _ in range(20):
        one = Performing()
        async with one.at_work(redis_url, slots=4):
            for piece in pieces(4):
                await queue.hand_over([piece])
                await asyncio.sleep(random.uniform(0, 0.003))
            await one.has_begun(4)


async def test_a_lost_wake_up_costs_a_moment(
    redis_url: str, queue: ArqQueue, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.queue.LOOK_ANYHOW", 0.3)
    one = Performing()
    async with one.at_work(redis_url):
        await wait(redis)
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
        await wait(redis)
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


async def test_nothing_is_handed_over_without_a_word(queue: ArqQueue, redis: Redis) -> None:
    await queue.hand_over([])
    assert not await redis.exists(QUEUE, WAKE_UPS)


@pytest.mark.usefixtures("nobody_looks")
async def test_a_worker_that_waits_can_be_stopped(
    redis_url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.queue.SECONDS_TO_CLOSE", NEVER)
    worker = ArqWorker(redis_url, {"generate": Performing().perform}, slots=1)
    running = asyncio.create_task(worker.run())
    await wait(redis)
    assert await worker.stop(within=timedelta(seconds=1))
    await asyncio.wait_for(running, SOON)
