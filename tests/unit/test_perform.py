"""What a worker does with a generation, on the in-memory store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from application import pictures
from application.perform import NEWER_AGAIN, Performer
from application.pictures import Pictures
from application.ports.event_store import (
    Accepted,
    Command,
    HoldWork,
    Outcome,
    StoreUnavailableError,
)
from application.ports.providers import (
    Answer,
    CallFailedError,
    CallRequest,
    OutcomeUnknownError,
    Picture,
)
from application.routing import Router
from domain.aggregate import Event
from domain.failure import Failure
from domain.generation import Generation
from domain.image import Cost
from infrastructure.event_store.mapper import UnreadableEventError
from infrastructure.images import PillowInspector
from tests.fakes import FakeClock, FakeSpool, MemoryEventStore
from tests.fakes_images import HANG, FakeImageStore, FakeProvider, answer_to, small_png
from tests.generations import (
    COST,
    events_of,
    new_generation,
    reference_image,
    request_command,
)

LEASE = timedelta(seconds=30)


class Studio:
    """A store, a provider, an image store, and workers to perform with."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryEventStore(self.clock)
        self.provider = FakeProvider()
        self.images = FakeImageStore()
        self.spool = FakeSpool()
        self.performer = self.another_process()

    def another_process(self) -> Performer:
        return Performer(
            store=self.store,
            router=Router({"fake": self.provider}),
            pictures=Pictures(self.images, self.spool, PillowInspector()),
            call_timeout=timedelta(seconds=60),
            lease=LEASE,
            jitter=lambda: 0.5,
            clock=lambda: self.clock().timestamp(),
        )

    async def place(self, **wanted: object) -> UUID:
        generation = new_generation(self.clock.now, **wanted)
        assert isinstance(await self.store.append(request_command(generation)), Accepted)
        return generation.id

    async def worker(self) -> UUID:
        worker = uuid4()
        await self.store.board.register(worker, slots=4, lease=LEASE)
        return worker

    async def perform(self, ref: UUID) -> Generation:
        await self.performer.perform(ref, await self.worker())
        return await self.load(ref)

    async def cancel(self, ref: UUID) -> None:
        generation = await self.load(ref)
        generation.cancel(by=generation.user_id)
        assert isinstance(await self.store.append(Command(events_of(generation))), Accepted)

    async def another_process_performs(self, ref: UUID) -> Generation:
        await self.another_process().perform(ref, await self.worker())
        return await self.load(ref)

    async def load(self, ref: UUID) -> Generation:
        generation = await self.store.get(Generation, ref)
        assert generation is not None
        return generation

    async def trail(self, ref: UUID) -> list[str]:
        history = await self.store.history(ref, after=0, limit=99)
        return [recorded.event.topic.removeprefix("generation.") for recorded in history]

    def units(self) -> set[int]:
        return set(self.store.units.values())


@pytest.fixture
def studio() -> Studio:
    return Studio()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_generation_is_called_for_stored_and_completed(studio: Studio) -> None:
    ref = await studio.place(count=2)
    generation = await studio.perform(ref)
    assert await studio.trail(ref) == [
        "requested",
        "call_started",
        "call_started",
        "call_answered",
        "call_answered",
        "completed",
    ]
    assert generation.status == "completed"
    assert [image.url for image in generation.published] == [
        f"https://images.example/{image.key}" for image in generation.published
    ]
    assert studio.store.work == {}


async def test_the_ordinary_way_is_one_read_and_two_appends(studio: Studio) -> None:
    ref = await studio.place()
    recorded: list[list[str]] = []
    reads = 0
    append, get = studio.store.append, studio.store.get

    async def noted(command: Command) -> Outcome:
        recorded.append([event.topic.removeprefix("generation.") for event in command.events])
        return await append(command)

    async def counted(aggregate: type[Generation], stream: UUID) -> Generation | None:
        nonlocal reads
        reads += 1
        return await get(aggregate, stream)

    studio.store.append = noted
    studio.store.get = counted
    await studio.performer.perform(ref, await studio.worker())
    assert reads == 1
    assert recorded == [["call_started"], ["call_answered", "completed"]]


async def test_an_image_store_that_does_not_show_a_picture_soon_delays_the_end_alone(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "CONFIRM_SECONDS", 0.01)
    ref = await studio.place()
    looked = studio.images.holds
    looks = 0

    async def slow_look(key: str, *, sha256: str) -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            await asyncio.sleep(60)
        return await looked(key, sha256=sha256)

    monkeypatch.setattr(studio.images, "holds", slow_look)
    generation = await studio.perform(ref)
    assert generation.status == "completed"
    assert await studio.trail(ref) == ["requested", "call_started", "call_answered", "completed"]
    assert looks == 2


