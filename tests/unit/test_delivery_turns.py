"""Whose delivery is handed over next: in turn by user: nobody waits for another's server."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from application.delivery_turns import DeliveryTurns
from application.ports.webhooks import DueDelivery
from application.ports.workers import QueueUnavailableError
from tests.fakes_webhooks import FakeDeliveryQueue

ONE, OTHER, THIRD = (UUID(int=n) for n in (1, 2, 3))


class Board:
    """What the test says is due, and done."""

    def __init__(self) -> None:
        self.waiting: list[DueDelivery] = []
        self.done: set[UUID] = set()

    def add(self, user: UUID, count: int = 1) -> list[DueDelivery]:
        new = [DueDelivery(uuid4(), 1, user, 1) for _ in range(count)]
        self.waiting += new
        return new

    async def due(self, *, per_user: int, but: Collection[UUID]) -> Sequence[DueDelivery]:
        left = [one for one in self.waiting if one.id not in but and one.id not in self.done]
        return [
            one
            for user in sorted({one.user_id for one in left})
            for one in [one for one in left if one.user_id == user][:per_user]
        ]

    async def settled(self, under_way: Sequence[DueDelivery]) -> frozenset[UUID]:
        return frozenset(one.id for one in under_way if one.id in self.done)

    async def last_delivered_at(self, endpoint: UUID) -> datetime | None:
        raise AssertionError("turns do not ask for it")


class Desk:
    def __init__(self) -> None:
        self.board, self.queue, self.seconds = Board(), FakeDeliveryQueue(), 0.0
        self.turns = DeliveryTurns(
            self.board,
            self.queue,
            of_a_user=2,
            under_way=5,
            lost_after=timedelta(seconds=45),
            clock=lambda: self.seconds,
        )

    async def handed_over(self, *new: DueDelivery) -> list[UUID]:
        """To whom this round's deliveries belong."""
        before = len(self.queue.handed_over)
        await self.turns.hand_over(new)
        return [one.user_id for one in self.queue.handed_over[before:]]


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_receiver_that_hangs_takes_what_its_user_may_have_and_no_more(desk: Desk) -> None:
    desk.board.add(ONE, 100)
    assert await desk.handed_over() == [ONE, ONE]
    assert await desk.handed_over() == []
    (theirs,) = desk.board.add(OTHER)
    assert await desk.handed_over() == [OTHER]
    desk.board.done.add(theirs.id)
    assert await desk.handed_over() == []


async def test_users_take_turns(desk: Desk) -> None:
    for user in (ONE, OTHER, THIRD):
        desk.board.add(user, 4)
    assert await desk.handed_over() == [ONE, OTHER, THIRD, ONE, OTHER]
    desk.board.done |= {one.id for one in desk.queue.handed_over}
    assert await desk.handed_over() == [THIRD, ONE, OTHER, THIRD, ONE]


async def test_in_all_no_more_is_under_way_than_may_be(desk: Desk) -> None:
    for user in range(10):
        desk.board.add(UUID(int=user))
    assert len(await desk.handed_over()) == 5
    assert await desk.handed_over() == []
    desk.board.done.add(desk.queue.handed_over[0].id)
    assert len(await desk.handed_over()) == 1


async def test_what_is_new_is_handed_over_before_the_board_knows_it_and_once(desk: Desk) -> None:
    new = DueDelivery(uuid4(), 1, ONE, 1)
    assert await desk.handed_over(new) == [ONE]
    desk.board.waiting.append(new)
    assert await desk.handed_over() == []


async def test_what_does_not_fit_is_left_to_the_board(desk: Desk) -> None:
    new = [DueDelivery(uuid4(), 1, ONE, 1) for _ in range(3)]
    assert await desk.handed_over(*new) == [ONE, ONE]
    desk.board.waiting += new
    desk.board.done.add(new[0].id)
    assert await desk.handed_over() == [ONE]
    assert [one.id for one in desk.queue.handed_over] == [one.id for one in new]


async def test_what_nobody_sent_is_handed_over_again_and_said_to_be(desk: Desk) -> None:
    (lost,) = desk.board.add(ONE)
    await desk.handed_over()
    desk.seconds = 44.0
    assert await desk.handed_over() == []
    desk.seconds = 45.0
    assert await desk.handed_over() == [ONE]
    assert desk.queue.again == {lost.id: 1}


async def test_what_nobody_sends_rests_longer_each_time_and_leaves_its_place(desk: Desk) -> None:
    desk.board.add(ONE, 2)
    handed_over = []
    for desk.seconds in range(0, 600, 5):
        if ONE in await desk.handed_over():
            handed_over.append(desk.seconds)
    assert handed_over == [0, 45, 180, 495]
    desk.board.add(ONE)
    desk.seconds = 540.0
    assert await desk.handed_over() == [ONE]


async def test_what_was_settled_while_it_rested_is_forgotten(desk: Desk) -> None:
    (lost,) = desk.board.add(ONE)
    for desk.seconds in (0.0, 45.0, 90.0):
        await desk.handed_over()
    assert desk.queue.again == {lost.id: 1}, "it rests"
    desk.board.done.add(lost.id)
    assert await desk.handed_over() == []
    desk.board.done.remove(lost.id)
    desk.queue.again = {}
    assert await desk.handed_over() == [ONE]
    assert desk.queue.again == {}


async def test_what_could_not_be_handed_over_is_handed_over_later(desk: Desk) -> None:
    desk.board.add(ONE)
    desk.queue.available = False
    with pytest.raises(QueueUnavailableError):
        await desk.turns.hand_over()
    desk.queue.available = True
    assert await desk.handed_over() == [ONE]
