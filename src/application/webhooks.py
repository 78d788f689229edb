"""What users decide about their webhooks, each recorded in one append."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID, uuid4, uuid5

from application.deciding import A, decide_once
from application.idempotency import Idempotency
from application.ports.event_store import EventStore
from application.ports.webhooks import WebhookSecrets
from domain.delivery import Delivery
from domain.webhook import (
    Endpoint,
    EndpointDisabledError,
    EndpointNotFoundError,
    EventType,
    Secret,
    Webhooks,
    webhooks_id,
)

T = TypeVar("T")


class DeliveryNotFoundError(Exception):
    """There is no such delivery to this endpoint, or of this generation."""

    def __init__(self) -> None:
        super().__init__("There is no such delivery.")


class EndpointRemovedError(Exception):
    """What a command made is not there any more when it comes again."""

    def __init__(self) -> None:
        super().__init__(
            "The webhook that this Idempotency-Key made was removed since. Send another key to"
            " make a new one."
        )


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
        """Raises WebhooksOffError, InsecureAddressError, TooManyEndpointsError,
        EndpointRemovedError, and TooManyDecisionsError, as all of these but `remove` may.
        """
        self.refuse_address(url)
        said = {"webhook": url, "events": sorted(events)}
        id_ = _id_of_new(user_id, idempotency_key, said)
        done = await self._change(
            user_id,
            lambda webhooks: webhooks.register(id_, url=url, events=events, by=user_id),
            idempotency_key,
            said,
        )
        try:
            return Done(done.result.endpoint(id_), done.repeated)
        except EndpointNotFoundError:
            raise EndpointRemovedError from None

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

        delivery = uuid4()

        async def load() -> Delivery:
            return Delivery.of_test(delivery, user_id=user_id, endpoint=id_)

        said = {"test": str(id_)}
        return await self._deliver(user_id, delivery, load, lambda _: None, idempotency_key, said)

    async def resend(
        self, user_id: UUID, id_: UUID, delivery: UUID, *, idempotency_key: str | None = None
    ) -> Done[Delivery]:
        """Have the endpoint told again, whatever became of it before.

        Raises WebhooksOffError, EndpointNotFoundError, EndpointDisabledError,
        DeliveryNotFoundError, TooManyResendsError.
        """
        self._secrets.refuse_if_off()
        await self.endpoint(user_id, id_)
        said = {"resend": str(delivery), "webhook": str(id_)}
        return await self._resend(
            user_id, delivery, lambda known: known.endpoint == id_, idempotency_key, said
        )

    async def resend_of(
        self, user_id: UUID, generation: UUID, delivery: UUID, *, idempotency_key: str | None = None
    ) -> Done[Delivery]:
        """The same for any receiver that is told of a generation, the request's own address too.

        Raises as `resend` does.
        """
        self._secrets.refuse_if_off()
        said = {"resend": str(delivery), "generation": str(generation)}
        return await self._resend(
            user_id, delivery, lambda known: known.generation == generation, idempotency_key, said
        )

    async def _resend(
        self,
        user_id: UUID,
        id_: UUID,
        is_it: Callable[[Delivery], bool],
        key: str | None,
        said: Mapping[str, object],
    ) -> Done[Delivery]:
        async def load() -> Delivery:
            known = await self._store.get(Delivery, id_)
            if known is None or known.user_id != user_id or not is_it(known):
                raise DeliveryNotFoundError
            if known.endpoint is not None:
                await self._enabled(user_id, known.endpoint)
            return known

        return await self._deliver(user_id, id_, load, lambda d: d.resend(by=user_id), key, said)

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
        async def load() -> Webhooks:
            return await self.of(user_id)

        before = await self._decide(user_id, load, decide, key, said)
        return Done(await self.of(user_id), repeated=before is not None)

    async def _deliver(
        self,
        user_id: UUID,
        id_: UUID,
        load: Callable[[], Awaitable[Delivery]],
        decide: Callable[[Delivery], None],
        key: str | None,
        said: Mapping[str, object],
    ) -> Done[Delivery]:
        before = await self._decide(user_id, load, decide, key, said)
        delivery = await self._store.get(Delivery, before or id_)
        if delivery is None:
            raise DeliveryNotFoundError
        return Done(delivery, repeated=before is not None)

    async def _decide(
        self,
        user_id: UUID,
        load: Callable[[], Awaitable[A]],
        decide: Callable[[A], None],
        key: str | None,
        said: Mapping[str, object],
    ) -> UUID | None:
        idempotency = Idempotency.of(user_id, key, said)
        return await decide_once(
            self._store, load, decide, idempotency=idempotency, what="Your webhooks are"
        )


def _id_of_new(user_id: UUID, key: str | None, said: Mapping[str, object]) -> UUID:
    """Of a command that comes again it is the same."""
    idempotency = Idempotency.of(user_id, key, said)
    return uuid5(webhooks_id(user_id), idempotency.fingerprint) if idempotency else uuid4()
