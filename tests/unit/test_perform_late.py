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
