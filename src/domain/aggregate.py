"""What every aggregate and event of Darkroom shares: the envelope, and strict frozen values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any, ClassVar, cast
from uuid import UUID, uuid4

from eventsourcing.domain import BaseAggregate, CanInitAggregate, CanMutateAggregate
from pydantic import BaseModel, ConfigDict, Field


class Value(BaseModel):
    """A strict, frozen value: wrong types and unknown fields are errors."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)


def usually(value: Any) -> Any:
    """A field that events carry only where it is something else: most do not need it."""
    return Field(default=value, exclude_if=lambda given: given == value)


class ClientKey(Value):
    """What made repeats of a command one, and for how long: hashes of a client's key and wish.

    `sending` says that the client numbers its repeats, and which one was recorded.
    """

    key: str
    fingerprint: str
    keep_seconds: float
    sending: int | None = usually(None)


class Metadata(Value):
    """Who caused an event, and which request it belongs to (the names are eventsourcing 10's)."""

    actor: str = "system"
    correlation_id: str | None = None
    causation_id: str | None = None
    trace: str | None = None
    idempotency: ClientKey | None = usually(None)


NOBODY = Metadata()
_metadata: ContextVar[Metadata] = ContextVar("metadata", default=NOBODY)  # it is frozen


def current_metadata() -> Metadata:
    """The metadata that events triggered in this context carry."""
    return _metadata.get()


@contextmanager
def caused_by(
    *, actor: str, correlation_id: str | None, causation_id: str | None = None
) -> Iterator[None]:
    """Let every event triggered inside carry this metadata."""
    token = _metadata.set(
        Metadata(actor=actor, correlation_id=correlation_id, causation_id=causation_id)
    )
    try:
        yield
    finally:
        _metadata.reset(token)


def act_as(actor: str) -> None:
    """Let every event that this context still triggers say who caused it."""
    _metadata.set(_metadata.get().model_copy(update={"actor": actor}))


@contextmanager
def made_one_by(key: ClientKey | None) -> Iterator[None]:
    """Let every event triggered inside say which client's key its command came with."""
    token = _metadata.set(_metadata.get().model_copy(update={"idempotency": key}))
    try:
        yield
    finally:
        _metadata.reset(token)


class Event(Value, CanMutateAggregate[UUID]):
    """A decision that was made.

    `topic` and `version` name the storage format: spelled once, never changed. `timestamp` is None
    until PostgreSQL has recorded the event, then it is `recorded_at`. `personal`, where an event
    has it, holds all of its personal data and nothing else.
    """

    topic: ClassVar[str]
    version: ClassVar[int]

    originator_id: UUID = Field(exclude=True)
    originator_version: int = Field(exclude=True)
    timestamp: datetime | None = Field(default=None, exclude=True)  # type: ignore[assignment]  # the clock is PostgreSQL's: unknown before the append
    event_id: UUID = Field(default_factory=uuid4)
    metadata: Metadata = Field(default_factory=current_metadata)

    @staticmethod
    def create_timestamp() -> datetime:
        return None  # type: ignore[return-value]  # see `timestamp`

    def _as_dict(self) -> dict[str, Any]:
        return self.__dict__


class Created(Event, CanInitAggregate[UUID]):
    """The first decision of a stream."""

    originator_topic: str = Field(default="", exclude=True)


class Aggregate(BaseAggregate[UUID]):
    """What decides: in public, by methods that say no or trigger an event; applied in private."""

    def collect_events(self) -> Sequence[Event]:
        """The decisions made since it was loaded, which are then no longer kept."""
        return cast(Sequence[Event], super().collect_events())
