"""A delivery: one event that one receiver is to be told of, until it has it or is given up."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID, uuid5

from eventsourcing.domain import event

from domain.aggregate import Aggregate, Created, Metadata
from domain.aggregate import Event as DomainEvent
from domain.retries import Answer, Problem, Retries
from domain.webhook import EventType

DeliveredType = EventType | Literal["webhook.test"]
DeliveryStatus = Literal["due", "delivered", "given_up"]
ONCE = Retries((0.0,))
MOST_RESENDS = 100


class TooManyResendsError(Exception):
    """A delivery was sent again by hand as often as any may be."""

    def __init__(self) -> None:
        super().__init__(
            f"This delivery was sent again {MOST_RESENDS} times, the most there can be. Look the"
            " generation up instead."
        )


def delivery_id(receiver: UUID, event_id: UUID) -> UUID:
    """The stream of what this receiver is told of this event: it can be made once only.

    The receiver is an endpoint, or a generation whose request named an address.
    """
    return uuid5(receiver, str(event_id))


class Delivery(Aggregate):
    """One event for one receiver: an endpoint of the user's, or the address in a request."""

    class Event(DomainEvent):
        """A decision about one delivery; `attempt` counts tries from 1, over all rounds."""

    class Due(Event, Created):
        """Without an endpoint it goes to the address that the generation's request named."""

        topic = "delivery.due"
        version = 1

        user_id: UUID
        endpoint: UUID | None
        generation: UUID | None
        type: DeliveredType

    class Failed(Event):
        """It is tried again at `next_try_at`."""

        topic = "delivery.failed"
        version = 1

        attempt: int
        status: int | None
        problem: Problem
        next_try_at: datetime

    class Delivered(Event):
        topic = "delivery.delivered"
        version = 1

        attempt: int
        status: int

    class GivenUp(Event):
        """After its last try, or without one where there is nobody to tell any more."""

        topic = "delivery.given_up"
        version = 1

        attempt: int
        status: int | None
        problem: Problem

    class Resent(Event):
        """Somebody wants it told (again): it is due at once, and has all its tries anew."""

        topic = "delivery.resent"
        version = 1

        by: UUID

    @classmethod
    def of_end(
        cls,
        event_id: UUID,
        type_: EventType,
        *,
        user_id: UUID,
        generation: UUID,
        endpoint: UUID | None = None,
    ) -> Delivery:
        """A generation reached its final state by this event."""
        return cls._create(
            cls.Due,
            id=delivery_id(endpoint or generation, event_id),
            user_id=user_id,
            endpoint=endpoint,
            generation=generation,
            type=type_,
        )

    @classmethod
    def of_test(cls, id_: UUID, *, user_id: UUID, endpoint: UUID) -> Delivery:
        """Somebody wants to see whether it arrives: it is tried once."""
        return cls._create(
            cls.Due,
            id=id_,
            user_id=user_id,
            endpoint=endpoint,
            generation=None,
            type="webhook.test",
        )

    @event(Due)
    def __init__(
        self,
        user_id: UUID,
        endpoint: UUID | None,
        generation: UUID | None,
        type: DeliveredType,  # noqa: A002  # as the event has it
        metadata: Metadata,
        timestamp: datetime | None = None,
    ) -> None:
        self.user_id = user_id
        self.endpoint = endpoint
        self.generation = generation
        self.type = type
        self.correlation_id = metadata.correlation_id
        self.status: DeliveryStatus = "due"
        self.attempts = 0
        self.last_status: int | None = None
        self.problem: Problem | None = None
        self.began_at = self.next_try_at = timestamp
        self.ended_at: datetime | None = None
        self._attempts_before = 0
        self._resends = 0

    @property
    def is_test(self) -> bool:
        """Whether nothing happened that it tells of."""
        return self.type == "webhook.test"

    def awaits(self, attempt: int) -> bool:
        """Whether this try is the next one, and was not made yet."""
        return self.status == "due" and attempt == self.attempts + 1

    def take(self, answer: Answer, *, now: datetime, retries: Retries, jitter: float) -> None:
        """Take what became of the next try."""
        problem, attempt = answer.problem, self.attempts + 1
        if problem is None and answer.status is not None:
            return self._delivered(attempt, answer.status)
        schedule = ONCE if self.is_test else retries
        tries = attempt - self._attempts_before
        pause = schedule.pause_after(tries, answer, jitter=jitter)
        problem = problem or "broken"
        if problem == "gone" or pause is None:
            return self._given_up(attempt, answer.status, problem)
        return self._failed(attempt, answer.status, problem, now + pause)

    def give_up(self, problem: Problem) -> None:
        """There is nobody to tell any more."""
        if self.status == "due":
            self._given_up(self.attempts, None, problem)

    def resend(self, *, by: UUID) -> None:
        """Let it be told at once, whatever became of it before. Raises TooManyResendsError."""
        if self._resends >= MOST_RESENDS:
            raise TooManyResendsError
        self._resent(by)

    # --- applying --------------------------------------------------------------------------------

    @event(Failed)
    def _failed(
        self, attempt: int, status: int | None, problem: Problem, next_try_at: datetime
    ) -> None:
        self.attempts, self.last_status, self.problem = attempt, status, problem
        self.next_try_at = next_try_at

    @event(Delivered)
    def _delivered(self, attempt: int, status: int, timestamp: datetime | None = None) -> None:
        self.attempts, self.last_status, self.problem = attempt, status, None
        self._end("delivered", timestamp)

    @event(GivenUp)
    def _given_up(
        self,
        attempt: int,
        status: int | None,
        problem: Problem,
        timestamp: datetime | None = None,
    ) -> None:
        self.attempts, self.last_status, self.problem = attempt, status, problem
        self._end("given_up", timestamp)

    @event(Resent)
    def _resent(self, by: UUID, timestamp: datetime | None = None) -> None:
        self.status, self.ended_at = "due", None
        self.began_at = self.next_try_at = timestamp
        self._attempts_before = self.attempts
        self._resends += 1

    def _end(self, status: DeliveryStatus, at: datetime | None) -> None:
        self.status, self.ended_at, self.next_try_at = status, at, None