async def test_how_long_it_waited_and_took_is_recorded(studio: Studio) -> None:
    ref = await studio.place()
    studio.clock.advance(seconds=3)

    async def slow_call(request: CallRequest) -> Answer:
        studio.clock.advance(seconds=4)
        return answer_to(request)

    studio.provider.told = [slow_call]
    await studio.perform(ref)
    completed = (await studio.store.history(ref, after=0, limit=99))[-1].event
    assert isinstance(completed, Generation.Completed)
    assert (completed.durations.queued, completed.durations.total) == (3, 7)


async def test_a_provider_that_makes_several_at_once_is_called_once(studio: Studio) -> None:
    offered = studio.provider.capabilities
    studio.provider.capabilities = type(offered)(**{**vars(offered), "images_per_call": 4})
    ref = await studio.place(count=3)
    await studio.perform(ref)
    assert [request.images for request in studio.provider.asked] == [(1, 2, 3)]


async def test_the_provider_is_given_what_was_asked_for(studio: Studio) -> None:
    ref = await studio.place(prompt="a red fox", spec={"size": "64x64", "seed": 7})
    await studio.perform(ref)
    (request,) = studio.provider.asked
    assert (request.prompt, request.size, request.seed) == ("a red fox", "64x64", 7)


async def test_a_second_delivery_of_the_same_work_does_nothing(studio: Studio) -> None:
    ref = await studio.place()
    studio.provider.told = [HANG]
    first = asyncio.create_task(studio.perform(ref))
    await until(lambda: len(studio.provider.asked) == 1)
    await studio.perform(ref)
    await studio.another_process().perform(ref, await studio.worker())
    assert len(studio.provider.asked) == 1
    first.cancel()


async def test_work_of_a_closed_or_unknown_generation_is_closed(studio: Studio) -> None:
    ref = await studio.place()
    generation = await studio.load(ref)
    generation.cancel(by=generation.user_id)
    await studio.store.append(Command(events_of(generation)))
    await studio.performer.perform(ref, await studio.worker())
    await studio.performer.perform(uuid4(), await studio.worker())
    assert studio.store.work == {}
    assert studio.provider.asked == []


async def test_a_refusal_ends_it_and_gives_the_units_back(studio: Studio) -> None:
    studio.provider.told = [CallFailedError(Failure(kind="moderation_input"))]
    generation = await studio.perform(await studio.place())
    assert generation.error is not None
    assert generation.error[0] == "moderation_input"
    assert studio.units() == {0}


async def test_a_passing_failure_is_repeated_when_its_time_has_come(studio: Studio) -> None:
    failure = Failure(kind="rate_limited", retry_after=timedelta(seconds=20))
    studio.provider.told = [CallFailedError(failure)]
    ref = await studio.place()
    assert (await studio.perform(ref)).status == "processing"
    assert (await studio.perform(ref)).status == "processing"
    assert len(studio.provider.asked) == 1
    studio.clock.advance(seconds=20)
    assert (await studio.perform(ref)).status == "completed"
    assert len(studio.provider.asked) == 2


async def test_what_was_answered_is_not_asked_for_again(studio: Studio) -> None:
    studio.provider.told = [CallFailedError(Failure(kind="unavailable"))]
    ref = await studio.place(count=2)
    await studio.perform(ref)
    studio.clock.advance(seconds=5)
    assert (await studio.perform(ref)).status == "completed"
    assert [request.images for request in studio.provider.asked] == [(1,), (2,), (1,)]


async def test_a_call_without_an_answer_in_time_is_lost_and_repeated_once(studio: Studio) -> None:
    studio.performer.calls.timeout = timedelta(seconds=0.05)
    studio.provider.told = [HANG, HANG]
    ref = await studio.place()
    generation = await studio.perform(ref)
    assert generation.error is not None
    assert generation.error[0] == "outcome_unknown"
    assert (await studio.trail(ref)).count("call_lost") == 2
    assert studio.units() == {0}


async def test_a_lost_connection_is_an_unknown_outcome(studio: Studio) -> None:
    studio.provider.told = [OutcomeUnknownError("the connection broke")]
    ref = await studio.place(on_unknown="fail")
    assert (await studio.perform(ref)).status == "failed"
    assert len(studio.provider.asked) == 1


