"""Reads the log by position in pages that are bounded in events and in bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from psycopg import AsyncConnection

from infrastructure.event_store.store import COLUMNS, Row

MOST_BYTES = 8 * 1024 * 1024

PAGE = f"""
SELECT {COLUMNS}
  FROM (SELECT {COLUMNS},
               sum(octet_length(state)) OVER (ORDER BY notification_id) - octet_length(state)
               AS bytes_before
          FROM stored_events
         WHERE notification_id > %s AND notification_id <= %s
         ORDER BY notification_id LIMIT %s) page
 WHERE bytes_before < %s
 ORDER BY notification_id
"""  # noqa: S608  # a constant

END = 2**63 - 1


async def page(
    connection: AsyncConnection[Any], after: int, limit: int, *, until: int = END
) -> Sequence[Row]:
    """The next events, in order: none when there are no more, else at least one."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(PAGE, (after, until, limit, MOST_BYTES), prepare=True)
    return cast(Sequence[Row], await cursor.fetchall())


def is_full(rows: Sequence[Row], limit: int) -> bool:
    """Whether there may be more behind them."""
    return len(rows) == limit or sum(len(row[5]) for row in rows) >= MOST_BYTES
