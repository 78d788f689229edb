"""Whose turn it is to record something, in one process."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.ports.event_store import StoreBusyError
from application.turns import Turns

FLOODING, OTHER = uuid4(), uuid4()


class Counter:
    """Where users have their turns, until they are told to leave."""

    def __init__(self, **bounds: Any) -> None:
        self.turns = Turns(**bounds)
        self.served: list[tuple[UUID, int]] = []
        self.leave = asyncio.Semaphore(0)

    def come(self, user: UUID, number: int = 0) -> asyncio.Task[None]:
        return asyncio.create_task(self._have_a_turn(user, number))

    async def _have_a_turn(self, user: UUID, number: int) -> None:
        async with self.turns.turn(user):
            self.served.append((user, number))
            await self.leave.acquire()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)


async def test_a_few_of_a_users_are_served_at_once_in_order_and_others_beside_them() -> None:
    counter = Counter(at_once=2)
    flood = [counter.come(FLOODING, number) for number in range(5)]
    await counter.settle()
    assert counter.served == [(FLOODING, 0), (FLOODING, 1)]
    other = counter.come(OTHER)
    await counter.settle()
    assert counter.served[2:] == [(OTHER, 0)]
    for _ in range(6):
        counter.leave.release()
    await asyncio.gather(other, *flood)
    assert counter.served[3:] == [(FLOODING, 2), (FLOODING, 3), (FLOODING, 4)]


async def test_more_than_may_wait_are_refused_and_nobody_else() -> None:
    counter = Counter(at_once=1, most_of_a_user=3)
    waiting = [counter.come(FLOODING, number) for number in range(3)]
    await counter.settle()
    with pytest.raises(StoreBusyError, match="3 requests of yours"):
        await counter.come(FLOODING)
    waiting.append(counter.come(OTHER))
    for _ in waiting:
        counter.leave.release()
    await asyncio.gather(*waiting)
    counter.leave.release()
    await counter.come(FLOODING)


async def test_who_waits_too_long_is_told_to_come_back_and_nobody_else_waits_for_it() -> None:
    counter = Counter(at_once=1, patience=0.01)
    served = counter.come(FLOODING)
    await counter.settle()
    with pytest.raises(StoreBusyError, match="Your other requests took longer"):
        await counter.come(FLOODING)
    counter.leave.release()
    await served
    counter.leave.release()
    await counter.come(FLOODING)
    assert len(counter.served) == 2


async def test_who_goes_away_while_waiting_or_served_leaves_no_turn_behind() -> None:
    counter = Counter(at_once=1, most_of_a_user=2)
    for _ in range(3):
        served, waiting = counter.come(FLOODING, 1), counter.come(FLOODING, 2)
        await counter.settle()
        for gone in (waiting, served):
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone
    assert counter.served == [(FLOODING, 1)] * 3
    assert not counter.turns._lines
