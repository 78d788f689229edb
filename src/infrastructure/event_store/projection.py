"""What rows of the log come to in the tables of one read model: its statements with their rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import takewhile
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
from infrastructure.event_store.store import Row, recorded
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
        self._statements = read_model.statements
        self._mapper = mapper
        self._known = mapper.topics
        self._wanted = frozenset(
            event.topic for s in read_model.statements for event in _with_subclasses(s.event)
        )
        self._of: dict[type[Event], tuple[int, ...]] = {}

    def refuse_unknown(self, row: Row) -> None:
        """Raises UnknownEventError for an event that only a newer release knows."""
        if _topic(row) not in self._known:
            raise UnknownEventError(_topic(row))

    def readable(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows before the first unknown one. Raises UnknownEventError when there are none."""
        self.refuse_unknown(rows[0])
        return tuple(takewhile(lambda row: _topic(row) in self._known, rows))

    def writes(self, rows: Sequence[Row], waiting: Collection[Any]) -> list[Write]:
        """Each kind of event in one statement, in their order. Raises one of DATA_ERRORS."""
        batch = self.batch()
        for row in rows:
            batch.add(row, waiting)
        return batch.writes()

    def batch(self) -> Batch:
        """An empty one."""
        return Batch(self)

    def wants(self, row: Row) -> bool:
        """Whether the event does anything to the tables."""
        return _topic(row).partition("@")[0] in self._wanted

    def written(self, row: Row) -> Iterator[tuple[int, bytes]]:
        """The numbers of the statements that the event is for, each with the row for it."""
        happened = recorded(row, self._mapper)
        event = happened.event
        for number in self._statements_of(type(event)):
            fields = {
                **self._statements[number].row(event),
                "id": event.originator_id,
                "position": happened.position,
                "recorded_at": happened.recorded_at,
            }
            yield number, _json(fields)

    def sql(self, number: int) -> str:
        """The statement of this number."""
        return self._statements[number].sql

    def _statements_of(self, event: type[Event]) -> tuple[int, ...]:
        if event not in self._of:
            numbered = enumerate(self._statements)
            self._of[event] = tuple(n for n, s in numbered if issubclass(event, s.event))
        return self._of[event]


class Batch:
    """Rows for statements. Events are let go one by one: many at once are slow to keep."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._rows: dict[int, list[bytes]] = {}

    def add(self, row: Row, waiting: Collection[Any]) -> None:
        """Decode the next event, unless nobody wants it or its aggregate waits."""
        if self._projection.wants(row) and row[2] not in waiting:
            for number, written in self._projection.written(row):
                self._rows.setdefault(number, []).append(written)

    @property
    def is_empty(self) -> bool:
        """Whether nobody wanted any."""
        return not self._rows

    def writes(self) -> list[Write]:
        """What it all comes to, in the order of the statements."""
        return [
            (self._projection.sql(number), (b"[" + b",".join(rows) + b"]").decode())
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


def _with_subclasses(event: type[Event]) -> Iterator[type[Event]]:
    if hasattr(event, "topic"):
        yield event
    for narrower in event.__subclasses__():
        yield from _with_subclasses(narrower)


def _topic(row: Row) -> str:
    return row[4]
