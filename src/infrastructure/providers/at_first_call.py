"""A provider whose SDK is imported by who calls it: the api only says what it can do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from application.ports.providers import Answer, CallRequest, Capabilities, Provider


class AtFirstCall:
    """Says what it can do at once, and is made by `make`, outside the event loop.

    A worker makes it `ready` before its first call: the import would take of that call's time.
    """

    def __init__(self, name: str, capabilities: Capabilities, make: Callable[[], Provider]) -> None:
        self.name, self.capabilities = name, capabilities
        self._make = make
        self._made: asyncio.Task[Provider] | None = None

    async def ready(self) -> None:
        """Make it."""
        await self._provider()

    async def call(self, request: CallRequest) -> Answer:
        """As the provider does."""
        return await (await self._provider()).call(request)

    async def close(self) -> None:
        """Of what was never made nothing is closed."""
        if self._made is not None:
            await (await self._made).close()

    async def _provider(self) -> Provider:
        """One for all calls; that one of them is cancelled hinders none of the others."""
        if self._made is None:
            self._made = asyncio.create_task(asyncio.to_thread(self._make))
        return await asyncio.shield(self._made)