async def test_the_calls_of_a_worker_that_is_gone_are_lost_and_repeated(studio: Studio) -> None:
    studio.provider.told = [HANG]
    ref = await studio.place()
    killed = asyncio.create_task(studio.perform(ref))
    await until(lambda: len(studio.provider.asked) == 1)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    studio.clock.advance(seconds=31)
    assert await studio.store.board.sweep(studio.clock.now) == 1
    assert (await studio.perform(ref)).status == "completed"
    assert await studio.trail(ref) == [
        "requested",
        "call_started",
        "call_lost",
        "call_started",
        "call_answered",
        "completed",
    ]


async def test_after_the_answer_a_new_worker_completes_without_a_call(studio: Studio) -> None:
    ref = await studio.place()
    studio.images.before_look = _never  # the crash comes before completing
    killed = asyncio.create_task(studio.perform(ref))
    await until(lambda: len(studio.store.rows) == 3)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    studio.images.before_look = None
    studio.clock.advance(seconds=31)
    await studio.store.board.sweep(studio.clock.now)
    assert (await studio.perform(ref)).status == "completed"
    assert len(studio.provider.asked) == 1


async def _never() -> None:
    await asyncio.Event().wait()


async def test_a_worker_that_lost_its_lease_records_its_answer_as_late(studio: Studio) -> None:
    ref = await studio.place()
    answered = asyncio.Event()

    async def slow_call(request: CallRequest) -> Answer:
        await answered.wait()
        return answer_to(request)

    studio.provider.told = [slow_call]
    stopped = asyncio.create_task(studio.perform(ref))
    await until(lambda: len(studio.store.rows) == 2)
    studio.clock.advance(seconds=31)
    await studio.store.board.sweep(studio.clock.now)
    answered.set()
    await stopped
    assert (await studio.trail(ref))[-1] == "call_answered_late"
    assert (await studio.perform(ref)).status == "completed"
    assert (await studio.trail(ref)).count("call_started") == 1


async def test_a_cancelled_generation_only_gets_the_cost_of_its_call(studio: Studio) -> None:
    ref = await studio.place()
    answered = asyncio.Event()

    async def slow_call(request: CallRequest) -> Answer:
        await answered.wait()
        return answer_to(request)

    studio.provider.told = [slow_call]
    performing = asyncio.create_task(studio.perform(ref))
    await until(lambda: len(studio.store.rows) == 2)
    await studio.cancel(ref)
    answered.set()
    generation = await performing
    assert (await studio.trail(ref))[-2:] == ["cancelled", "call_answered_late"]
    assert generation.status == "cancelled"
    assert generation.calls[1].cost is not None
    assert studio.images.objects == {}


@pytest.mark.parametrize("late", [None, CallFailedError(Failure(kind="no_image"), cost=COST)])
async def test_a_late_answer_to_a_completed_generation_takes_no_published_picture_away(
    studio: Studio, late: Exception | None
) -> None:
    ref = await studio.place()
    ending = asyncio.Event()

    async def slow_call(request: CallRequest) -> Answer:
        await ending.wait()
        if late:
            raise late
        return answer_to(request)  # the same bytes as the other worker's

    studio.provider.told = [slow_call]
    stopped = asyncio.create_task(studio.perform(ref))
    await until(lambda: len(studio.store.rows) == 2)
    studio.clock.advance(seconds=31)
    await studio.store.board.sweep(studio.clock.now)
    other = studio.another_process()
    await other.perform(ref, await studio.worker())
    published = dict(studio.images.objects)
    ending.set()
    generation = await stopped
    assert (await studio.trail(ref))[-2:] == ["completed", "call_answered_late"]
    assert generation.calls[1].cost is not None
    assert studio.images.objects == published != {}


async def test_bytes_that_are_no_picture_are_not_published(studio: Studio) -> None:
    ref = await studio.place()
    answer = answer_to(_request(ref))
    bad = type(answer)((Picture(b"<html>", "image/png"),), answer.cost)
    studio.provider.told = [bad, bad]
    await studio.perform(ref)
    studio.clock.advance(seconds=5)
    generation = await studio.perform(ref)
    assert generation.error is not None
    assert generation.error[0] == "no_image"
    assert all(call.cost == answer.cost for call in generation.calls.values())


def _request(ref: UUID) -> CallRequest:
    return CallRequest(ref, 1, (1,), "p", "fake-1")


async def test_what_happened_is_recorded_although_the_store_was_away(studio: Studio) -> None:
    ref = await studio.place()
    away = StoreUnavailableError("away")

    async def call_while_the_store_goes(request: CallRequest) -> Answer:
        studio.store.fail_next = [away, away]
        return answer_to(request)

    studio.provider.told = [call_while_the_store_goes]
    assert (await studio.perform(ref)).status == "completed"
    assert studio.store.fail_next == []


