"""Where a queued generation stands, and why it waits."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from application.ports.event_store import ClaimWork, Command, ReleaseWork, StoreUnavailableError
from application.ports.workers import DueWork
from application.queue_places import FAR_AWAY, QueuePlaces, _ahead
from domain.generation import Generation
from tests.fakes import FakeClock, MemoryEventStore
from tests.generations import new_generation, request_command

LEASE = timedelta(seconds=30)


class Office:
    """A store, and what is told of its queue."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryEventStore(self.clock)
        self.seconds = 0.0
        self.places = QueuePlaces(self.store.board, self.store.now, clock=lambda: self.seconds)

    async def queued(self, user_id: UUID) -> Generation:
        generation = new_generation(self.clock.now, user_id=user_id)
        await self.store.append(request_command(generation))
        self.clock.advance(seconds=0.001)
        found = await self.store.get(Generation, generation.id)
        assert found is not None
        return found

    async def worker(self, slots: int) -> UUID:
        worker = uuid4()
        await self.store.board.register(worker, slots=slots, lease=LEASE)
        return worker


@pytest.fixture
def office() -> Office:
    return Office()


async def test_places_go_in_turn_by_user(office: Office) -> None:
    one, other = UUID(int=1), UUID(int=2)
    flood = [await office.queued(one) for _ in range(3)]
    single = await office.queued(other)
    places = [(await office.places.of(generation)).place for generation in [*flood, single]]
    assert places == [1, 3, 4, 2]


async def test_nobody_at_work_is_the_reason(office: Office) -> None:
    told = await office.places.of(await office.queued(uuid4()))
    assert (told.place, told.reason) == (1, "no-workers")
    assert told.detail.startswith("It is the next one. No worker is running")


async def test_taken_slots_are_the_reason(office: Office) -> None:
    user, worker = uuid4(), await office.worker(slots=1)
    first, second = await office.queued(user), await office.queued(user)
    await office.store.append(Command(work=ClaimWork("generate", first.id, worker)))
    told = await office.places.of(second)
    assert (told.place, told.reason) == (1, "workers-busy")


async def test_what_a_worker_has_claimed_is_far_from_nothing(office: Office) -> None:
    queued, worker = await office.queued(uuid4()), await office.worker(slots=1)
    await office.store.append(Command(work=ClaimWork("generate", queued.id, worker)))
    told = await office.places.of(queued)
    assert (told.place, told.reason) == (None, "starting")
    assert told.detail.startswith("A worker has it")


async def test_what_waits_for_its_time_is_with_no_worker(office: Office) -> None:
    queued, worker = await office.queued(uuid4()), await office.worker(slots=1)
    await office.store.append(Command(work=ClaimWork("generate", queued.id, worker)))
    later = office.clock.now + timedelta(seconds=30)
    await office.store.append(Command(work=ReleaseWork("generate", queued.id, worker, later)))
    told = await office.places.of(queued)
    assert (told.place, told.reason) == (None, "put-off")
    office.clock.advance(seconds=31)
    office.seconds += 1
    assert (await office.places.of(queued)).place == 1


async def test_a_free_slot_starts_it_at_any_moment_or_something_is_wrong(office: Office) -> None:
    await office.worker(slots=1)
    queued = await office.queued(uuid4())
    assert (await office.places.of(queued)).reason == "starting"
    office.clock.advance(seconds=10)
    assert (await office.places.of(queued)).reason == "not-handed-over"


async def test_one_look_a_second_serves_everybody(office: Office) -> None:
    first = await office.queued(UUID(int=2))
    assert (await office.places.of(first)).place == 1
    await office.queued(UUID(int=1))
    assert (await office.places.of(first)).place == 1
    office.seconds += 1
    assert (await office.places.of(first)).place == 2


async def test_what_came_after_the_look_is_with_no_worker(office: Office) -> None:
    await office.places.of(await office.queued(UUID(int=1)))
    told = await office.places.of(await office.queued(UUID(int=2)))
    assert (told.place, told.reason) == (2, "no-workers")


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        (1, "It is the next one."),
        (2, "One other is before it."),
        (3, "About 2 others are before it."),
        (None, f"More than {FAR_AWAY} others are before it."),
    ],
)
def test_a_place_is_a_sentence(place: int | None, sentence: str) -> None:
    assert _ahead(place) == sentence


async def test_who_waits_for_a_look_that_fails_has_the_failure_at_once(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, failing = 0, asyncio.Event()

    async def fail(**_: object) -> list[DueWork]:
        nonlocal looks
        looks += 1
        await failing.wait()
        raise StoreUnavailableError("PostgreSQL did not answer in time")

    queued = await office.queued(uuid4())
    with monkeypatch.context() as patched:
        patched.setattr(office.store.board, "next_due", fail)
        asking = [asyncio.create_task(office.places.of(queued)) for _ in range(3)]
        await asyncio.sleep(0)
        failing.set()
        told = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(error) for error in told] == ["PostgreSQL did not answer in time"] * 3
    assert looks == 1
    assert (await office.places.of(queued)).place == 1
