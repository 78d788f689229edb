"""Sessions are real, or the address is refused."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from infrastructure.event_store.connections import LIVENESS, configure, connect
from infrastructure.event_store.session_mode import (
    SharedSessionsError,
    examine_sessions,
    refuse_shared_sessions,
)
from tests.pooler import Pooler
from tests.proxy import Proxy

NOBODY_THERE = "postgresql://darkroom:hidden-word@127.0.0.1:1/darkroom"


async def test_postgres_itself_gives_sessions(database_url: str) -> None:
    await examine_sessions(database_url)
    await refuse_shared_sessions(database_url)


@pytest.mark.parametrize("backends", [1, 2, 3, 8])
async def test_a_pooler_in_transaction_mode_is_refused(database_url: str, backends: int) -> None:
    async with Pooler(database_url, backends=backends) as pooler:
        for _ in range(2):
            with pytest.raises(SharedSessionsError, match="pooler in transaction mode"):
                await refuse_shared_sessions(pooler.url, patience=20)


async def test_a_pooler_in_session_mode_is_not_and_settings_hold(database_url: str) -> None:
    async with Pooler(database_url, backends=3, sessions=True) as pooler:
        await examine_sessions(pooler.url)
        await refuse_shared_sessions(pooler.url)
        async with await connect(pooler.url, "darkroom test", statement_timeout="7s") as one:
            shown = await (await one.execute("SHOW statement_timeout")).fetchone()

    assert shown == ("7s",)


async def test_of_a_database_that_is_not_there_nothing_is_said() -> None:
    await refuse_shared_sessions(NOBODY_THERE)
    with pytest.raises(psycopg.OperationalError):
        await examine_sessions(NOBODY_THERE)


async def test_a_database_that_hangs_is_not_waited_for(database_url: str) -> None:
    async with Proxy(database_url) as proxy, asyncio.timeout(10):
        proxy.pause()
        await refuse_shared_sessions(proxy.url, patience=0.1)


async def test_one_that_lets_us_in_and_then_hangs_is_not_waited_for(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Proxy(database_url) as proxy, asyncio.timeout(20):
        connection = await connect(proxy.url, "darkroom test")
        monkeypatch.setitem(LIVENESS, "connect_timeout", 1)
        proxy.pause()
        with pytest.raises(psycopg.OperationalError, match="said nothing"):
            await configure(connection, statement_timeout="7s")
        await connection.close()