async def test_a_store_that_is_away_when_it_is_to_be_read_is_waited_for(studio: Studio) -> None:
    ref = await studio.place()
    studio.store.fail_next_read = [StoreUnavailableError("away")]
    assert (await studio.perform(ref)).status == "completed"
    assert studio.store.fail_next_read == []


async def test_a_call_is_not_lost_because_the_store_was_away_after_a_conflict(
    studio: Studio,
) -> None:
    ref = await studio.place()

    async def cancelled_meanwhile(request: CallRequest) -> Answer:
        await studio.cancel(ref)
        studio.store.fail_next_read = [StoreUnavailableError("away")]
        return answer_to(request)

    studio.provider.told = [cancelled_meanwhile]
    assert (await studio.perform(ref)).calls[1].outcome == "answered"


async def test_a_spooled_picture_is_not_given_up_while_the_store_is_away(studio: Studio) -> None:
    ref = await studio.place()
    studio.images.unavailable = True
    await studio.perform(ref)
    studio.images.unavailable = False
    studio.spool.fail_next_read = [StoreUnavailableError("away")]
    studio.clock.advance(seconds=10)
    assert (await studio.perform(ref)).status == "completed"
    assert studio.spool.kept == {}


async def test_after_the_deadline_nothing_is_called(studio: Studio) -> None:
    ref = await studio.place(deadline=timedelta(seconds=60))
    studio.clock.advance(seconds=61)
    generation = await studio.perform(ref)
    assert generation.error is not None
    assert generation.error[0] == "deadline_passed"
    assert studio.provider.asked == []
    assert studio.units() == {0}


async def test_the_unexpected_puts_the_work_back_for_later(studio: Studio) -> None:
    ref = await studio.place()

    async def broken(_: CallRequest) -> Answer:
        raise RuntimeError("a bug in an adapter")

    studio.provider.told = [broken]
    with pytest.raises(RuntimeError, match="a bug"):
        await studio.perform(ref)
    row = studio.store.work["generate", ref]
    assert row.worker is None
    assert row.due_at > studio.clock.now


async def test_an_outage_of_the_image_store_never_costs_a_second_call(studio: Studio) -> None:
    ref = await studio.place()
    studio.images.unavailable = True
    assert (await studio.perform(ref)).status == "processing"
    assert len(studio.spool.kept) == 1
    studio.images.unavailable = False
    studio.clock.advance(seconds=5)
    generation = await studio.perform(ref)
    assert generation.status == "completed"
    assert generation.published[0].held == "store"
    assert studio.spool.kept == {}
    assert len(studio.provider.asked) == 1


async def test_a_full_spool_fails_it_with_the_cost_recorded(studio: Studio) -> None:
    ref = await studio.place()
    studio.images.unavailable = True
    await studio.spool.put("somebody's", bytes(1_000_000))
    generation = await studio.perform(ref)
    assert generation.error is not None
    assert generation.error[0] == "image_store_unavailable"
    assert generation.calls[1].cost is not None
    assert studio.units() == {0}


async def test_an_unreadable_reference_is_waited_for_and_no_call_is_made(studio: Studio) -> None:
    ref = await studio.place(references=(reference_image(),))
    studio.images.unavailable = True
    assert (await studio.perform(ref)).status == "queued"
    studio.images.unavailable = False
    studio.images.objects[reference_image().key] = small_png("reference")
    studio.clock.advance(seconds=5)
    assert (await studio.perform(ref)).status == "completed"
    assert len(studio.provider.asked[0].references) == 1
    assert (await studio.trail(ref)).count("call_started") == 1


async def test_a_reference_that_is_gone_fails_it_without_a_call(studio: Studio) -> None:
    ref = await studio.place(references=(reference_image(),))
    generation = await studio.perform(ref)
    assert generation.error is not None
    assert generation.error[0] == "reference_gone"
    assert await studio.trail(ref) == ["requested", "failed"]
    assert studio.units() == {0}


async def test_a_provider_that_left_lets_the_work_wait(studio: Studio) -> None:
    ref = await studio.place(spec={"provider": "fake"})
    studio.performer.router = Router({})
    assert (await studio.perform(ref)).status == "queued"
    assert studio.store.work["generate", ref].due_at > studio.clock.now
    studio.performer.router = Router({"fake": studio.provider})
    studio.clock.advance(seconds=30)
    assert (await studio.perform(ref)).status == "completed"


