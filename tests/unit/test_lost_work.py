"""Two sweeps: whose work is freed, and where missing work is looked for."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from application import missing_work
from application.leases import LeaseSweep
from application.missing_work import MissingWorkSweep
from application.ports.event_store import ClaimWork, CloseWork, Command
from domain.generation import Generation
from tests.fakes import FakeClock, MemoryEventStore
from tests.generations import new_generation, request_command

LEASE = timedelta(seconds=15)
DEADLINE = timedelta(minutes=15)


class Floor:
    """Sweeps over a store in memory whose time moves when told to."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryEventStore(self.clock)
        self.leases = LeaseSweep(self.store.board, lease=LEASE)
        self.missing = MissingWorkSweep(self.store, self.store.board, deadline=DEADLINE)

    async def place(self) -> Generation:
        generation = new_generation(self.clock.now)
        await self.store.append(request_command(generation))
        return generation

    async def work_of_a_dead_worker(self) -> UUID:
        generation, worker = await self.place(), uuid4()
        await self.store.board.register(worker, slots=1, lease=timedelta(seconds=1))
        await self.store.append(Command(work=ClaimWork("generate", generation.id, worker)))
        return generation.id

    async def lose_work(self, *generations: Generation) -> None:
        for generation in generations:
            await self.store.append(Command(work=CloseWork("generate", generation.id)))

    def is_held(self, ref: UUID) -> bool:
        return self.store.work["generate", ref].worker is not None

    async def sweep_each_second(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(seconds=1)
            await self.leases.round()


@pytest.fixture
def floor() -> Floor:
    return Floor()


async def test_a_dead_workers_work_is_freed_once_the_store_was_steady_for_a_lease(
    floor: Floor,
) -> None:
    ref = await floor.work_of_a_dead_worker()
    await floor.sweep_each_second(15)
    assert floor.is_held(ref)
    await floor.sweep_each_second(1)
    assert not floor.is_held(ref)


async def test_a_store_that_was_away_gives_every_worker_a_whole_lease_to_come_back(
    floor: Floor,
) -> None:
    await floor.sweep_each_second(20)
    ref = await floor.work_of_a_dead_worker()
    floor.clock.advance(seconds=60)  # nobody could extend a lease
    await floor.sweep_each_second(15)
    assert floor.is_held(ref)
    await floor.sweep_each_second(1)
    assert not floor.is_held(ref)


async def test_the_log_is_looked_through_a_stretch_at_a_time(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing_work, "POSITIONS_A_STRETCH", 2)
    generations = [await floor.place() for _ in range(5)]
    await floor.lose_work(generations[0], generations[4])
    assert not await floor.missing.round()
    assert len(floor.store.work) == 4
    assert not await floor.missing.round()
    assert await floor.missing.round()
    assert len(floor.store.work) == 5


async def test_a_later_pass_begins_where_generations_may_still_be_open(floor: Floor) -> None:
    old = await floor.place()
    assert await floor.missing.round()
    floor.clock.advance(minutes=14)
    await floor.lose_work(old)
    assert await floor.missing.round()
    assert len(floor.store.work) == 1, "within the deadline it is found again"
    floor.clock.advance(minutes=2)
    new = await floor.place()
    await floor.lose_work(old, new)
    assert await floor.missing.round()
    assert set(floor.store.work) == {("generate", new.id)}, "the old one is over by now"
