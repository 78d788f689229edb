"""Whether a worker may take work: only while it is sure that PostgreSQL knows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest

from application.ports.event_store import StoreUnavailableError
from interfaces.worker import Incarnation
from tests.fakes import MemoryEventStore, MemoryWorkBoard
from tests.meanwhile import meanwhile
from tests.processes import eventually

LEASE = timedelta(seconds=0.04)  # extended every hundredth of a second


@dataclass
class Clock:
    """Seconds."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


class Board(MemoryWorkBoard):
    """One that may be away; it counts what it was asked."""

    def __init__(self) -> None:
        super().__init__(MemoryEventStore())
        self.away = False
        self.full = False
        self.asked = 0

    async def register(self, worker: UUID, *, slots: int, lease: timedelta) -> None:
        if self.full:
            raise StoreUnavailableError("full")
        await super().register(worker, slots=slots, lease=lease)

    async def extend(self, worker: UUID, *, lease: timedelta) -> bool:
        self.asked += 1
        if self.away:
            raise StoreUnavailableError("away")
        return await super().extend(worker, lease=lease)

    async def asked_often(self) -> bool:
        """More often than there are quarters of a lease of 4 s in 10 s."""
        return self.asked > 20

    async def asked_twice(self) -> None:
        before = self.asked

        async def asked() -> bool:
            return self.asked >= before + 2

        await eventually(asked)


async def test_who_cannot_extend_its_lease_takes_nothing_long_before_it_ends() -> None:
    board, clock = Board(), Clock()
    incarnation = Incarnation(board, slots=1, lease=LEASE, clock=clock)
    assert not incarnation.may_take(), "it is not registered yet"
    await incarnation.open()
    async with meanwhile(incarnation.beat_for_ever()):
        for clock.now in (0.029, 0.05, 0.07):
            await board.asked_twice()
            assert incarnation.may_take()
        board.away = True
        await board.asked_twice()
        clock.now += LEASE.total_seconds() * 3 / 4
        assert not incarnation.may_take()
        board.away = False
        await board.asked_twice()
        assert incarnation.may_take()


async def test_who_was_given_up_takes_as_somebody_new() -> None:
    board, clock = Board(), Clock()
    incarnation = Incarnation(board, slots=1, lease=LEASE, clock=clock)
    await incarnation.open()
    first = incarnation.id
    await board.retire(first)
    board.full = True
    async with meanwhile(incarnation.beat_for_ever()):
        await board.asked_twice()
        assert not incarnation.may_take()
        board.full = False
        await board.asked_twice()
    assert incarnation.id != first
    assert incarnation.may_take()


async def test_who_was_cut_off_for_long_takes_again_within_a_second_of_coming_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("interfaces.worker.BEAT_AGAIN", 0.001)
    board, clock, lease = Board(), Clock(), timedelta(seconds=4)
    incarnation = Incarnation(board, slots=1, lease=lease, clock=clock)
    await incarnation.open()
    board.away = True
    async with meanwhile(incarnation.beat_for_ever()):
        await eventually(board.asked_often, within=10)
        clock.now = 3.0
        assert not incarnation.may_take()
        board.away = False
        await board.asked_twice()
        assert incarnation.may_take()


async def test_who_drains_takes_nothing() -> None:
    board, clock = Board(), Clock()
    incarnation = Incarnation(board, slots=1, lease=LEASE, clock=clock)
    await incarnation.open()
    assert incarnation.may_take()
    await incarnation.drain()
    assert not incarnation.may_take()
