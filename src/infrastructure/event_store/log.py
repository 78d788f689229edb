"""Which log this is: positions mean nothing in another one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from application.ports.images import Mark
from infrastructure.read_models import Fetch

END = """
SELECT identity, coalesce(notification_id, 0), coalesce(recorded_at, 'epoch') FROM log
  LEFT JOIN (SELECT notification_id, recorded_at FROM stored_events
              ORDER BY notification_id DESC LIMIT 1) latest ON true
"""
NOT_MINE = """
SELECT log, position, recorded_at
  FROM unnest(%s::uuid[], %s::bigint[], %s::timestamptz[]) AS mark(log, position, recorded_at)
 WHERE log <> (SELECT identity FROM log)
    OR position > 0 AND NOT EXISTS (SELECT FROM stored_events e
                                     WHERE e.notification_id = mark.position
                                       AND e.recorded_at = mark.recorded_at)
"""


class PostgresLog:
    """The log's own record of itself."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def identity(self) -> UUID:
        """Made with the log; a restored copy has the same. Raises StoreUnavailableError."""
        rows = await self._fetch("SELECT identity FROM log", ())
        identity: UUID = rows[0][0]
        return identity

    async def end(self) -> Mark:
        rows = await self._fetch(END, ())
        return Mark(*rows[0])

    async def not_mine(self, marks: Sequence[Mark]) -> Sequence[Mark]:
        parts = (
            [mark.log for mark in marks],
            [mark.position for mark in marks],
            [mark.recorded_at for mark in marks],
        )
        return [Mark(*row) for row in await self._fetch(NOT_MINE, parts)]

    async def age(self) -> timedelta:
        rows = await self._fetch("SELECT clock_timestamp() - started_at FROM log", ())
        age: timedelta = rows[0][0]
        return age

    async def clock(self) -> datetime:
        rows = await self._fetch("SELECT clock_timestamp()", ())
        clock: datetime = rows[0][0]
        return clock
