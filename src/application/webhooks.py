"""What users decide about their webhooks, each recorded in one append."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID, uuid4, uuid5

from application.generations import MOST_CONFLICTS, ContendedError
from application.idempotency import Idempotency, hashed
from application.ports.event_store import Accepted, Command, Conflict, Duplicate, EventStore
from application.ports.webhooks import WebhookSecrets
from domain.aggregate import made_one_by
from domain.delivery import Delivery
from domain.webhook import (
    Endpoint,
    EndpointDisabledError,
    EventType,
    Secret,
    Webhooks,
    webhooks_id,
)

T = TypeVar("T")


class DeliveryNotFoundError(Exception):
    """There is no such delivery to this endpoint."""

    def __init__(self) -> None:
        super().__init__("There is no such delivery to this webhook.")


@dataclass(frozen=True)
class Done(Generic[T]):
    """What a command led to, and whether the same key had done it before."""

    result: T
    repeated: bool


@dataclass(frozen=True)
class EndpointWish:
    """How an endpoint is wanted; what is None stays as it is."""

    url: str | None = None
    events: tuple[EventType, ...] | None = None
    enabled: bool | None = None


class WebhookChanges:
    """The commands on webhooks. Each may raise StoreUnavailableError, ContendedError.

    With an `idempotency_key` a repeated command is done once, and one of another meaning raises
    IdempotencyKeyReusedError. What is somebody else's is not found.
    """

    def __init__(self, store: EventStore, secrets: WebhookSecrets) -> None:
        self._store, self._secrets = store, secrets

    def refuse_address(self, url: str) -> None:
        """Raises WebhooksOffError, InsecureAddressError where nothing could be sent to it."""
        self._secrets.refuse_if_off()
        self._secrets.refuse_insecure(url)

    async def of(self, user_id: UUID) -> Webhooks:
        """All of a user's, as they are now."""
        known = await self._store.get(Webhooks, webhooks_id(user_id))
        return known or Webhooks.open(user_id)

    async def endpoint(self, user_id: UUID, id_: UUID) -> Endpoint:
        """Raises EndpointNotFoundError."""
        return (await self.of(user_id)).endpoint(id_)

    def secret_of(self, owner: UUID, secret: Secret) -> str:
        """The newest one, which is shown to whom it belongs. Raises WebhooksOffError."""
        return self._secrets.secret(owner, secret.number)

    async def register(
        self,
        user_id: UUID,
        *,
        url: str,
        events: Collection[EventType],
        idempotency_key: str | None = None,
    ) -> Done[Endpoint]:
        """Raises WebhooksOffError, InsecureAddressError, TooManyEndpointsError."""
        self.refuse_address(url)
        said = {"webhook": url, "events": sorted(events)}
        id_ = _id_of_new(user_id, idempotency_key, said)
        done = await self._change(
            user_id,
            lambda webhooks: webhooks.register(id_, url=url, events=events, by=user_id),
            idempotency_key,
            said,
        )
        return Done(done.result.endpoint(id_), done.repeated)

    async def change(
        self, user_id: UUID, id_: UUID, wanted: EndpointWish, *, idempotency_key: str | None = None
    ) -> Done[Endpoint]:
        """Raises EndpointNotFoundError, InsecureAddressError."""
        if wanted.url is not None:
            self._secrets.refuse_insecure(wanted.url)

        def decide(webhooks: Webhooks) -> None:
            webhooks.change(id_, url=wanted.url, events=wanted.events, by=user_id)
            if wanted.enabled is not None:
                (webhooks.enable if wanted.enabled else webhooks.disable)(id_, by=user_id)

        said = {"change": str(id_), **vars(wanted)}
        done = await self._change(user_id, decide, idempotency_key, said)
        return Done(done.result.endpoint(id_), done.repeated)

    async def remove(
        self, user_id: UUID, id_: UUID, *, idempotency_key: str | None = None
    ) -> Done[Webhooks]:
        """Raises EndpointNotFoundError, a second time too, unless it is under the same key."""
        return await self._change(
            user_id,
            lambda webhooks: webhooks.remove(id_, by=user_id),
            idempotency_key,
            {"remove": str(id_)},
        )

    async def rotate_secret(
        self, user_id: UUID, id_: UUID | None, *, idempotency_key: str | None = None
    ) -> Done[Webhooks]:
        """Of an endpoint; of None, that of the addresses in single requests.

        Raises WebhooksOffError, EndpointNotFoundError.
        """
        self._secrets.refuse_if_off()
        return await self._change(
            user_id,
            lambda webhooks: webhooks.rotate_secret(id_, now=self._store.now(), by=user_id),
            idempotency_key,
            {"rotate": str(id_)},
        )

    async def test(
        self, user_id: UUID, id_: UUID, *, idempotency_key: str | None = None
    ) -> Done[Delivery]:
        """Have something sent that tells of nothing.

        Raises WebhooksOffError, EndpointNotFoundError, EndpointDisabledError.
        """
        self._secrets.refuse_if_off()
        await self._enabled(user_id, id_)

        async def decide(ref: UUID) -> Delivery:
            return Delivery.of_test(ref, user_id=user_id, endpoint=id_)

        return await self._deliver(user_id, uuid4(), decide, idempotency_key, {"test": str(id_)})

    async def resend(
        self, user_id: UUID, id_: UUID, delivery: UUID, *, idempotency_key: str | None = None
    ) -> Done[Delivery]:
        """Have the endpoint told again, whatever became of it before.

        Raises WebhooksOffError, EndpointNotFoundError, EndpointDisabledError,
        DeliveryNotFoundError.
        """
        self._secrets.refuse_if_off()
        await self._enabled(user_id, id_)

        async def decide(ref: UUID) -> Delivery:
            known = await self._store.get(Delivery, ref)
            if known is None or known.endpoint != id_:
                raise DeliveryNotFoundError
            known.resend(by=user_id)
            return known

        said = {"resend": str(delivery), "webhook": str(id_)}
        return await self._deliver(user_id, delivery, decide, idempotency_key, said)

    async def _enabled(self, user_id: UUID, id_: UUID) -> None:
        if (await self.endpoint(user_id, id_)).disabled:
            raise EndpointDisabledError

    async def _change(
        self,
        user_id: UUID,
        decide: Callable[[Webhooks], None],
        key: str | None,
        said: Mapping[str, object],
    ) -> Done[Webhooks]:
        async def decided() -> Webhooks:
            webhooks = await self.of(user_id)
            decide(webhooks)
            return webhooks

        done = await self._record(user_id, decided, webhooks_id(user_id), key, said)
        return Done(await self.of(user_id), done.repeated)

    async def _deliver(
        self,
        user_id: UUID,
        ref: UUID,
        decide: Callable[[UUID], Awaitable[Delivery]],
        key: str | None,
        said: Mapping[str, object],
    ) -> Done[Delivery]:
        done = await self._record(user_id, lambda: decide(ref), ref, key, said)
        delivery = await self._store.get(Delivery, done.result)
        if delivery is None:
            raise DeliveryNotFoundError
        return Done(delivery, done.repeated)

    async def _record(
        self,
        user_id: UUID,
        decide: Callable[[], Awaitable[Webhooks | Delivery]],
        ref: UUID,
        key: str | None,
        said: Mapping[str, object],
    ) -> Done[UUID]:
        """What it made or changed; after a conflict, decide again on what happened meanwhile."""
        idempotency = Idempotency.of(user_id, key, said)
        used = idempotency and await self._store.used_key(user_id, hashed(user_id, idempotency.key))
        if idempotency and used:
            return Done(idempotency.used_for(used), repeated=True)
        for _ in range(MOST_CONFLICTS):
            with made_one_by(idempotency.recorded if idempotency else None):
                decided = await decide()
            command = Command(
                events=decided.collect_events(),
                idempotency=idempotency.for_command(ref) if idempotency else None,
            )
            outcome = await self._store.append(command)
            if isinstance(outcome, Accepted):
                return Done(ref, repeated=False)
            if isinstance(outcome, Duplicate) and idempotency:
                return Done(idempotency.used_for(outcome), repeated=True)
            if not isinstance(outcome, Conflict):
                raise TypeError(f"A change of webhooks cannot end as {outcome}.")
        raise ContendedError("Your webhooks are")


def _id_of_new(user_id: UUID, key: str | None, said: Mapping[str, object]) -> UUID:
    """Of a command that comes again it is the same."""
    idempotency = Idempotency.of(user_id, key, said)
    return uuid5(webhooks_id(user_id), idempotency.fingerprint) if idempotency else uuid4()
