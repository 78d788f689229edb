"""A provider on stage: what the contract tests need to make it answer, refuse, fail or hang."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from application.ports.providers import Provider
from domain.failure import FailureKind
from tests.servers.protocol import ProtocolServer, serving

HANG = "hang"
PATIENCE = 20.0  # seconds to wait for an answer that comes


@dataclass(frozen=True)
class Outcome:
    """What an error comes to; `costs` says whether it is paid for, and how much is known."""

    kind: FailureKind
    retry_after: float | None = None
    of_model: bool = False
    costs: bool = False


@dataclass(frozen=True)
class OnStage:
    """A provider to call, and the server that it asks, if it asks one."""

    provider: Provider
    server: ProtocolServer | None = None


@dataclass(frozen=True)
class Stage:
    """A provider in this process: `told` makes one that meets a fault, or none for ``.

    `errors` are the faults after which there is no picture; HANG is one that each has beside them.
    """

    name: str
    told: Callable[[str], Provider]
    errors: Mapping[str, Outcome]

    @asynccontextmanager
    async def open(self, fault: str = "") -> AsyncIterator[OnStage]:
        """The provider, whose first call meets the fault."""
        provider = self.told(fault)
        try:
            yield OnStage(provider)
        finally:
            await provider.close()


@dataclass(frozen=True)
class ServedStage:
    """A provider that asks a `server`.

    `made_at` makes one for an address and a patience in seconds, after which it stops waiting.
    All faults of the server are among `errors`, after which there is no picture, `harmless`, after
    which there is one all the same, and `lost`, after which nobody knows. Nobody may see `secret`,
    the key.
    """

    name: str
    server: Callable[[], ProtocolServer]
    made_at: Callable[[str, float], Provider]
    errors: Mapping[str, Outcome]
    secret: str
    harmless: Sequence[str] = ()
    lost: Sequence[str] = ()

    @asynccontextmanager
    async def open(self, *faults: str, patience: float = PATIENCE) -> AsyncIterator[OnStage]:
        """The provider and its server, whose first requests meet the faults."""
        server = self.server()
        server.switches.tell(next=faults)
        async with serving(server) as address:
            provider = self.made_at(address, patience)
            try:
                yield OnStage(provider, server)
            finally:
                await provider.close()
