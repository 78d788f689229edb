"""The announcer: of every generation that ends, those who want to know are to be told."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from application.at_once import a_few_at_once
from application.ports.event_store import (
    Accepted,
    Command,
    Conflict,
    EventStore,
    StoreUnavailableError,
    UnknownEventError,
)
from application.ports.webhooks import DueDelivery, Ended, EndedGenerations, EndedStretch
from domain.aggregate import caused_by
from domain.delivery import Delivery
from domain.webhook import Webhooks, webhooks_id

log = logging.getLogger(__name__)

ACTOR = "webhooks"
AT_ONCE = 64  # the store has other callers, and so many places for those who wait
MOST_IN_A_ROUND = 500  # deliveries: who announces says again and again that they do

ToTell = tuple[Ended, UUID | None]
"""What ended, and the endpoint that is told of it; without one the address in its request."""


@dataclass(frozen=True)
class Announced:
    """The deliveries that are new; `is_all` says that nothing is left to announce for now."""

    new: Sequence[DueDelivery]
    is_all: bool


class Announcer:
    """Reads the log from its bookmark, and records a delivery for each who is to be told.

    So many in a round and no more. The bookmark moves after what it has passed was recorded. After
    a crash in between the same deliveries are decided again, and conflict with what is there.
    """

    def __init__(self, store: EventStore, log: EndedGenerations) -> None:
        self._store, self._log = store, log
        self.begin_again()

    def begin_again(self) -> None:
        """Somebody else may have announced meanwhile: begin at the bookmark."""
        self._position: int | None = None
        self._stretch: EndedStretch | None = None
        self._to_tell: Sequence[ToTell] = ()

    async def announce(self) -> Announced:
        """What ended in the next stretch of the log, or the next part of it.

        Raises StoreUnavailableError, UnknownEventError.
        """
        if self._position is None:
            self._position = await self._log.bookmark()
        if self._stretch is None:
            stretch = await self._log.stretch(after=self._position)
            self._to_tell = await self._who_is_told(stretch.ended)
            self._stretch = stretch
        stretch, new = self._stretch, await self._record_some()
        if self._to_tell:
            return Announced(new, is_all=False)
        if stretch.end != self._position:
            await self._log.put_bookmark(stretch.end)
            self._position = stretch.end
        self._stretch = None
        return Announced(new, is_all=stretch.is_last)

    async def _who_is_told(self, ended: Sequence[Ended]) -> Sequence[ToTell]:
        users = list(dict.fromkeys(one.user_id for one in ended))
        found = await a_few_at_once(
            [partial(self._webhooks_of, user) for user in users], most=AT_ONCE
        )
        webhooks = dict(zip(users, found, strict=True))
        return [
            (one, receiver) for one in ended for receiver in _receivers(one, webhooks[one.user_id])
        ]

    async def _record_some(self) -> Sequence[DueDelivery]:
        now = self._to_tell[:MOST_IN_A_ROUND]
        recorded = await a_few_at_once([partial(self._record, *one) for one in now], most=AT_ONCE)
        self._to_tell = self._to_tell[MOST_IN_A_ROUND:]
        return [due for due in recorded if due is not None]

    async def _webhooks_of(self, user_id: UUID) -> Webhooks | None:
        try:
            return await self._store.get(Webhooks, webhooks_id(user_id))
        except (StoreUnavailableError, UnknownEventError):
            raise
        except Exception:  # an event that cannot be read: the others are not to wait for it
            log.exception("cannot tell whom to announce to", extra={"user": str(user_id)})
            return None

    async def _record(self, ended: Ended, endpoint: UUID | None) -> DueDelivery | None:
        delivery = _delivery(ended, endpoint)
        outcome = await self._store.append(Command(events=delivery.collect_events()))
        if isinstance(outcome, Accepted) and outcome.position is not None:
            return DueDelivery(delivery.id, 1, delivery.user_id, outcome.position)
        if isinstance(outcome, Conflict):
            return None  # it was there before
        raise TypeError(f"A new delivery cannot end as {outcome}.")


def _receivers(ended: Ended, webhooks: Webhooks | None) -> list[UUID | None]:
    """Each endpoint that wants to be told, and None: the address that its request named."""
    receivers: list[UUID | None] = []
    if webhooks is not None:
        receivers += [endpoint.id for endpoint in webhooks.wanting(ended.type, ended.at)]
    if ended.webhook_url is not None:
        receivers.append(None)
    return receivers


def _delivery(ended: Ended, endpoint: UUID | None) -> Delivery:
    with caused_by(
        actor=ACTOR, correlation_id=ended.correlation_id, causation_id=str(ended.event_id)
    ):
        return Delivery.of_end(
            ended.event_id,
            ended.type,
            user_id=ended.user_id,
            generation=ended.generation,
            endpoint=endpoint,
        )
