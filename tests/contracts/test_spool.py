"""What every spool does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from application.ports.images import Spool, SpoolFullError
from infrastructure.event_store.spool import PostgresSpool
from infrastructure.event_store.store import PostgresEventStore
from tests.fakes import FakeSpool


@pytest.fixture(params=["memory", "postgres"])
async def spool(request: pytest.FixtureRequest) -> AsyncIterator[Spool]:
    """One that holds ten bytes."""
    if request.param == "memory":
        yield FakeSpool(most_bytes=10)
        return
    store = PostgresEventStore(request.getfixturevalue("database_url"))
    await store.open()
    yield PostgresSpool(store, most_bytes=10)
    await store.close()


async def test_what_was_put_is_there_until_it_is_removed(spool: Spool) -> None:
    await spool.put("images/1", b"\x00\xff")
    assert await spool.get("images/1") == b"\x00\xff"
    await spool.remove("images/1")
    await spool.remove("images/1")
    assert await spool.get("images/1") is None


async def test_the_same_again_is_no_error(spool: Spool) -> None:
    await spool.put("images/1", b"123456")
    await spool.put("images/1", b"123456")
    assert await spool.get("images/1") == b"123456"


async def test_a_full_spool_says_so_and_keeps_what_it_has(spool: Spool) -> None:
    await spool.put("images/1", b"12345678")
    with pytest.raises(SpoolFullError, match="Bring the image store back"):
        await spool.put("images/2", b"123")
    assert await spool.get("images/1") == b"12345678"
    assert await spool.get("images/2") is None
