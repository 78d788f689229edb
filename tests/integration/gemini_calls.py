"""Gemini's adapter and the server that speaks its protocol, in one event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from application.ports.providers import Answer, CallFailedError, CallRequest, OutcomeUnknownError
from infrastructure.providers.gemini import CAPABILITIES, GeminiProvider
from tests.servers.gemini import KEY, server
from tests.servers.protocol import ProtocolServer, serving

PROMPT = "a lighthouse that nobody else has heard of"
MODEL = "gemini-3-pro-image"


def request_for(model: str = MODEL, **wanted: Any) -> CallRequest:
    """One picture."""
    return CallRequest(
        generation=uuid4(), call=1, images=(1,), prompt=PROMPT, model=model, **wanted
    )


@dataclass
class Gemini:
    """Asks, and knows what was seen on the other side."""

    provider: GeminiProvider
    server: ProtocolServer

    async def make(self, model: str = MODEL, **wanted: Any) -> Answer:
        """One call that is answered."""
        return await self.provider.call(request_for(model, **wanted))

    async def failure(self, fault: str | None = None, **wanted: Any) -> CallFailedError:
        """How one call fails."""
        outcome = await self.outcome(fault, **wanted)
        assert isinstance(outcome, CallFailedError), outcome
        return outcome

    async def outcome(
        self, fault: str | None = None, **wanted: Any
    ) -> Answer | CallFailedError | OutcomeUnknownError:
        """What becomes of one call."""
        self.server.switches.tell(next=[fault] if fault else [])
        try:
            return await self.make(**wanted)
        except (CallFailedError, OutcomeUnknownError) as error:
            return error

    @property
    def facts(self) -> dict[str, Any]:
        """What the last request was understood to ask for."""
        return self.server.switches.seen[-1].facts

    @property
    def posts(self) -> int:
        """How many requests were seen."""
        return len(self.server.switches.seen)


@asynccontextmanager
async def gemini(**arguments: Any) -> AsyncIterator[Gemini]:
    """A server that knows one key, and a provider that has it."""
    other_side = server()
    async with serving(other_side) as address:
        provider = GeminiProvider(**{"api_key": KEY, "base_url": address, **arguments})
        try:
            yield Gemini(provider, other_side)
        finally:
            await provider.close()


MODELS = [model.name for model in CAPABILITIES.models]
