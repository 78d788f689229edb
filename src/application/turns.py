"""A few of each user's at once, so that nobody's flood is before the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from application.ports.event_store import StoreBusyError

AT_ONCE = 8  # as many as keep one process busy
MOST_OF_A_USER = 1000
PATIENCE = 5.0  # seconds, as long as a command waits to be recorded


@dataclass
class _Line:
    """One user's: those whose turn it is, and those who wait for it."""

    free: asyncio.Semaphore
    there: int = 0


class Turns:
    """Of each user `at_once` have their turn in this process; their others wait, in order.

    Whatever is done in turn takes time of the one event loop, and a place in the next batch that is
    recorded. So a user's hundreds would be ahead of another's one.
    """

    def __init__(
        self,
        *,
        at_once: int = AT_ONCE,
        most_of_a_user: int = MOST_OF_A_USER,
        patience: float = PATIENCE,
    ) -> None:
        self._at_once, self._most, self._patience = at_once, most_of_a_user, patience
        self._lines: dict[UUID, _Line] = {}

    @asynccontextmanager
    async def turn(self, user_id: UUID) -> AsyncIterator[None]:
        """Have it. Raises StoreBusyError when too many of the user's wait, or it does not come."""
        line = self._lines.setdefault(user_id, _Line(asyncio.Semaphore(self._at_once)))
        if line.there >= self._most:
            raise StoreBusyError(
                f"{self._most} requests of yours wait to be recorded. Slow down and try again."
            )
        line.there += 1
        try:
            await self._wait(line)
            try:
                yield
            finally:
                line.free.release()
        finally:
            line.there -= 1
            if not line.there:
                del self._lines[user_id]

    async def _wait(self, line: _Line) -> None:
        try:
            async with asyncio.timeout(self._patience):
                await line.free.acquire()
        except TimeoutError:
            raise StoreBusyError(
                f"Your other requests took longer than {self._patience:g} seconds to be recorded."
                " Slow down and try again."
            ) from None
