"""The running REST API for end-to-end tests."""

from __future__ import annotations

import io
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from infrastructure.embedded import EmbeddedRedis
from infrastructure.logging import formatter
from tests.conftest import PostgresServer
from tests.e2e.stack import Stack, running, settings_for


@pytest.fixture
async def stack(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[Stack]:
    """One API with a database, an image store and a worker of its own."""
    async with running(settings_for(tmp_path, database_url, redis_url)) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    migrated_template: str,
    redis_server: EmbeddedRedis,
) -> AsyncIterator[Stack]:
    """One for all tests of a file that do not disturb each other."""
    database_url = postgres_server.new_database(migrated_template)
    settings = settings_for(tmp_path_factory.mktemp("data"), database_url, redis_server.url)
    async with running(settings) as started:
        yield started


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged, as JSON lines."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter(console=False))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)
