"""Lets work on the whole log give way to a service that appends, and to nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

REST = 3.0  # times as long as what was done
LONGEST_REST = 1.0
LOOK_EVERY = 0.1  # seconds
AT_WORK_FOR = 1.0  # since the log was last seen to have grown

HEAD = "SELECT coalesce(max(notification_id), 0) FROM stored_events"


class Pace:
    """Who appends shares the processors with PostgreSQL: short pieces of work, and rests.

    `head` tells the last position of the log; it is asked now and then.
    """

    def __init__(self, head: Callable[[], Awaitable[int]]) -> None:
        self._head = head
        self._seen: int | None = None
        self._looked_at = self._grew_at = -AT_WORK_FOR

    async def others_append(self) -> bool:
        """Whether the log grew within the last second."""
        now = monotonic()
        if now >= self._looked_at + LOOK_EVERY:
            head = await self._head()
            if self._seen not in (None, head):
                self._grew_at = now
            self._seen, self._looked_at = head, now
        return now < self._grew_at + AT_WORK_FOR

    async def rest(self, worked: float) -> None:
        """After so many seconds of work."""
        await asyncio.sleep(min(worked * REST, LONGEST_REST))
