"""One try of a delivery: signed, sent, and recorded."""

from __future__ import annotations

import base64
import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from application.announcing import ACTOR
from application.generations import MOST_CONFLICTS
from application.ports.event_store import (
    Accepted,
    Command,
    Conflict,
    EventStore,
    StoreUnavailableError,
    UnknownEventError,
)
from application.ports.webhooks import (
    DeliveryBoard,
    DeliveryQueue,
    WebhookSecrets,
    WebhookSender,
    WebhooksOffError,
)
from application.recording import load_patiently, record_patiently
from domain.aggregate import Event, caused_by
from domain.delivery import Delivery
from domain.generation import Generation
from domain.retries import Answer, Problem, Retries
from domain.webhook import Secret, Webhooks, webhooks_id

log = logging.getLogger(__name__)

Body = Callable[[Delivery, Generation | None], bytes]
"""What a receiver is told, as JSON; the generation is None of a test."""

NOT_ITS_FAULT: frozenset[Problem] = frozenset({"unsigned", "endpoint_disabled", "endpoint_removed"})
FAILING_FOR = timedelta(days=1)  # before an endpoint is disabled, however few tries there are
REMOVED = Answer(trouble="endpoint_removed", for_good=True)


@dataclass(frozen=True)
class Receiver:
    """Where it goes, and whose secret signs it."""

    url: str
    owner: UUID
    secret: Secret


class Deliverer:
    """Makes tries. A job that comes twice makes one, here and, while Redis is there, everywhere.

    A try that fails for a reason nobody thought of counts as one that failed: so every delivery
    ends, and gives its place to others.
    Nothing of an address, a secret or a body reaches a log.
    """

    def __init__(
        self,
        *,
        store: EventStore,
        board: DeliveryBoard,
        queue: DeliveryQueue,
        sender: WebhookSender,
        secrets: WebhookSecrets,
        retries: Retries,
        jitter: Callable[[], float],
        body: Body,
    ) -> None:
        self._store, self._board, self._queue = store, board, queue
        self._sender, self._secrets, self._body = sender, secrets, body
        self._retries, self._jitter = retries, jitter
        self._under_way: set[UUID] = set()

    async def deliver(self, id_: UUID, attempt: int) -> None:
        """Make this try, unless it was made, or is just being made here."""
        if id_ in self._under_way:
            return
        self._under_way.add(id_)
        try:
            await self._deliver(id_, attempt)
        finally:
            self._under_way.discard(id_)

    async def _deliver(self, id_: UUID, attempt: int) -> None:
        delivery = await load_patiently(self._store, Delivery, id_)
        if delivery is None or not delivery.awaits(attempt):
            return
        if not await self._queue.begin(id_, attempt):
            return  # somebody else is at it
        try:
            await self._make(delivery, attempt)
        except (StoreUnavailableError, UnknownEventError):
            raise
        except Exception:
            log.exception("a try failed for us", extra={"delivery": str(id_)})
            await self._record(delivery, attempt, Answer(trouble="broken"), alone=True)

    async def _make(self, delivery: Delivery, attempt: int) -> None:
        generation = None
        if delivery.generation is not None:
            generation = await load_patiently(self._store, Generation, delivery.generation)
        webhooks = await load_patiently(self._store, Webhooks, webhooks_id(delivery.user_id))
        receiver = _receiver(delivery, generation, webhooks)
        answer = await self._try(delivery, generation, receiver)
        await self._record(delivery, attempt, answer)

    async def _try(
        self, delivery: Delivery, generation: Generation | None, receiver: Receiver | Answer
    ) -> Answer:
        if isinstance(receiver, Answer):
            return receiver
        body = self._body(delivery, generation)
        try:
            headers = signed(self._secrets, receiver, delivery.id, self._store.now(), body)
        except WebhooksOffError:
            return Answer(trouble="unsigned")
        return await self._sender.send(receiver.url, headers, body)

    async def _record(
        self, delivery: Delivery, attempt: int, answer: Answer, *, alone: bool = False
    ) -> None:
        """What it came to; after a conflict, decide anew on what happened meanwhile.

        By the delivery `alone`, nothing else of its user's is looked at or decided.
        """
        with caused_by(actor=ACTOR, correlation_id=delivery.correlation_id):
            for _ in range(MOST_CONFLICTS):
                self._take(delivery, answer)
                disabling = () if alone else await self._disabling(delivery)
                events = [*delivery.collect_events(), *disabling]
                outcome = await record_patiently(self._store, Command(events=events))
                if isinstance(outcome, Accepted):
                    return _say(delivery)
                if not isinstance(outcome, Conflict):
                    raise TypeError(f"A delivery cannot end as {outcome}.")
                known = await load_patiently(self._store, Delivery, delivery.id)
                if known is None or not known.awaits(attempt):
                    return None  # somebody else was told the same
                delivery = known
        log.error("a delivery changed again and again", extra={"delivery": str(delivery.id)})
        return None

    def _take(self, delivery: Delivery, answer: Answer) -> None:
        if answer.for_good and answer.trouble:
            delivery.give_up(answer.trouble)
        else:
            delivery.take(
                answer, now=self._store.now(), retries=self._retries, jitter=self._jitter()
            )

    async def _disabling(self, delivery: Delivery) -> Sequence[Event]:
        """Of an endpoint that is gone, or took nothing since this one began, a day ago or more."""
        began, endpoint = delivery.began_at, delivery.endpoint
        is_over = delivery.status == "given_up" and delivery.problem not in NOT_ITS_FAULT
        if not is_over or endpoint is None or began is None:
            return ()
        is_gone = delivery.problem == "gone"
        if not is_gone:
            if self._store.now() - began < FAILING_FOR:
                return ()
            took = await self._board.last_delivered_at(endpoint)
            if delivery.is_test or (took is not None and took >= began):
                return ()
        webhooks = await load_patiently(self._store, Webhooks, webhooks_id(delivery.user_id))
        if webhooks is None:
            return ()
        webhooks.give_up(endpoint, "gone" if is_gone else "failing", since=began)
        return webhooks.collect_events()


