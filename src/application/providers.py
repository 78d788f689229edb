"""What administrators ask of providers: switched on or off, preferred to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from application.deciding import decide_once
from application.idempotency import Idempotency
from application.ports.event_store import EventStore
from application.switches import Switches
from domain.provider import PROVIDERS, Providers


class ProviderNotFoundError(Exception):
    """No provider of this name is configured."""

    def __init__(self, configured: Sequence[str]) -> None:
        super().__init__(f"There is no such provider here. Choose one of {', '.join(configured)}.")


@dataclass(frozen=True)
class ProviderWish:
    """How a provider is wanted; what is None stays as it is."""

    enabled: bool | None = None
    place: int | None = None


class ProviderChanges:
    """The command on providers; `configured` are their names in the operator's order."""

    def __init__(self, store: EventStore, switches: Switches, *, configured: Sequence[str]) -> None:
        self._store, self._switches, self._configured = store, switches, tuple(configured)

    async def change(
        self, name: str, wanted: ProviderWish, *, by: UUID, idempotency_key: str | None = None
    ) -> bool:
        """Decide about a provider; whether the same key had done it before.

        This process knows of it at once, the others as soon as they hear. Raises
        ProviderNotFoundError, IdempotencyKeyReusedError, ContendedError, StoreUnavailableError.
        """
        if name not in self._configured:
            raise ProviderNotFoundError(self._configured)
        said = {"provider": name, "enabled": wanted.enabled, "place": wanted.place}
        idempotency = Idempotency.of(by, idempotency_key, said)
        before = await decide_once(
            self._store,
            lambda: self._known(by),
            lambda providers: self._decide(providers, name, wanted, by),
            idempotency=idempotency,
            what="The providers are",
        )
        await self._switches.look()
        return before is not None

    async def _known(self, by: UUID) -> Providers:
        known = await self._store.get(Providers, PROVIDERS)
        return known or Providers.list(self._configured, by=by)

    def _decide(self, providers: Providers, name: str, wanted: ProviderWish, by: UUID) -> None:
        if wanted.enabled is not None:
            (providers.enable if wanted.enabled else providers.disable)(name, by=by)
        if wanted.place is not None:
            providers.move(name, to=wanted.place, among=self._configured, by=by)
