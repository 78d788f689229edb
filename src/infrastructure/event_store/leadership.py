"""A duty that one process in the world has at a time: a session's advisory lock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
from psycopg import AsyncConnection

from infrastructure.event_store.connections import connect
from infrastructure.read_models import Fetch

IDLE_SESSION_TIMEOUT = 5.0
STATEMENT_TIMEOUT = 60
STANDBY_PAUSE = (0.7, 1.3)

HELD = """
SELECT EXISTS (
    SELECT FROM pg_locks
     WHERE locktype = 'advisory' AND objsubid = 1 AND granted
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND (classid::bigint << 32) | objid::bigint = hashtextextended(%s, 7232406))
"""


@asynccontextmanager
async def leadership(
    database_url: str, duty: str, *, idle_session_timeout: float = IDLE_SESSION_TIMEOUT
) -> AsyncIterator[AsyncConnection[Any]]:
    """Wait until this process has the duty; the connection that holds the lock.

    All that the duty writes goes over this connection, with a statement each second: a leader that
    is stopped, not dead, loses its session after `idle_session_timeout` seconds, and the lock: also
    when it was stopped inside a transaction, or while PostgreSQL was sending to it.
    """
    milliseconds = str(int(idle_session_timeout * 1000))
    connection = await connect(
        database_url,
        f"darkroom {duty}",
        idle_session_timeout=milliseconds,
        idle_in_transaction_session_timeout=milliseconds,
        tcp_user_timeout=milliseconds,
        statement_timeout=f"{STATEMENT_TIMEOUT}s",
        lock_timeout="10s",
    )
    connection.silent_after = STATEMENT_TIMEOUT + 5.0
    async with connection:
        while not await take_duty(connection, duty):  # noqa: ASYNC110  # another process has it
            await asyncio.sleep(random.uniform(*STANDBY_PAUSE))  # noqa: S311  # spreads standbys
        yield connection


async def is_held(fetch: Fetch, duty: str) -> bool:
    """Whether somebody has the duty now."""
    return bool((await fetch(HELD, (duty_name(duty),)))[0][0])


def duty_name(duty: str) -> str:
    """What the lock of a duty is made of."""
    return f"darkroom {duty}"


async def give_up_duty(connection: AsyncConnection[Any], duty: str) -> None:
    """Let somebody else have it now, not when the server notices that the session has ended.

    It goes with the session where the connection is lost.
    """
    with suppress(psycopg.OperationalError):
        await connection.execute(
            "SELECT pg_advisory_unlock(hashtextextended(%s, 7232406))", (duty_name(duty),)
        )


async def take_duty(connection: AsyncConnection[Any], duty: str) -> bool:
    """Have the duty until it is given up or the session ends, unless somebody else has it."""
    cursor = await connection.execute(
        "SELECT pg_try_advisory_lock(hashtextextended(%s, 7232406))", (duty_name(duty),)
    )
    row = await cursor.fetchone()
    return bool(row and row[0])
