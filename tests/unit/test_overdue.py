"""Overdue generations end, whatever the workers do."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from uuid import UUID, uuid4

import pytest

from application import overdue, pictures
from application.overdue import OverdueSweep
from application.ports.event_store import ClaimWork, Command, StoreUnavailableError
from application.ports.providers import Answer, CallFailedError, CallRequest
from application.routing import Router
from domain.failure import Failure
from domain.generation import Generation
from infrastructure.always_open import AlwaysOpen
from tests.fakes_images import answer_to, offering
from tests.generations import HOUR
from tests.studio import LEASE, Studio, until

PASSING = CallFailedError(Failure(kind="unavailable", message="busy"))


class Office(Studio):
    """A studio with a sweep, of whose workers none may have time."""

    def __init__(self) -> None:
        super().__init__()
        finisher = self.another_process()
        finisher.router = Router({}, AlwaysOpen())
        self.sweep = OverdueSweep(self.store.board, finisher)

    async def sweep_up(self, ref: UUID) -> Generation:
        await self.sweep.round()
        return await self.load(ref)


@pytest.fixture
def office() -> Office:
    return Office()


async def test_what_waited_past_its_deadline_fails_without_a_worker_and_its_units_are_back(
    office: Office,
) -> None:
    ref = await office.place(count=2)
    office.clock.advance(hours=2)
    generation = await office.sweep_up(ref)
    assert generation.error is not None
    assert generation.error[0] == "deadline_passed"
    assert await office.trail(ref) == ["requested", "failed"]
    assert office.units() == {0}
    assert (office.provider.asked, office.store.work, office.store.workers) == ([], {}, {})


async def test_what_was_taken_over_while_the_answer_got_lost_is_ended_in_the_next_round(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = await office.place()
    office.clock.advance(hours=2)
    take = office.store.board.take_overdue

    async def lose_the_answer(*given: Any, **named: Any) -> list[UUID]:
        await take(*given, **named)
        raise StoreUnavailableError("The database does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(office.store.board, "take_overdue", lose_the_answer)
        with pytest.raises(StoreUnavailableError):
            await office.sweep_up(ref)
    assert (await office.sweep_up(ref)).status == "failed"
    assert (office.store.work, office.store.workers) == ({}, {})


async def test_what_is_not_overdue_is_left_alone(office: Office) -> None:
    ref = await office.place()
    office.clock.advance(minutes=14)
    assert (await office.sweep_up(ref)).status == "queued"
    assert office.store.workers == {}


async def test_whatever_the_clocks_say_the_sweep_calls_no_provider(office: Office) -> None:
    ref = await office.place(deadline=5 * HOUR)
    office.store.work["generate", ref].deadline -= 4 * HOUR
    office.clock.advance(hours=2)
    assert (await office.sweep_up(ref)).status == "queued"
    assert office.provider.asked == []
    assert office.store.work["generate", ref].worker is None
    office.clock.advance(hours=4)
    assert (await office.sweep_up(ref)).status == "failed"


async def test_pictures_that_were_answered_are_published_at_the_deadline(office: Office) -> None:
    office.provider.told = [answer_first, PASSING]
    ref = await office.place(count=2)
    await office.perform(ref)
    office.clock.advance(hours=2)
    generation = await office.sweep_up(ref)
    assert (generation.status, len(generation.published), generation.missing) == ("completed", 1, 1)
    assert office.units() == {1}
    assert len(office.provider.asked) == 2


async def answer_first(request: CallRequest) -> Answer:
    return answer_to(request)


async def test_who_holds_it_has_a_margin_to_end_it_first(office: Office) -> None:
    ref, worker = await office.place(), await office.worker()
    await office.store.append(Command(work=ClaimWork("generate", ref, worker)))
    office.clock.advance(minutes=15, seconds=59)
    assert (await office.sweep_up(ref)).status == "queued"
    office.clock.advance(seconds=1)
    assert (await office.sweep_up(ref)).status == "failed"


async def test_a_worker_that_hangs_past_the_margin_is_fenced_and_tells_its_answer_late(
    office: Office,
) -> None:
    asked, answering = asyncio.Event(), asyncio.Event()

    async def hang(request: CallRequest) -> Answer:
        asked.set()
        await answering.wait()
        return answer_to(request)

    office.provider.told = [hang]
    ref = await office.place()
    worker = await office.worker()
    hanging = asyncio.create_task(office.performer.perform(ref, worker))
    await asked.wait()
    office.clock.advance(hours=2)
    await office.store.board.extend(worker, lease=LEASE)  # it hangs, but its heart beats
    assert (await office.sweep_up(ref)).status == "failed"
    assert await office.trail(ref) == ["requested", "call_started", "call_lost", "failed"]
    answering.set()
    await hanging
    assert (await office.trail(ref))[4:] == ["call_answered_late"]
    assert office.units() == {0}
    await office.perform(ref)
    assert (office.images.objects, office.store.work) == ({}, {}), "nobody's picture is gone"


async def test_more_than_a_round_takes_are_ended_in_the_next(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(overdue, "AT_ONCE", 2)
    for _ in range(3):
        await office.place()
    office.clock.advance(hours=2)
    with caplog.at_level(logging.WARNING):
        assert not await office.sweep.round()
        assert len(office.store.work) == 1
        assert await office.sweep.round()
    assert office.store.work == {}
    assert [getattr(line, "generations", 0) for line in caplog.records] == [2, 1]


async def test_one_that_cannot_be_read_is_put_back_and_keeps_no_other_waiting(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    broken, ref = await office.place(), await office.place()
    (row,) = [row for row in office.store.rows if row.stored.originator_id == broken]
    row.stored = type(row.stored)(broken, 1, row.stored.topic, b"{}")
    office.clock.advance(hours=2)
    await office.sweep.round()
    assert (await office.load(ref)).status == "failed"
    waits = office.store.work["generate", broken]
    assert (waits.worker, waits.due_at > office.clock.now) == (None, True)
    assert "cannot end what is overdue" in caplog.text


async def test_an_abandoned_generation_is_tidied_up_too(office: Office) -> None:
    office.provider.told = [PASSING]
    ref = await office.place()
    await office.perform(ref)
    await office.cancel(ref)
    office.clock.advance(hours=2)
    assert (await office.sweep_up(ref)).status == "cancelled"
    assert office.store.work == {}


async def test_a_store_that_goes_away_leaves_it_for_the_next_round(office: Office) -> None:
    ref = await office.place()
    office.clock.advance(hours=2)
    taken = await office.store.board.take_overdue(
        uuid4(), lease=overdue.LEASE, grace=overdue.GRACE, margin=overdue.MARGIN, limit=9
    )
    assert taken == [ref], "its sweeper was killed here"
    assert (await office.sweep_up(ref)).status == "failed"
    await until(lambda: not office.store.work)


async def test_ten_pictures_that_cannot_be_looked_at_take_as_long_as_one(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "IMAGE_STORE_SECONDS", 1.0)
    hanging = Hanging()
    office.images.before_look = hanging
    ref = await office.place(count=10)
    assert (await office.perform(ref)).status == "processing"
    office.clock.advance(hours=2)
    hanging.most = 0
    generation = await office.sweep_up(ref)
    assert hanging.most == 10
    assert generation.error is not None
    assert generation.error[0] == "image_store_unavailable"
    assert office.units() == {0}


async def test_ten_pictures_that_cannot_be_stored_are_safe_as_soon_as_one(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "IMAGE_STORE_SECONDS", 1.0)
    hanging = Hanging()
    office.images.before_put = hanging
    office.provider.capabilities = offering(images_per_call=10)
    ref = await office.place(count=10)
    generation = await office.perform(ref)
    assert hanging.most == 10
    assert [call.outcome for call in generation.calls.values()] == ["answered"]
    assert len(office.spool.kept) == 10


class Hanging:
    """An image store that never answers; `most` were waiting for it at once."""

    def __init__(self) -> None:
        self.waiting = self.most = 0

    async def __call__(self) -> None:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await asyncio.Event().wait()
        finally:
            self.waiting -= 1