async def test_an_unreadable_generation_is_put_back_for_later(studio: Studio) -> None:
    ref = await studio.place()
    stored = studio.store.rows[0].stored
    studio.store.rows[0].stored = replace(stored, state=b"{}")
    with pytest.raises(UnreadableEventError):
        await studio.performer.perform(ref, await studio.worker())
    assert studio.store.work["generate", ref].worker is None
    assert studio.store.work["generate", ref].due_at > studio.clock.now


async def test_what_only_a_newer_release_knows_is_left_to_it(studio: Studio) -> None:
    ref = await studio.place()
    stored = studio.store.rows[0].stored
    studio.store.rows[0].stored = replace(stored, topic="generation.requested@2")
    await studio.performer.perform(ref, await studio.worker())
    assert studio.provider.asked == []
    assert studio.store.work["generate", ref].worker is None
    assert studio.store.work["generate", ref].due_at == studio.clock.now + NEWER_AGAIN
    assert len(studio.store.rows) == 1


@pytest.mark.parametrize(
    ("outcome", "recorded", "cost"),
    [
        (CallFailedError(Failure(kind="unavailable")), "call_failed", None),
        (CallFailedError(Failure(kind="no_image"), cost=COST), "call_failed", COST),
        (OutcomeUnknownError("the connection broke"), "call_lost", None),
    ],
)
async def test_whatever_an_abandoned_call_came_to_is_recorded(
    studio: Studio, outcome: Exception, recorded: str, cost: Cost | None
) -> None:
    ref = await studio.place()
    ending = asyncio.Event()

    async def slow_call(_: CallRequest) -> Answer:
        await ending.wait()
        raise outcome

    studio.provider.told = [slow_call]
    performing = asyncio.create_task(studio.perform(ref))
    await until(lambda: len(studio.store.rows) == 2)
    await studio.cancel(ref)
    ending.set()
    generation = await performing
    assert (await studio.trail(ref))[-2:] == ["cancelled", recorded]
    assert (generation.status, generation.calls[1].cost) == ("cancelled", cost)
    assert len(studio.provider.asked) == 1


async def test_a_fenced_worker_lets_all_its_calls_end_and_records_each_as_late(
    studio: Studio,
) -> None:
    ref = await studio.place(count=3)
    answered = [asyncio.Event() for _ in range(3)]

    async def slow_call(request: CallRequest) -> Answer:
        (number,) = request.images
        await answered[number - 1].wait()
        if number == 3:
            raise CallFailedError(Failure(kind="no_image"), cost=COST)
        return answer_to(request)

    studio.provider.told = [slow_call] * 3
    stopped = asyncio.create_task(studio.perform(ref))
    await until(lambda: len(studio.store.rows) == 4)
    studio.clock.advance(seconds=31)
    await studio.store.board.sweep(studio.clock.now)
    for each in answered:
        each.set()
        await asyncio.sleep(0.01)
    generation = await stopped
    assert (await studio.trail(ref)).count("call_answered_late") == 3
    assert sorted(generation.images) == [1, 2]
    assert generation.calls[3].cost == COST


async def test_a_bug_in_one_call_does_not_keep_the_others_from_being_recorded(
    studio: Studio,
) -> None:
    ref = await studio.place(count=2)

    async def broken_for_the_first(request: CallRequest) -> Answer:
        if request.images == (1,):
            raise RuntimeError("a bug in an adapter")
        await asyncio.sleep(0.01)
        return answer_to(request)

    studio.provider.told = [broken_for_the_first] * 2
    with pytest.raises(RuntimeError, match="a bug"):
        await studio.perform(ref)
    assert (await studio.trail(ref)).count("call_answered") == 1


async def test_what_lay_in_the_spool_at_the_deadline_is_forgotten(studio: Studio) -> None:
    ref = await studio.place(deadline=timedelta(seconds=60))
    studio.images.unavailable = True
    await studio.perform(ref)
    assert len(studio.spool.kept) == 1
    studio.clock.advance(seconds=61)
    generation = await studio.perform(ref)
    assert generation.error is not None
    assert generation.error[0] == "image_store_unavailable"
    assert studio.spool.kept == {}


async def test_a_process_that_was_given_up_does_not_call_again_while_its_call_runs(
    studio: Studio,
) -> None:
    ref = await studio.place()
    answered = asyncio.Event()

    async def slow_call(request: CallRequest) -> Answer:
        await answered.wait()
        return answer_to(request)

    studio.provider.told = [slow_call]
    first = asyncio.create_task(studio.perform(ref))
    await until(lambda: len(studio.provider.asked) == 1)
    studio.clock.advance(seconds=31)
    await studio.store.board.sweep(studio.clock.now)
    await studio.perform(ref)  # handed over again, to the next incarnation of this process
    answered.set()
    await first
    assert (await studio.perform(ref)).status == "completed"
    assert len(studio.provider.asked) == 1


