"""Stability's adapter and the server that speaks its protocol, in one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest

from application.ports.providers import CallFailedError, CallRequest
from infrastructure.providers.stability import StabilityProvider
from tests.servers.stability import KEY


def wish(model: str = "ultra", **wanted: Any) -> CallRequest:
    """One picture."""
    told = {"prompt": "a lighthouse", "images": (1,), **wanted}
    return CallRequest(generation=uuid4(), call=1, model=model, **told)


@asynccontextmanager
async def asking(address: str, key: str = KEY) -> AsyncIterator[StabilityProvider]:
    """A provider that asks there."""
    provider = StabilityProvider(api_key=key, base_url=address, read_seconds=5)
    try:
        yield provider
    finally:
        await provider.close()


async def failure_of(provider: StabilityProvider, request: CallRequest) -> CallFailedError:
    """How one call fails."""
    with pytest.raises(CallFailedError) as failed:
        await provider.call(request)
    return failed.value
