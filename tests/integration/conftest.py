"""Two event stores over one migrated database, as two processes have them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest

from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.event_store.store import PostgresEventStore


@pytest.fixture
async def stores(database_url: str) -> AsyncIterator[Sequence[PostgresEventStore]]:
    """As two processes have them."""
    await ensure_tables(database_url)
    both = [PostgresEventStore(database_url) for _ in range(2)]
    for store in both:
        await store.open()
    yield both
    for store in both:
        await store.close()


@pytest.fixture
def store(stores: Sequence[PostgresEventStore]) -> PostgresEventStore:
    return stores[0]