async def test_a_worker_that_is_leaving_starts_no_new_call(studio: Studio) -> None:
    ref = await studio.place()

    async def leave_meanwhile(request: CallRequest) -> Answer:
        studio.performer.start_no_more_calls()
        raise OutcomeUnknownError("the connection broke")

    studio.provider.told = [leave_meanwhile]
    await studio.perform(ref)
    assert await studio.trail(ref) == ["requested", "call_started", "call_lost"]
    row = studio.store.work["generate", ref]
    assert (row.worker, row.due_at) == (None, studio.clock.now)
    await studio.perform(ref)
    assert row.worker is None


async def test_an_image_store_that_does_not_answer_is_away(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "IMAGE_STORE_SECONDS", 0.01)
    studio.images.before_put = _never
    ref = await studio.place()
    await studio.perform(ref)
    assert len(studio.spool.kept) == 1
    studio.images.before_put = None
    studio.clock.advance(seconds=5)
    assert (await studio.perform(ref)).status == "completed"


async def test_an_answer_that_cannot_be_kept_is_recorded_with_its_cost(studio: Studio) -> None:
    ref = await studio.place()

    async def broken() -> None:
        raise RuntimeError("a bug in an image store")

    studio.images.before_put = broken
    generation = await studio.perform(ref)
    assert generation.error is not None
    assert generation.error[0] == "image_store_unavailable"
    assert generation.calls[1].cost is not None


async def at_once(request: CallRequest) -> Answer:
    return answer_to(request)


async def test_an_abandoned_call_whose_worker_died_is_recorded_as_lost_by_the_next(
    studio: Studio,
) -> None:
    ref = await studio.place(count=2)
    studio.provider.told = [at_once, HANG]
    killed = asyncio.create_task(studio.perform(ref))
    await until(lambda: len(studio.store.rows) == 4)
    await studio.cancel(ref)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    assert len(studio.images.objects) == 1
    studio.clock.advance(seconds=31)
    await studio.store.board.sweep(studio.clock.now)

    generation = await studio.another_process_performs(ref)

    assert [call.outcome for call in generation.calls.values()] == ["answered", "lost"]
    assert (await studio.trail(ref))[-2:] == ["cancelled", "call_lost"]
    assert studio.images.objects == {}
    assert studio.store.work == {}


async def test_pictures_that_are_nobodys_go_when_the_image_store_is_back(studio: Studio) -> None:
    ref = await studio.place(count=2)
    studio.provider.told = [at_once, CallFailedError(Failure(kind="unavailable"))]
    await studio.perform(ref)
    await studio.cancel(ref)
    studio.images.unavailable = True
    studio.clock.advance(seconds=10)
    await studio.perform(ref)
    assert studio.store.work["generate", ref].worker is None
    studio.images.unavailable = False
    studio.clock.advance(seconds=10)
    await studio.perform(ref)
    assert studio.images.objects == {}
    assert studio.store.work == {}


async def test_a_bug_in_an_abandoned_call_leaves_no_call_open(studio: Studio) -> None:
    ref = await studio.place(count=2)
    answering, failing = asyncio.Event(), asyncio.Event()

    async def slow_call(request: CallRequest) -> Answer:
        await answering.wait()
        return answer_to(request)

    async def broken_call(request: CallRequest) -> Answer:
        await failing.wait()
        raise RuntimeError("a bug")

    studio.provider.told = [slow_call, broken_call]
    performing = asyncio.create_task(studio.perform(ref))
    await until(lambda: len(studio.store.rows) == 3)
    await studio.cancel(ref)
    answering.set()
    await until(lambda: len(studio.store.rows) == 5)
    failing.set()
    with pytest.raises(RuntimeError, match="a bug"):
        await performing
    studio.clock.advance(seconds=31)
    generation = await studio.perform(ref)
    assert [call.outcome for call in generation.calls.values()] == ["answered", "lost"]
    assert (studio.store.work, studio.images.objects) == ({}, {})


class Interrupted:
    """The store as it is to a process to which something happens right after `call_started`."""

    def __init__(self, studio: Studio, happens: Callable[[], Awaitable[None]]) -> None:
        self._studio, self._happens = studio, happens
        self.happened = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._studio.store, name)

    async def append(self, command: Command) -> Outcome:
        outcome = await self._studio.store.append(command)
        starts = any(isinstance(event, Generation.CallStarted) for event in command.events)
        if starts and not self.happened:
            self.happened = True
            await self._happens()
        return outcome


