"""Readiness answers in time and whatever happens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from application.ports.workers import QueueUnavailableError
from domain.aggregate import caused_by, current_metadata
from infrastructure.readiness import Readiness
from tests.fakes_images import FakeImageStore


class Redis:
    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def ping(self) -> None:
        if self._error:
            raise self._error


class Database:
    """Hangs, even when it is cancelled, until it is `let_go`."""

    def __init__(self) -> None:
        self.asked = 0
        self.actors: set[str] = set()
        self.let_go = asyncio.Event()

    async def fetch(self, query: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        self.asked += 1
        self.actors.add(current_metadata().actor)
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                continue
        raise ZeroDivisionError


async def broken(query: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    raise ZeroDivisionError


async def test_a_database_that_hangs_is_waited_for_once_and_not_for_long() -> None:
    database = Database()
    checking = Readiness(database.fetch, Redis, FakeImageStore, patience=0.05)

    with caused_by(actor="user:1", correlation_id="r-1"):
        async with asyncio.timeout(5):
            told = [await checking.check() for _ in range(3)]
    database.let_go.set()
    await asyncio.gather(*checking._under_way.values())

    assert {checks["database"].state for checks in told} == {"failing"}
    assert database.asked == 4, "each of the four checks that ask it is under way once"
    assert database.actors == {"system"}, "what others share belongs to nobody's request"


@pytest.mark.parametrize("error", [QueueUnavailableError("gone"), ZeroDivisionError()])
async def test_it_never_raises(error: Exception) -> None:
    checks = await Readiness(broken, lambda: Redis(error), FakeImageStore).check()

    assert {check.state for check in checks.values()} <= {"failing", "degraded"}
    assert all(check.reason for check in checks.values())


async def test_a_queue_that_cannot_be_made_is_degraded() -> None:
    def queue() -> Redis:
        raise TypeError("an option that nobody knows")

    checks = await Readiness(broken, queue, FakeImageStore).check()

    assert checks["redis"].state == "degraded"
    assert "REDIS_URL" in (checks["redis"].reason or "")
