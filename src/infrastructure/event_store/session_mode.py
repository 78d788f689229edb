"""Whether DATABASE_URL leads to sessions: through a pooler in transaction mode it does not."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.errors import ProtocolViolation

from infrastructure.event_store.connections import connect

PATIENCE = 2.0  # seconds for all of it
A_NOTICE_TAKES = 1.0  # seconds at most; an ordinary server needs a thousandth of one

WRITE = "SELECT set_config('darkroom.session', %s, false)"
READ = "SELECT current_setting('darkroom.session', true)"


class SharedSessionsError(Exception):
    """The address leads to a pooler that lends a session for one transaction only."""

    wrong = (
        "DATABASE_URL leads to a pooler in transaction mode, which has neither LISTEN nor session"
        " locks."
    )
    remedy = "Give it the address of PostgreSQL itself, or set the pooler to session mode."

    def __init__(self) -> None:
        super().__init__(f"{self.wrong} {self.remedy}")


async def refuse_shared_sessions(database_url: str, *, patience: float = PATIENCE) -> None:
    """Raises SharedSessionsError. Of a database that does not answer in time nothing is said."""
    try:
        async with asyncio.timeout(patience):
            await examine_sessions(database_url)
    except (psycopg.Error, TimeoutError):
        return


async def examine_sessions(database_url: str) -> None:
    """Raises SharedSessionsError, and psycopg.Error where the database cannot be asked."""
    async with await _session(database_url) as one, await _session(database_url) as other:
        try:
            await _examine_state(one, other)
            await _examine_notices(one, other)
        except ProtocolViolation as error:  # a pooler in statement mode knows no transactions
            raise SharedSessionsError from error


async def _session(database_url: str) -> AsyncConnection[Any]:
    return await connect(database_url, "darkroom sessions")


async def _examine_state(one: AsyncConnection[Any], other: AsyncConnection[Any]) -> None:
    """What one session sets is its own, also while another one is in a transaction."""
    word = secrets.token_hex(8)
    await one.execute(WRITE, (word,))
    async with other.transaction():
        # The second question finds no backend free, and waits, where the first one has the only.
        if await _answer(other, READ) == word or await _answer(one, READ) != word:
            raise SharedSessionsError


async def _examine_notices(one: AsyncConnection[Any], other: AsyncConnection[Any]) -> None:
    """What a session listens for reaches it while it asks for nothing."""
    channel = f"darkroom_{secrets.token_hex(8)}"
    await one.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
    await other.execute("SELECT pg_notify(%s, '')", (channel,))
    if not await _notified(one, A_NOTICE_TAKES):
        await one.execute("SELECT")  # takes along what a server under load is late with
        if not await _notified(one, 0):
            raise SharedSessionsError


async def _notified(session: AsyncConnection[Any], seconds: float) -> bool:
    return bool([notice async for notice in session.notifies(timeout=seconds, stop_after=1)])


async def _answer(session: AsyncConnection[Any], query: str) -> Any:
    row = await (await session.execute(query)).fetchone()
    return row[0] if row else None
