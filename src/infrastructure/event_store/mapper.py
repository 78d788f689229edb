"""Between domain events and the rows of the log: a closed registry, strict loading, upcasting."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from eventsourcing.domain import BaseAggregate, CanInitAggregate, DomainEventProtocol
from eventsourcing.persistence import Mapper, StoredEvent, Transcoder
from eventsourcing.utils import get_topic
from pydantic import ValidationError

from application.ports.event_store import UnknownEventError as UnknownEventError
from domain.aggregate import Event
from domain.api_key import ApiKey
from domain.delivery import Delivery
from domain.generation import Generation
from domain.provider import Providers
from domain.user import User
from domain.webhook import Webhooks

Upcast = Callable[[dict[str, Any]], dict[str, Any]]

AGGREGATES: tuple[type[BaseAggregate[UUID]], ...] = (
    *(ApiKey, Delivery, Generation),
    *(Providers, User, Webhooks),
)

# (topic, version) -> what turns the JSON of that version into the next one's.
UPCASTS: dict[tuple[str, int], Upcast] = {}

# (topic, version) -> what turns the JSON of that version into the one before's. While it stands
# here the older version is written: the release before this one, which may still run, can read it.
# The next release takes it out, and writes what this one has learned to read.
DOWNCASTS: dict[tuple[str, int], Upcast] = {}


class UnreadableEventError(Exception):
    """The stored JSON does not fit the event's fields. The message holds no value of it."""

    def __init__(
        self, stream: UUID | str, number: int, topic: str, error: ValidationError | ValueError
    ) -> None:
        places = (
            ", ".join(
                f"{'.'.join(map(str, e['loc']))}: {e['type']}"
                for e in error.errors(include_input=False)
            )
            if isinstance(error, ValidationError)
            else type(error).__name__
        )
        super().__init__(f"Event {number} ({topic}) of stream {stream} cannot be read ({places}).")


def stored_topic(topic: str, version: int) -> str:
    """How a topic and version are spelled in the log: `generation.requested@1`."""
    return f"{topic}@{version}"


def event_classes(aggregates: Iterable[type[BaseAggregate[UUID]]]) -> dict[str, type[Event]]:
    """Every current event class of these aggregates by its topic, without version."""
    found: dict[str, type[Event]] = {}
    for aggregate in aggregates:
        for name in dir(aggregate):
            attribute = getattr(aggregate, name)
            if (
                isinstance(attribute, type)
                and issubclass(attribute, Event)
                and hasattr(attribute, "topic")
            ):
                if attribute.topic in found:
                    raise TypeError(f"The topic {attribute.topic!r} is used twice.")
                found[attribute.topic] = attribute
    return found


class JsonMapper(Mapper[UUID]):
    """The library's mapper over our pydantic events: plain JSON, strict on both ways.

    An event is stored without what the row says already (stream, version, topic).
    """

    def __init__(
        self,
        aggregates: Iterable[type[BaseAggregate[UUID]]] = AGGREGATES,
        upcasts: Mapping[tuple[str, int], Upcast] | None = None,
        transcoder: Transcoder | None = None,
        downcasts: Mapping[tuple[str, int], Upcast] | None = None,
    ) -> None:
        super().__init__(transcoder=transcoder)  # type: ignore[arg-type]  # pydantic transcodes
        aggregates = tuple(aggregates)
        self._upcasts = UPCASTS if upcasts is None else upcasts
        self._downcasts = DOWNCASTS if downcasts is None else downcasts
        self._classes = event_classes(aggregates)
        self._current = {
            stored_topic(topic, cls.version): cls for topic, cls in self._classes.items()
        }
        self._prefixes = {cls: _originator_topic(cls, aggregates) for cls in self._classes.values()}
        # Every event of the log goes through here: pydantic's validators without a call around.
        self._validate = {
            cls: cls.__pydantic_validator__.validate_json for cls in self._classes.values()
        }

    @property
    def topics(self) -> frozenset[str]:
        """The stored topics of every event and version that can be read."""
        older = {stored_topic(topic, version) for topic, version in self._upcasts}
        return frozenset(self._current.keys() | older)

    def to_stored_event(self, domain_event: DomainEventProtocol[UUID]) -> StoredEvent:
        """One row of the log, `recorded_at` and position aside."""
        if not isinstance(domain_event, Event):
            raise TypeError(f"{type(domain_event).__name__} is no event of the domain.")
        version, state = domain_event.version, domain_event.model_dump_json()
        if (domain_event.topic, version) in self._downcasts:
            version, state = self._downcast(domain_event.topic, version, state)
        return StoredEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=stored_topic(domain_event.topic, version),
            state=state.encode(),
        )

    def to_domain_event(
        self, stored_event: StoredEvent, recorded_at: datetime | None = None
    ) -> Event:
        """The event of a row. Raises UnknownEventError, UnreadableEventError."""
        return self.event(
            stored_event.originator_id,
            stored_event.originator_version,
            stored_event.topic,
            stored_event.state,
            recorded_at,
        )

    def event(
        self,
        stream: UUID | str,
        number: int,
        topic: str,
        state: bytes,
        recorded_at: datetime | None,
    ) -> Event:
        """The event of a row by its columns. Raises UnknownEventError, UnreadableEventError."""
        cls = self._current.get(topic)
        try:
            if cls is None:
                cls, state = self._upcast(topic, state)
            timestamp = f'"{recorded_at.isoformat()}"' if recorded_at else "null"
            envelope = (
                f'{{"originator_id":"{stream}","originator_version":{number},'
                f'"timestamp":{timestamp},{self._prefixes[cls]}'
            )
            event: Event = self._validate[cls](envelope.encode() + state[1:])
            return event
        except (ValidationError, KeyError, ValueError) as error:
            raise UnreadableEventError(
                stream,
                number,
                topic,
                error if isinstance(error, ValidationError) else ValueError(str(error)),
            ) from None

    def _downcast(self, topic: str, version: int, state: str) -> tuple[int, str]:
        fields = json.loads(state)
        while (topic, version) in self._downcasts:
            fields = self._downcasts[topic, version](fields)
            version -= 1
        return version, json.dumps(fields)

    def _upcast(self, topic: str, state: bytes) -> tuple[type[Event], bytes]:
        name, _, number = topic.partition("@")
        cls = self._classes.get(name)
        if cls is None or not number.isdigit():
            raise UnknownEventError(topic)
        fields = json.loads(state)
        for version in range(int(number), cls.version):
            if (name, version) not in self._upcasts:
                raise UnknownEventError(topic)
            fields = self._upcasts[name, version](fields)
        if int(number) > cls.version:
            raise UnknownEventError(topic)
        return cls, json.dumps(fields).encode()


def _originator_topic(event: type[Event], aggregates: tuple[type[BaseAggregate[UUID]], ...]) -> str:
    """The member that tells the library which aggregate a first event begins."""
    if not issubclass(event, CanInitAggregate):
        return ""
    owner = next(a for a in aggregates if getattr(a, event.__name__, None) is event)
    return f'"originator_topic":"{get_topic(owner)}",'
