"""Calls that outlive their work: abandoned, overtaken, answered late."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID

import pytest

from application.ports.event_store import Command, HoldWork, Outcome
from application.ports.providers import (
    Answer,
    CallFailedError,
    CallRequest,
    OutcomeUnknownError,
    Picture,
)
from domain.aggregate import Event
from domain.failure import Failure
from domain.generation import Generation
from domain.image import Cost
from tests.fakes_images import HANG, answer_to, small_png
from tests.generations import COST
from tests.studio import Studio, at_once, until


class Slow:
    """A call that is answered, or fails, when it is let."""

    def __init__(self, outcome: Callable[[CallRequest], Answer] | Exception = answer_to) -> None:
        self._outcome, self._ending = outcome, asyncio.Event()

    async def __call__(self, request: CallRequest) -> Answer:
        await self._ending.wait()
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome(request)

    def end(self) -> None:
        self._ending.set()


async def under_way(studio: Studio, ref: UUID, *calls: Slow) -> asyncio.Task[Generation]:
    """A worker that performs it and has made these calls."""
    studio.provider.told = [*calls]
    performing = asyncio.create_task(studio.perform(ref))
    await until(lambda: len(studio.provider.asked) == len(calls))
    return performing


async def leases_end(studio: Studio) -> None:
    studio.clock.advance(seconds=31)
    await studio.store.board.sweep(studio.clock.now)


async def test_a_worker_that_lost_its_lease_records_its_answer_as_late(studio: Studio) -> None:
    ref, call = await studio.place(), Slow()
    stopped = await under_way(studio, ref, call)
    await leases_end(studio)
    call.end()
    await stopped
    assert (await studio.trail(ref))[-1] == "call_answered_late"
    assert (await studio.perform(ref)).status == "completed"
    assert (await studio.trail(ref)).count("call_started") == 1


async def test_a_cancelled_generation_only_gets_the_cost_of_its_call(studio: Studio) -> None:
    ref, call = await studio.place(), Slow()
    performing = await under_way(studio, ref, call)
    await studio.cancel(ref)
    call.end()
    generation = await performing
    assert (await studio.trail(ref))[-2:] == ["cancelled", "call_answered_late"]
    assert generation.status == "cancelled"
    assert generation.calls[1].cost is not None
    assert studio.images.objects == {}


@pytest.mark.parametrize(
    "late",
    [
        answer_to,  # with the same bytes as the other worker's
        CallFailedError(Failure(kind="no_image"), cost=COST),
    ],
)
async def test_a_late_answer_to_a_completed_generation_takes_no_published_picture_away(
    studio: Studio, late: Callable[[CallRequest], Answer] | Exception
) -> None:
    ref, call = await studio.place(), Slow(late)
    stopped = await under_way(studio, ref, call)
    await leases_end(studio)
    other = studio.another_process()
    await other.perform(ref, await studio.worker())
    published = dict(studio.images.objects)
    call.end()
    generation = await stopped
    assert (await studio.trail(ref))[-2:] == ["completed", "call_answered_late"]
    assert generation.calls[1].cost is not None
    assert studio.images.objects == published != {}


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
    ref, call = await studio.place(), Slow(outcome)
    performing = await under_way(studio, ref, call)
    await studio.cancel(ref)
    call.end()
    generation = await performing
    assert (await studio.trail(ref))[-2:] == ["cancelled", recorded]
    assert (generation.status, generation.calls[1].cost) == ("cancelled", cost)
    assert len(studio.provider.asked) == 1


async def test_a_fenced_worker_lets_all_its_calls_end_and_records_each_as_late(
    studio: Studio,
) -> None:
    ref = await studio.place(count=3)
    calls = Slow(), Slow(), Slow(CallFailedError(Failure(kind="no_image"), cost=COST))
    stopped = await under_way(studio, ref, *calls)
    await leases_end(studio)
    for call in calls:
        call.end()
        await asyncio.sleep(0.01)
    generation = await stopped
    assert (await studio.trail(ref)).count("call_answered_late") == 3
    assert sorted(generation.images) == [1, 2]
    assert generation.calls[3].cost == COST


async def test_a_process_that_was_given_up_does_not_call_again_while_its_call_runs(
    studio: Studio,
) -> None:
    ref, call = await studio.place(), Slow()
    first = await under_way(studio, ref, call)
    await leases_end(studio)
    await studio.perform(ref)  # handed over again, to the next incarnation of this process
    call.end()
    await first
    assert (await studio.perform(ref)).status == "completed"
    assert len(studio.provider.asked) == 1


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
    await leases_end(studio)

    generation = await studio.another_process_performs(ref)

    assert [call.outcome for call in generation.calls.values()] == ["answered", "lost"]
    assert (await studio.trail(ref))[-2:] == ["cancelled", "call_lost"]
    assert studio.images.objects == {}
    assert studio.store.work == {}


async def test_a_bug_in_an_abandoned_call_leaves_no_call_open(studio: Studio) -> None:
    ref = await studio.place(count=2)
    answered, broken = Slow(), Slow(RuntimeError("a bug"))
    performing = await under_way(studio, ref, answered, broken)
    await studio.cancel(ref)
    answered.end()
    await until(lambda: len(studio.store.rows) == 5)
    broken.end()
    with pytest.raises(RuntimeError, match="a bug"):
        await performing
    studio.clock.advance(seconds=31)
    generation = await studio.perform(ref)
    assert [call.outcome for call in generation.calls.values()] == ["answered", "lost"]
    assert (studio.store.work, studio.images.objects) == ({}, {})


def another_answer_to(request: CallRequest) -> Answer:
    return replace(answer_to(request), pictures=(Picture(small_png("other"), "image/png"),))


class Overtaken:
    """A worker that lost its lease while its calls run; they end when it is let."""

    def __init__(self, studio: Studio, calls: int, *, error: Exception | None = None) -> None:
        self.studio = studio
        self.calls = [Slow(error or another_answer_to) for _ in range(calls)]

    async def start(self, ref: UUID) -> None:
        self._performing = await under_way(self.studio, ref, *self.calls)
        await leases_end(self.studio)

    async def answer(self) -> None:
        for call in self.calls:
            call.end()
        await self._performing


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


COMPLETED_BY_THE_LATE_ANSWER = [
    "requested",
    "call_started",
    "call_lost",
    "call_answered_late",
    "completed",
]


async def test_a_picture_that_came_late_before_the_repeat_is_not_paid_again(studio: Studio) -> None:
    ref, overtaken = await studio.place(), Overtaken(studio, calls=1)
    await overtaken.start(ref)
    generation = await overtaken_just_before(
        studio, ref, Generation.CallStarted, answer=overtaken.answer
    )
    assert await studio.trail(ref) == COMPLETED_BY_THE_LATE_ANSWER
    assert (generation.status, len(studio.provider.asked)) == ("completed", 1)


async def test_a_picture_that_came_late_before_the_failure_is_published(studio: Studio) -> None:
    ref, overtaken = await studio.place(on_unknown="fail"), Overtaken(studio, calls=1)
    await overtaken.start(ref)
    generation = await overtaken_just_before(
        studio, ref, Generation.Failed, answer=overtaken.answer
    )
    assert await studio.trail(ref) == COMPLETED_BY_THE_LATE_ANSWER
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
    going_on = Slow()
    studio.provider.told = [at_once, going_on]
    other = asyncio.create_task(studio.another_process_performs(ref))
    await until(lambda: len(studio.store.rows) == 8)
    await overtaken.answer()
    assert len(studio.images.objects) == 3
    going_on.end()
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
