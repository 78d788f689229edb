"""The log as the announcer reads it: what ended, and whose it was."""

from __future__ import annotations

import logging
from typing import cast
from uuid import UUID

from application.ports.webhooks import Ended, EndedStretch
from domain.generation import ENDINGS, Generation
from domain.webhook import EventType
from infrastructure.event_store.mapper import JsonMapper, UnreadableEventError
from infrastructure.read_models import Fetch

log = logging.getLogger(__name__)

A_STRETCH = 500  # positions: their users' webhooks are read at once

BOOKMARK = "SELECT position FROM bookmarks WHERE name = 'announcer'"
PUT = """
INSERT INTO bookmarks AS b (name, position) VALUES ('announcer', %s)
    ON CONFLICT (name) DO UPDATE SET position = greatest(b.position, excluded.position)
RETURNING position
"""
HEAD = "SELECT coalesce(max(notification_id), 0) FROM stored_events"
# Each with the request that it ends.
STRETCH = """
SELECT e.notification_id, e.originator_id, e.originator_version, e.topic, e.state, e.recorded_at,
       r.originator_version, r.topic, r.state, r.recorded_at
  FROM stored_events e
  JOIN stored_events r ON r.originator_id = e.originator_id AND r.topic LIKE %s
 WHERE e.notification_id > %s AND e.notification_id <= %s
   AND split_part(e.topic, '@', 1) = ANY (%s)
 ORDER BY e.notification_id
"""
ENDED = [event.topic for event in ENDINGS]
REQUESTED = f"{Generation.Requested.topic}@%"


class PostgresEndedGenerations:
    """By position, which is the order in which everything was recorded."""

    def __init__(self, fetch: Fetch, mapper: JsonMapper, *, a_stretch: int = A_STRETCH) -> None:
        self._fetch, self._mapper, self._a_stretch = fetch, mapper, a_stretch

    async def bookmark(self) -> int:
        rows = await self._fetch(BOOKMARK, ())
        return int(rows[0][0]) if rows else 0

    async def put_bookmark(self, position: int) -> None:
        await self._fetch(PUT, (position,))

    async def stretch(self, *, after: int) -> EndedStretch:
        head = int((await self._fetch(HEAD, ()))[0][0])
        end = min(after + self._a_stretch, head)
        if end <= after:
            return EndedStretch((), after, is_last=True)
        rows = await self._fetch(STRETCH, (REQUESTED, after, end, ENDED))
        ended = [self._readable(*row) for row in rows]
        return EndedStretch([one for one in ended if one], end, is_last=end == head)

    def _readable(self, position: int, stream: UUID, *columns: object) -> Ended | None:
        """None of what nobody can read: the others are not to wait for it."""
        try:
            return self._ended(position, stream, *columns)
        except UnreadableEventError as error:
            log.error("an end is not announced: %s", error)
            return None

    def _ended(self, position: int, stream: UUID, *columns: object) -> Ended:
        ending = self._mapper.event(stream, *columns[:4])  # type: ignore[arg-type]  # as STRETCH has them
        request = self._mapper.event(stream, *columns[4:])  # type: ignore[arg-type]  # the same
        if not isinstance(request, Generation.Requested) or ending.timestamp is None:
            raise TypeError(f"Stream {stream} does not begin with a request.")
        return Ended(
            event_id=ending.event_id,
            position=position,
            type=cast(EventType, f"image.{ending.topic}"),
            at=ending.timestamp,
            correlation_id=ending.metadata.correlation_id,
            generation=stream,
            user_id=request.user_id,
            webhook_url=request.personal.webhook_url,
        )
