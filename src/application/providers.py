"""What administrators ask of providers: switched on or off, preferred to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from application.generations import MOST_CONFLICTS, ContendedError
from application.idempotency import Idempotency, hashed
from application.ports.event_store import Accepted, Command, Conflict, Duplicate, EventStore
from application.switches import Switches
from domain.aggregate import made_one_by
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
        repeated = await self._decide(name, wanted, by, idempotency)
        await self._switches.look()
        return repeated

    async def _decide(
        self, name: str, wanted: ProviderWish, by: UUID, idempotency: Idempotency | None
    ) -> bool:
        used = idempotency and await self._store.used_key(by, hashed(by, idempotency.key))
        if idempotency and used:
            idempotency.used_for(used)
            return True
        for _ in range(MOST_CONFLICTS):
            with made_one_by(idempotency.recorded if idempotency else None):
                providers = await self._decided(name, wanted, by)
            key = idempotency.for_command(PROVIDERS) if idempotency else None
            outcome = await self._store.append(
                Command(events=providers.collect_events(), idempotency=key)
            )
            if isinstance(outcome, Accepted):
                return False
            if isinstance(outcome, Duplicate) and idempotency:
                idempotency.used_for(outcome)
                return True
            if not isinstance(outcome, Conflict):
                raise TypeError(f"A change of a provider cannot end as {outcome}.")
        raise ContendedError("The providers are")

    async def _decided(self, name: str, wanted: ProviderWish, by: UUID) -> Providers:
        known = await self._store.get(Providers, PROVIDERS)
        providers = known or Providers.list(self._configured, by=by)
        if wanted.enabled is not None:
            (providers.enable if wanted.enabled else providers.disable)(name, by=by)
        if wanted.place is not None:
            providers.move(name, to=wanted.place, among=self._configured, by=by)
        return providers
