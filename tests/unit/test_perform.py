"""What a worker does with a generation, on the in-memory store."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from application.perform import NEWER_AGAIN
from application.ports.event_store import Command, Outcome
from application.ports.providers import (
    Answer,
    CallFailedError,
    CallRequest,
    OutcomeUnknownError,
    Picture,
)
from application.routing import Router
from domain.failure import Failure
from domain.generation import Generation
from domain.user import end_user_id
from infrastructure.always_open import AlwaysOpen
from infrastructure.event_store.mapper import UnreadableEventError
from tests.fakes_images import HANG, answer_to, offering
from tests.generations import events_of
from tests.studio import Studio, never, until


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


async def test_a_provider_is_told_apart_whom_it_serves_but_not_who_that_is(studio: Studio) -> None:
    user = uuid4()
    for end_user in ("jane@example.org", "jane@example.org", "joe", None):
        await studio.perform(await studio.place(user_id=user, end_user=end_user))
    jane, again, joe, nobody = [request.end_user for request in studio.provider.asked]
    assert jane == again != joe
    assert nobody is None
    assert jane == end_user_id(user, "jane@example.org").hex


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
    studio.provider.capabilities = offering(images_per_call=4)
    ref = await studio.place(count=3)
    await studio.perform(ref)
    assert [request.images for request in studio.provider.asked] == [(1, 2, 3)]


async def test_the_provider_is_given_what_was_asked_for(studio: Studio) -> None:
    ref = await studio.place(prompt="a red fox", spec={"size": "64x64", "seed": 7})
    await studio.perform(ref)
    (request,) = studio.provider.asked
    assert (request.prompt, request.size, request.seed) == ("a red fox", "64x64", 7)


async def test_each_picture_of_a_seed_has_a_seed_of_its_own(studio: Studio) -> None:
    await studio.perform(await studio.place(count=3, spec={"seed": 2**32 - 2}))
    assert [request.seed for request in studio.provider.asked] == [2**32 - 2, 2**32 - 1, 0]


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
    studio.images.before_look = never  # the crash comes before completing
    killed = asyncio.create_task(studio.perform(ref))
    await until(lambda: len(studio.store.rows) == 3)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    studio.images.before_look = None
    studio.clock.advance(seconds=31)
    await studio.store.board.sweep(studio.clock.now)
    assert (await studio.perform(ref)).status == "completed"
    assert len(studio.provider.asked) == 1


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
    return CallRequest(generation=ref, call=1, images=(1,), prompt="p", model="fake-1")


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


async def test_a_provider_that_left_lets_the_work_wait(studio: Studio) -> None:
    ref = await studio.place(spec={"provider": "fake"})
    studio.performer.router = Router({}, AlwaysOpen())
    assert (await studio.perform(ref)).status == "queued"
    assert studio.store.work["generate", ref].due_at > studio.clock.now
    studio.performer.router = Router({"fake": studio.provider}, AlwaysOpen())
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


async def test_a_call_that_the_deadline_cuts_off_is_lost_for_that_reason_and_counts(
    studio: Studio,
) -> None:
    ref = await studio.place(deadline=timedelta(seconds=0.05), on_unknown="fail")
    studio.provider.told = [HANG]
    generation = await studio.perform(ref)
    assert (generation.status, generation.calls[1].cut_off) == ("failed", True)
    assert studio.units() == {1}
