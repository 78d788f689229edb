"""PostgreSQL's log with a clock that tests move: ahead, or a step with each look at it."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg

CLOCK = """
CREATE OR REPLACE FUNCTION log_now_v1() RETURNS timestamptz LANGUAGE sql VOLATILE AS $$
    SELECT greatest({now},
                    (SELECT recorded_at FROM stored_events ORDER BY notification_id DESC LIMIT 1))
$$
"""


async def move_clock(database_url: str, to: datetime) -> None:
    """Let the log's clock go on from there."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        ahead = f"timestamptz '{to.isoformat()}' - clock_timestamp()"
        found = await (await connection.execute(f"SELECT {ahead}")).fetchone()
        assert found is not None
        by = found[0].total_seconds()
        await connection.execute(CLOCK.format(now=f"clock_timestamp() + interval '{by} s'"))


async def tick_from(database_url: str, start: datetime, *, step: timedelta) -> None:
    """Let the log's clock stand still but for a step with each look at it."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("CREATE SEQUENCE ticks")
        ticked = f"interval '{step.total_seconds()} s' * nextval('ticks')"
        now = f"timestamptz '{start.isoformat()}' + {ticked}"
        await connection.execute(CLOCK.format(now=now))
