"""A Supabase Storage server, and the image store in it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from infrastructure.image_stores import supabase_storage
from infrastructure.image_stores.supabase import SupabaseImageStore
from tests.image_stores import supabase_store
from tests.servers.protocol import serving
from tests.servers.supabase import SupabaseServer


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for again is asked for at once."""
    monkeypatch.setattr(supabase_storage, "PAUSES", (0, 0))


@pytest.fixture
def server() -> SupabaseServer:
    return SupabaseServer()


@pytest.fixture
async def url(server: SupabaseServer) -> AsyncIterator[str]:
    async with serving(server) as address:
        yield address


@pytest.fixture
async def store(url: str) -> AsyncIterator[SupabaseImageStore]:
    made = supabase_store(url)
    yield made
    await made.close()
