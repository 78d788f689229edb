"""The document, and a running service that it describes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.stack import Stack, running, settings_for
from tests.surface.stored import served


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    """The OpenAPI document as it is served."""
    return served()


@pytest.fixture
async def stack(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[Stack]:
    """One API with a worker at work and its history followed."""
    settings = settings_for(tmp_path, database_url, redis_url, secret_key="a-secret-key-for-tests")
    async with running(settings) as started, started.at_work(), started.followed():
        yield started
