"""What tests of chaos share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infrastructure.embedded import EmbeddedRedis
from infrastructure.event_store.store import PostgresEventStore
from tests.chaos.works import LEASE, Works
from tests.processes import processes


@pytest.fixture
async def works(database_url: str, tmp_path: Path) -> AsyncIterator[Works]:
    store = PostgresEventStore(database_url)
    await store.open()
    with EmbeddedRedis(tmp_path / "redis") as redis:
        settings = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis.url,
            "DARKROOM_LEASE_SECONDS": str(LEASE),
        }
        with processes(tmp_path, **settings) as running:
            yield Works(running, store, redis, database_url)
    await store.close()
