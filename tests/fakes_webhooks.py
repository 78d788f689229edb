"""Stand-ins for what deliveries need of the outside world, over the store in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast
from uuid import UUID

from application.ports.webhooks import DueDelivery, Ended, EndedStretch
from application.ports.workers import QueueUnavailableError
from domain.delivery import Delivery
from domain.generation import ENDINGS, Generation
from domain.retries import Answer
from domain.webhook import EventType
from tests.fakes import MemoryEventStore


class MemoryEndedGenerations:
    """A MemoryEventStore's log, and a bookmark in it."""

    def __init__(self, store: MemoryEventStore, *, a_stretch: int = 2000) -> None:
        self._store, self._a_stretch = store, a_stretch
        self._bookmark = 0

    async def bookmark(self) -> int:
        return self._bookmark

    async def put_bookmark(self, position: int) -> None:
        self._bookmark = max(self._bookmark, position)

    async def stretch(self, *, after: int) -> EndedStretch:
        head = len(self._store.rows)
        end = max(min(after + self._a_stretch, head), after)
        events = await self._store.read(after=after, limit=end - after)
        ended = [await self._ended(e.position, e.event) for e in events if _ends(e.event)]
        return EndedStretch(ended, end, is_last=end >= head)

    async def _ended(self, position: int, event: Generation.Event) -> Ended:
        generation = await self._store.get(Generation, event.originator_id)
        assert generation is not None
        assert event.timestamp is not None
        return Ended(
            event_id=event.event_id,
            position=position,
            type=cast(EventType, f"image.{event.topic}"),
            at=event.timestamp,
            correlation_id=event.metadata.correlation_id,
            generation=generation.id,
            user_id=generation.user_id,
            webhook_url=generation.wish.webhook_url,
        )


class MemoryDeliveryBoard:
    """The deliveries of a MemoryEventStore, always up to date."""

    def __init__(self, store: MemoryEventStore) -> None:
        self._store = store

    async def due(self, *, per_user: int, but: Collection[UUID]) -> Sequence[DueDelivery]:
        now = self._store.now()
        waiting = [
            (delivery.next_try_at, delivery, last)
            for delivery, last in await self._deliveries()
            if delivery.status == "due" and delivery.id not in but and delivery.next_try_at <= now
        ]
        of_user: defaultdict[UUID, list[DueDelivery]] = defaultdict(list)
        for _, delivery, last in sorted(waiting, key=lambda one: (one[0], one[1].id)):
            due = DueDelivery(delivery.id, delivery.attempts + 1, delivery.user_id, last)
            of_user[delivery.user_id].append(due)
        return [due for user in sorted(of_user) for due in of_user[user][:per_user]]

    async def settled(self, under_way: Sequence[DueDelivery]) -> frozenset[UUID]:
        last = {delivery.id: position for delivery, position in await self._deliveries()}
        return frozenset(one.id for one in under_way if last.get(one.id, 0) > one.position)

    async def last_delivered_at(self, endpoint: UUID) -> datetime | None:
        ended = [
            delivery.ended_at
            for delivery, _ in await self._deliveries()
            if delivery.endpoint == endpoint and delivery.status == "delivered"
        ]
        return max((at for at in ended if at), default=None)

    async def _deliveries(self) -> list[tuple[Delivery, int]]:
        last = {
            UUID(str(row.stored.originator_id)): row.position
            for row in self._store.rows
            if row.stored.topic.startswith("delivery.")
        }
        found = [(await self._store.get(Delivery, id_), at) for id_, at in last.items()]
        return [(delivery, at) for delivery, at in found if delivery is not None]


@dataclass
class FakeDeliveryQueue:
    """Keeps what it was handed, until told to be unavailable."""

    handed_over: list[DueDelivery] = field(default_factory=list)
    again: dict[UUID, int] = field(default_factory=dict)
    available: bool = True
    begun: set[tuple[UUID, int]] = field(default_factory=set)

    async def deliver(
        self, due: Sequence[DueDelivery], *, by: str, again: Mapping[UUID, int]
    ) -> None:
        if not self.available:
            raise QueueUnavailableError("the queue is down")
        self.handed_over.extend(due)
        self.again |= again

    async def begin(self, delivery: UUID, attempt: int) -> bool:
        is_first = (delivery, attempt) not in self.begun
        self.begun.add((delivery, attempt))
        return is_first or not self.available


@dataclass
class Sent:
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class FakeSender:
    """Answers as it is told, one after the other and then with the last; keeps what it sent."""

    answers: list[Answer] = field(default_factory=lambda: [Answer(204)])
    sent: list[Sent] = field(default_factory=list)

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        self.sent.append(Sent(url, headers, body))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def _ends(event: object) -> bool:
    return isinstance(event, ENDINGS)
