"""Last uses of keys and sessions: nothing but an idle session's end is decided by them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from infrastructure.event_store.store import PostgresEventStore

NOTE = """
INSERT INTO last_uses AS known (id, used_at)
SELECT * FROM unnest(%s::uuid[], %s::timestamptz[]) AS new(id, used_at) ORDER BY id
    ON CONFLICT (id) DO UPDATE SET used_at = excluded.used_at WHERE known.used_at < excluded.used_at
RETURNING id
"""


class PostgresUses:
    """The port over the rows of `last_uses`."""

    def __init__(self, store: PostgresEventStore) -> None:
        self._fetch = store.fetch

    async def note(self, uses: Mapping[UUID, datetime]) -> None:
        await self._fetch(NOTE, (list(uses), list(uses.values())))

    async def last(self, ids: Collection[UUID]) -> Mapping[UUID, datetime]:
        rows = await self._fetch(
            "SELECT id, used_at FROM last_uses WHERE id = ANY (%s)", (list(ids),)
        )
        return dict(rows)
