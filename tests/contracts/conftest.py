"""The event store that a contract is tried on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from infrastructure.event_store.store import PostgresEventStore
from tests.contracts.stores import Case, memory_case, postgres_case


@pytest.fixture(params=["memory", "postgres"])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    if request.param == "memory":
        yield memory_case()
        return
    database_url = request.getfixturevalue("database_url")
    store = PostgresEventStore(database_url)
    await store.open()
    yield postgres_case(store, database_url)
    await store.close()
