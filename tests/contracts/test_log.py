"""A log among others: PostgreSQL, and the store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from application.ports.event_store import EventStore
from application.ports.images import Log
from infrastructure.event_store.log import PostgresLog
from infrastructure.event_store.store import PostgresEventStore
from tests.fakes import FakeClock, MemoryEventStore, MemoryLog
from tests.generations import new_generation, request_command


class Case:
    """A log and its store."""

    def __init__(self, store: EventStore, log: Log, clock: FakeClock | None = None) -> None:
        self.store, self.log, self._clock = store, log, clock

    async def let_time_pass(self) -> None:
        if self._clock:
            self._clock.advance(seconds=0.01)
        else:
            await asyncio.sleep(0.01)

    async def grow(self) -> None:
        await self.store.append(request_command(new_generation(self.store.now())))


@pytest.fixture(params=["memory", "postgres"])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    if request.param == "memory":
        clock = FakeClock()
        memory = MemoryEventStore(clock=clock)
        yield Case(memory, MemoryLog(memory), clock)
        return
    store = PostgresEventStore(request.getfixturevalue("database_url"))
    await store.open()
    try:
        yield Case(store, PostgresLog(store.fetch))
    finally:
        await store.close()


async def test_all_that_a_log_has_come_to_is_its_own(case: Case) -> None:
    marks = [await case.log.end()]
    assert marks[0].position == 0
    for _ in range(2):
        await case.grow()
        marks.append(await case.log.end())
    assert len({mark.position for mark in marks}) == 3
    assert await case.log.not_mine(marks) == []
    assert await case.log.not_mine([]) == []


async def test_another_logs_marks_are_not_its_own(case: Case) -> None:
    empty = await case.log.end()
    await case.grow()
    others = [replace(mark, log=uuid4()) for mark in (empty, await case.log.end())]
    assert await case.log.not_mine(others) == others


async def test_what_a_restored_log_has_lost_is_not_its_own(case: Case) -> None:
    await case.grow()
    end = await case.log.end()
    behind = replace(end, position=end.position + 1)
    in_its_place = replace(end, recorded_at=end.recorded_at + timedelta(microseconds=1))
    assert await case.log.not_mine([end, behind, in_its_place]) == [behind, in_its_place]


async def test_it_ages(case: Case) -> None:
    young = await case.log.age()
    await case.grow()
    await case.let_time_pass()
    assert timedelta() <= young < await case.log.age()


async def test_its_clock_is_the_stores(case: Case) -> None:
    assert abs(await case.log.clock() - case.store.now()) < timedelta(minutes=1)
