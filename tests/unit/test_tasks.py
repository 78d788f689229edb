"""Tasks end, also those that lose a cancellation."""

from __future__ import annotations

import asyncio
import logging

import pytest

from application import tasks
from application.tasks import end, end_all_others


async def forgetful(*, cancellations: int) -> str:
    """Lose so many cancellations, as psycopg does when a connection breaks meanwhile."""
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if cancellations == 0:
                raise
            cancellations -= 1


async def fail() -> None:
    raise ValueError("it failed")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "CANCEL_AGAIN", 0.01)


@pytest.mark.usefixtures("impatient")
async def test_a_task_that_loses_cancellations_is_ended() -> None:
    task = asyncio.create_task(forgetful(cancellations=12))
    await asyncio.sleep(0)
    [outcome] = await end(task)
    assert isinstance(outcome, asyncio.CancelledError)


@pytest.mark.usefixtures("impatient")
async def test_what_does_not_end_soon_is_named(caplog: pytest.LogCaptureFixture) -> None:
    task = asyncio.create_task(forgetful(cancellations=10))
    await asyncio.sleep(0)
    with caplog.at_level(logging.WARNING):
        await end(task)
    assert [vars(line)["tasks"] for line in caplog.records] == [["forgetful"]]


async def test_what_a_task_came_to_is_told() -> None:
    failing, done = asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(0, "done"))
    await asyncio.sleep(0.01)
    error, value = await end(failing, done)
    assert isinstance(error, ValueError)
    assert value == "done"
    assert await end() == []


async def test_nothing_else_goes_on_afterwards() -> None:
    others = [asyncio.create_task(asyncio.sleep(60)) for _ in range(3)]
    await end_all_others()
    assert all(task.cancelled() for task in others)