async def performed_by_an_interrupted_process(
    studio: Studio, ref: UUID, happens: Callable[[], Awaitable[None]]
) -> None:
    process, worker = studio.another_process(), await studio.worker()
    process.store = interrupted = Interrupted(studio, happens)
    await process.perform(ref, worker)
    assert interrupted.happened


async def its_lease_ended_and_another_did_it(studio: Studio, ref: UUID) -> None:
    await studio.store.board.sweep(studio.clock.now + LEASE)
    await studio.another_process_performs(ref)


COMPLETED_BY_ANOTHER = [
    "requested",
    "call_started",
    "call_lost",
    "call_started",
    "call_answered",
    "completed",
]


async def test_a_worker_that_lost_the_work_while_call_started_was_in_doubt_calls_nobody(
    studio: Studio,
) -> None:
    ref = await studio.place()

    async def cut_off() -> None:
        await its_lease_ended_and_another_did_it(studio, ref)
        raise StoreUnavailableError("the answer is lost")

    await performed_by_an_interrupted_process(studio, ref, cut_off)
    assert await studio.trail(ref) == COMPLETED_BY_ANOTHER
    assert len(studio.provider.asked) == 1, "the other's"


async def test_a_process_stopped_before_its_call_for_longer_than_its_lease_calls_nobody(
    studio: Studio,
) -> None:
    ref = await studio.place()

    async def stopped() -> None:
        studio.clock.advance(seconds=31)
        await its_lease_ended_and_another_did_it(studio, ref)

    await performed_by_an_interrupted_process(studio, ref, stopped)
    assert await studio.trail(ref) == COMPLETED_BY_ANOTHER
    assert len(studio.provider.asked) == 1, "the other's"


async def test_a_generation_cancelled_while_call_started_was_in_doubt_is_not_called_for(
    studio: Studio,
) -> None:
    ref = await studio.place(count=2)

    async def cut_off() -> None:
        await studio.cancel(ref)
        raise StoreUnavailableError("the answer is lost")

    await performed_by_an_interrupted_process(studio, ref, cut_off)
    assert studio.provider.asked == []
    assert (await studio.trail(ref))[-3:] == ["cancelled", "call_lost", "call_lost"]
    assert studio.store.work == {}


@pytest.mark.parametrize("seconds", [0, 8])
async def test_calls_whose_work_is_still_held_are_made_however_their_start_was_confirmed(
    studio: Studio, seconds: float
) -> None:
    ref = await studio.place(count=2)

    async def cut_off() -> None:
        studio.clock.advance(seconds=seconds)
        if not seconds:
            raise StoreUnavailableError("the answer is lost")

    await performed_by_an_interrupted_process(studio, ref, cut_off)
    assert (await studio.load(ref)).status == "completed"
    assert [(request.call, request.images) for request in studio.provider.asked] == [
        (1, (1,)),
        (2, (2,)),
    ]


async def test_what_is_confirmed_too_slowly_is_confirmed_again(studio: Studio) -> None:
    ref = await studio.place()
    holds = 0
    append = studio.store.append

    async def slow(command: Command) -> Outcome:
        nonlocal holds
        outcome = await append(command)
        if isinstance(command.work, HoldWork) and not command.events:
            holds += 1
        if not studio.provider.asked and holds < 3:
            studio.clock.advance(seconds=8)
        return outcome

    studio.store.append = slow
    assert (await studio.perform(ref)).status == "completed"
    assert holds == 3


async def overtaken_just_before(
    studio: Studio, ref: UUID, kind: type[Event], *, answer: Callable[[], Awaitable[None]]
) -> Generation:
    """Another process performs it; the overtaken worker's answer is recorded before that event."""
    append = studio.store.append

    async def others_first(command: Command) -> Outcome:
        if any(isinstance(event, kind) for event in command.events):
            studio.store.append = append
            await answer()
        return await append(command)

    studio.store.append = others_first
    return await studio.another_process_performs(ref)


async def test_a_picture_that_came_late_before_the_repeat_is_not_paid_again(studio: Studio) -> None:
    ref, overtaken = await studio.place(), Overtaken(studio, calls=1)
    await overtaken.start(ref)
    generation = await overtaken_just_before(
        studio, ref, Generation.CallStarted, answer=overtaken.answer
    )
    assert await studio.trail(ref) == [
        "requested",
        "call_started",
        "call_lost",
        "call_answered_late",
        "completed",
    ]
    assert (generation.status, len(studio.provider.asked)) == ("completed", 1)


