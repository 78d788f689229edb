"""Heavy work gives way to who appends, and to nobody else."""

from __future__ import annotations

import pytest

from infrastructure.event_store import pace
from infrastructure.event_store.pace import Pace


class Log:
    """A log whose end is told, and a clock that is set."""

    def __init__(self) -> None:
        self.last, self.now = 7, 100.0
        self.pace = Pace(self._head)

    async def after(self, seconds: float, *, appended: int = 0) -> bool:
        """Whether others append, so much later."""
        self.now += seconds
        self.last += appended
        return await self.pace.others_append()

    async def _head(self) -> int:
        return self.last


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    log = Log()
    monkeypatch.setattr(pace, "monotonic", lambda: log.now)
    return log


async def test_a_log_that_stays_as_it_is_is_nobodys_work(log: Log) -> None:
    assert [await log.after(0.2) for _ in range(3)] == [False] * 3


async def test_a_log_that_grows_is_somebodys_work_until_a_second_later(log: Log) -> None:
    await log.after(0)

    assert await log.after(0.2, appended=1)
    assert await log.after(0.9)
    assert not await log.after(0.2)


async def test_work_that_others_do_between_two_looks_is_seen_at_the_next(log: Log) -> None:
    await log.after(0)

    assert not await log.after(0.01, appended=1)
    assert await log.after(0.1)