def signed(
    secrets: WebhookSecrets, receiver: Receiver, id_: UUID, now: datetime, body: bytes
) -> Mapping[str, str]:
    """The headers of Standard Webhooks 1.0.0: one signature for each valid secret.

    Raises WebhooksOffError.
    """
    timestamp = str(int(now.timestamp()))
    text = f"{id_}.{timestamp}.".encode() + body
    valid = [secrets.secret(receiver.owner, n) for n in receiver.secret.numbers_at(now)]
    return {
        "webhook-id": str(id_),
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signature(secret, text) for secret in valid),
    }


def signature(secret: str, text: bytes) -> str:
    """`v1,` and the HMAC-SHA256 in base64."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return f"v1,{base64.b64encode(hmac.digest(key, text, 'sha256')).decode()}"


def _receiver(
    delivery: Delivery, generation: Generation | None, webhooks: Webhooks | None
) -> Receiver | Answer:
    """Whoever is disabled by their owner may be enabled again before the tries are over."""
    if delivery.endpoint is None:
        url = generation and generation.wish.webhook_url
        secret = webhooks.secret if webhooks else Secret()
        return Receiver(url, delivery.user_id, secret) if url else REMOVED
    endpoint = webhooks and webhooks.endpoints.get(delivery.endpoint)
    if not endpoint:
        return REMOVED
    if endpoint.disabled:
        return Answer(trouble="endpoint_disabled", for_good=endpoint.disabled != "asked")
    return Receiver(endpoint.url, endpoint.id, endpoint.secret)


def _say(delivery: Delivery) -> None:
    log.info(
        "a delivery was tried",
        extra={
            "delivery": str(delivery.id),
            "endpoint": str(delivery.endpoint) if delivery.endpoint else None,
            "attempt": delivery.attempts,
            "outcome": delivery.status,
            "status": delivery.last_status,
            "problem": delivery.problem,
        },
    )
