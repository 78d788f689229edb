"""What telling others needs of the outside world: where deliveries wait, who sends and signs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from domain.retries import Answer
from domain.webhook import EventType


@dataclass(frozen=True)
class Ended:
    """A generation reached its final state by this event, which the log has at `position`."""

    event_id: UUID
    position: int
    type: EventType
    at: datetime
    correlation_id: str | None
    generation: UUID
    user_id: UUID
    webhook_url: str | None


@dataclass(frozen=True)
class EndedStretch:
    """The generations that ended in a stretch of the log, up to the position `end`.

    `is_last` says that nothing is recorded behind it yet.
    """

    ended: Sequence[Ended]
    end: int
    is_last: bool


@dataclass(frozen=True)
class DueDelivery:
    """A try that somebody may make now; `position` is where the log had its delivery last."""

    id: UUID
    attempt: int
    user_id: UUID
    position: int


class EndedGenerations(Protocol):
    """The log as the announcer reads it, and how far it has come. Raises StoreUnavailableError."""

    async def bookmark(self) -> int:
        """Up to which position everything was announced; 0 to begin with."""
        ...

    async def put_bookmark(self, position: int) -> None:
        """Move it forward; what is behind it already stays so."""
        ...

    async def stretch(self, *, after: int) -> EndedStretch:
        """What ended in the next stretch. Raises UnknownEventError."""
        ...


class DeliveryBoard(Protocol):
    """Which deliveries are due, by the store's clock. Raises StoreUnavailableError."""

    async def due(self, *, per_user: int, but: Collection[UUID]) -> Sequence[DueDelivery]:
        """Of every user the few that have been due for longest, without those named."""
        ...

    async def settled(self, under_way: Sequence[DueDelivery]) -> frozenset[UUID]:
        """Those of which something was recorded since."""
        ...

    async def last_delivered_at(self, endpoint: UUID) -> datetime | None:
        """When the endpoint took a delivery for the last time."""
        ...


class DeliveryQueue(Protocol):
    """The wake-up of who sends. It may lose or repeat anything at any moment."""

    async def deliver(
        self, due: Sequence[DueDelivery], *, by: str, again: Mapping[UUID, int]
    ) -> None:
        """Wake somebody for each; `again` says how often `by` handed each over in vain.

        What the same hands over as often as before is one. What another did may have died with it.
        Raises QueueUnavailableError.
        """
        ...

    async def begin(self, delivery: UUID, attempt: int) -> bool:
        """Whether nobody else is at this try, for as long as one takes; True if nobody can say."""
        ...


class WebhookSender(Protocol):
    """Sends to where a stranger says, and nowhere else than that stranger may send."""

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One try, within some seconds; whatever goes wrong is an answer."""
        ...


class WebhooksOffError(Exception):
    """There is nothing to make secrets of."""

    def __init__(self) -> None:
        super().__init__(
            "Webhooks are off here, for there is nothing to make their secrets of. Whoever runs"
            " this Darkroom has to set DARKROOM_SECRET_KEY for all its processes."
        )


class InsecureAddressError(Exception):
    """A receiver has to be reached by TLS."""

    def __init__(self) -> None:
        super().__init__("Webhooks are sent by https:// alone. Give an address that begins so.")


class WebhookSecrets(Protocol):
    """What deliveries are signed with: made anew each time it is needed, and kept nowhere."""

    def secret(self, owner: UUID, number: int) -> str:
        """`whsec_` and 32 bytes in base64, of an endpoint or a user. Raises WebhooksOffError."""
        ...

    def refuse_if_off(self) -> None:
        """Raises WebhooksOffError."""
        ...

    def refuse_insecure(self, url: str) -> None:
        """Raises InsecureAddressError, unless this Darkroom sends to private networks."""
        ...
