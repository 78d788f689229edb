"""OpenAI's provider and the server that it asks, for the tests of what is OpenAI's alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from application.ports.providers import CallRequest
from infrastructure.providers.openai import OpenAIProvider
from tests.contracts.asking import request_to
from tests.servers.openai import KEY, server
from tests.servers.protocol import ProtocolServer, serving


class Served:
    """The adapter and the server that it asks."""

    def __init__(self, provider: OpenAIProvider, there: ProtocolServer) -> None:
        self.provider, self.switches = provider, there.switches

    def request(self, *images: int, **wanted: Any) -> CallRequest:
        return request_to(self.provider, *images, **{"size": None, **wanted})

    @property
    def facts(self) -> dict[str, Any]:
        """What the last request said, and what it was seen to hold."""
        return self.switches.seen[-1].facts

    def bill(self, *prices: str) -> Decimal:
        """What the last request costs at these prices of a million text, image and made tokens."""
        tokens = self.facts["tokens"]
        each = (Decimal(price) * count for price, count in zip(prices, tokens, strict=True))
        return sum(each, Decimal()) / 1_000_000


@asynccontextmanager
async def served_openai() -> AsyncIterator[Served]:
    """Both, for as long as a test lasts."""
    there = server()
    async with serving(there) as address:
        provider = OpenAIProvider(api_key=KEY, base_url=f"{address}/v1")
        yield Served(provider, there)
        await provider.close()
