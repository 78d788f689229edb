"""A worker that does not know whether its call was recorded as started."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from application.ports.event_store import Command, HoldWork, Outcome, StoreUnavailableError
from domain.generation import Generation
from tests.studio import LEASE, Studio


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
