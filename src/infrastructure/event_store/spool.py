"""The spool in PostgreSQL."""

from __future__ import annotations

from application.ports.images import SpoolFullError
from infrastructure.event_store.store import PostgresEventStore


class PostgresSpool:
    """Rows of the spool table, at most `most_bytes` in all; those that race may each go over it."""

    def __init__(self, store: PostgresEventStore, *, most_bytes: int) -> None:
        self._fetch = store.fetch
        self._most_bytes = most_bytes

    async def put(self, key: str, data: bytes) -> None:
        rows = await self._fetch(
            "INSERT INTO spool (key, data) SELECT %s, %s"
            " WHERE (SELECT coalesce(sum(octet_length(data)), 0)"
            "          FROM spool WHERE key <> %s) + %s <= %s"
            " ON CONFLICT (key) DO UPDATE SET data = excluded.data RETURNING key",
            (key, data, key, len(data), self._most_bytes),
        )
        if not rows:
            raise SpoolFullError("The spool is full. Bring the image store back.")

    async def get(self, key: str) -> bytes | None:
        rows = await self._fetch("SELECT data FROM spool WHERE key = %s", (key,))
        return bytes(rows[0][0]) if rows else None

    async def remove(self, key: str) -> None:
        await self._fetch("DELETE FROM spool WHERE key = %s RETURNING key", (key,))