async def test_a_picture_that_came_late_before_the_failure_is_published(studio: Studio) -> None:
    ref, overtaken = await studio.place(on_unknown="fail"), Overtaken(studio, calls=1)
    await overtaken.start(ref)
    generation = await overtaken_just_before(
        studio, ref, Generation.Failed, answer=overtaken.answer
    )
    assert await studio.trail(ref) == [
        "requested",
        "call_started",
        "call_lost",
        "call_answered_late",
        "completed",
    ]
    assert {image.key for image in generation.published} == set(studio.images.objects) != set()


async def test_a_call_left_open_is_lost_although_the_generation_is_cancelled_at_that_moment(
    studio: Studio,
) -> None:
    ref, overtaken = await studio.place(), Overtaken(studio, calls=1)
    await overtaken.start(ref)

    async def cancel() -> None:
        await studio.cancel(ref)

    await overtaken_just_before(studio, ref, Generation.CallLost, answer=cancel)
    assert (await studio.trail(ref))[-2:] == ["cancelled", "call_lost"]
    assert studio.store.work == {}
    await overtaken.answer()


class Overtaken:
    """A worker that lost its lease while its calls run; each answers when it is let."""

    def __init__(self, studio: Studio, calls: int, *, error: Exception | None = None) -> None:
        self.studio, self.calls, self.error = studio, calls, error
        self.answering = asyncio.Event()

    async def start(self, ref: UUID) -> None:
        self.studio.provider.told = [self._call] * self.calls
        self._performing = asyncio.create_task(self.studio.perform(ref))
        await until(lambda: len(self.studio.provider.asked) == self.calls)
        self.studio.clock.advance(seconds=31)
        await self.studio.store.board.sweep(self.studio.clock.now)

    async def answer(self) -> None:
        self.answering.set()
        await self._performing

    async def _call(self, request: CallRequest) -> Answer:
        await self.answering.wait()
        if self.error:
            raise self.error
        return replace(answer_to(request), pictures=(Picture(small_png("other"), "image/png"),))


async def test_a_late_picture_goes_also_when_the_image_store_was_away(studio: Studio) -> None:
    ref, overtaken = await studio.place(), Overtaken(studio, calls=1)
    await overtaken.start(ref)
    await studio.cancel(ref)
    await studio.another_process_performs(ref)
    assert studio.store.work == {}
    studio.images.unavailable = True
    await overtaken.answer()
    studio.images.unavailable = False
    await studio.another_process_performs(ref)
    assert (studio.store.work, studio.images.objects, studio.spool.kept) == ({}, {}, {})


async def test_a_picture_that_another_took_the_place_of_goes_at_the_end(studio: Studio) -> None:
    ref, overtaken = await studio.place(count=2), Overtaken(studio, calls=2)
    await overtaken.start(ref)
    going_on = asyncio.Event()

    async def slow_call(request: CallRequest) -> Answer:
        await going_on.wait()
        return answer_to(request)

    studio.provider.told = [at_once, slow_call]
    other = asyncio.create_task(studio.another_process_performs(ref))
    await until(lambda: len(studio.store.rows) == 8)
    await overtaken.answer()
    assert len(studio.images.objects) == 3
    going_on.set()
    generation = await other
    assert {image.key for image in generation.published} == set(studio.images.objects)
    assert [image.url for image in generation.published] == [
        studio.images.url(image.key) for image in generation.published
    ]
    assert len(generation.published) == 2
    assert studio.store.work == {}


async def test_what_a_late_failure_cost_is_recorded_whoever_was_first(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    failure = CallFailedError(Failure(kind="no_image"), cost=COST)
    ref, overtaken = await studio.place(), Overtaken(studio, calls=1, error=failure)
    await overtaken.start(ref)
    await studio.cancel(ref)
    append = studio.store.append

    async def others_first(command: Command) -> Outcome:
        topics = [event.topic for event in command.events]
        if topics == ["generation.call_failed"] and not isinstance(command.work, HoldWork):
            monkeypatch.setattr(studio.store, "append", append)
            await studio.another_process_performs(ref)
        return await append(command)

    monkeypatch.setattr(studio.store, "append", others_first)
    await overtaken.answer()
    assert (await studio.trail(ref))[-2:] == ["call_lost", "call_answered_late"]
    assert (await studio.load(ref)).calls[1].cost == COST


async def test_a_call_that_the_deadline_cuts_off_is_lost_for_that_reason_and_counts(
    studio: Studio,
) -> None:
    ref = await studio.place(deadline=timedelta(seconds=0.05), on_unknown="fail")
    studio.provider.told = [HANG]
    generation = await studio.perform(ref)
    assert (generation.status, generation.calls[1].cut_off) == ("failed", True)
    assert studio.units() == {1}
