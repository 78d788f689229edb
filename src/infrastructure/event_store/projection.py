"""What rows of the log come to in the tables of one read model: its statements with their rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, takewhile
from typing import Any

import psycopg
from psycopg import errors
from pydantic_core import to_json

from domain.aggregate import Event
from infrastructure.event_store.mapper import (
    JsonMapper,
    UnknownEventError,
    UnreadableEventError,
)
from infrastructure.event_store.store import Row
from infrastructure.read_models.read_model import ReadModel

# What an event's own data can cause; anything else is nobody's data's fault.
DATA_ERRORS: tuple[type[Exception], ...] = (
    psycopg.DataError,
    psycopg.IntegrityError,
    errors.ProgramLimitExceeded,
    UnreadableEventError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
)

NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")

Write = tuple[str, str]  # a statement, and the JSON array of its rows


class Projection:
    """Decodes the events that a read model wants, and says what is to be written of them."""

    def __init__(self, read_model: ReadModel, mapper: JsonMapper) -> None:
        self.mapper = mapper
        self.statements = read_model.statements
        names = {event.topic for s in read_model.statements for event in _with_subclasses(s.event)}
        self.wanted = frozenset(t for t in mapper.topics if t.partition("@")[0] in names)
        self._known = mapper.topics
        self._numbers: dict[type[Event], tuple[int, ...]] = {}

    def refuse_unknown(self, row: Row) -> None:
        """Raises UnknownEventError for an event that only a newer release knows."""
        if _topic(row) not in self._known:
            raise UnknownEventError(_topic(row))

    def readable(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows before the first unknown one. Raises UnknownEventError when there are none."""
        self.refuse_unknown(rows[0])
        return tuple(takewhile(lambda row: _topic(row) in self._known, rows))

    def writes(self, rows: Sequence[Row], waiting: Collection[Any]) -> list[Write]:
        """Each statement once, in their order, with its rows. Raises one of DATA_ERRORS."""
        batch = Batch(self)
        for row in rows:
            batch.add(row, waiting)
        return batch.writes()

    def numbers(self, event: type[Event]) -> tuple[int, ...]:
        """Of the statements that events of this class are for."""
        found = self._numbers.get(event)
        if found is None:
            numbered = enumerate(self.statements)
            found = tuple(n for n, s in numbered if issubclass(event, s.event))
            self._numbers[event] = found
        return found


class Batch:
    """Rows for statements. Events are let go one by one: many at once are slow to keep."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._rows: dict[int, list[bytes]] = {}

    def add(self, row: Row, waiting: Collection[Any]) -> None:
        """Decode the next event, unless nobody wants it or its aggregate waits."""
        position, recorded_at, stream, version, topic, state = row
        if topic not in self._projection.wanted or stream in waiting:
            return
        event = self._projection.mapper.event(stream, version, topic, state, recorded_at)
        for number in self._projection.numbers(type(event)):
            fields = self._projection.statements[number].row(event)
            written = {**fields, "id": stream, "position": position, "recorded_at": event.timestamp}
            self._rows.setdefault(number, []).append(_json(written))

    @property
    def is_empty(self) -> bool:
        """Whether nobody wanted any."""
        return not self._rows

    def writes(self) -> list[Write]:
        """What it all comes to, in the order of the statements."""
        return [
            (
                self._projection.statements[number].sql,
                (b"[" + b",".join(rows) + b"]").decode(),
            )
            for number, rows in sorted(self._rows.items())
        ]


def describe(error: Exception) -> str:
    """What went wrong, without any value of an event: PostgreSQL's words for data repeat it."""
    if isinstance(error, psycopg.Error):
        kind = f"{type(error).__name__} {error.diag.constraint_name or ''}".strip()
        words = error.diag.message_primary or str(error)
        return kind if isinstance(error, DATA_ERRORS) else f"{kind}: {words}"
    unspeakable = isinstance(error, DATA_ERRORS) and not isinstance(error, UnreadableEventError)
    return type(error).__name__ if unspeakable else str(error)


def _json(fields: dict[str, Any]) -> bytes:
    """A prompt may hold a NUL, PostgreSQL's text may not: U+FFFD stands in for it."""
    encoded = to_json(fields)
    if b"\\u0000" in encoded:
        encoded = NUL.sub(rb"\1\\ufffd", encoded)
    return encoded


def _with_subclasses(event: type[Event] | tuple[type[Event], ...]) -> Iterator[type[Event]]:
    if isinstance(event, tuple):
        yield from chain.from_iterable(map(_with_subclasses, event))
        return
    if hasattr(event, "topic"):
        yield event
    for narrower in event.__subclasses__():
        yield from _with_subclasses(narrower)


def _topic(row: Row) -> str:
    return row[4]
