"""The event store itself, in the bench's own process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from infrastructure.event_store.store import PostgresEventStore


@asynccontextmanager
async def opened_store(database_url: str) -> AsyncIterator[PostgresEventStore]:
    """Open while the block runs."""
    store = PostgresEventStore(database_url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()
