"""Applies rows of the log to the tables of one read model, inside the caller's transaction."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

import psycopg
from psycopg import AsyncConnection, errors
from pydantic_core import to_json

from application.ports import Recorded
from domain.aggregate import Event
from infrastructure.event_store.follower_tables import park, parked
from infrastructure.event_store.mapper import (
    JsonMapper,
    UnknownEventError,
    UnreadableEventError,
)
from infrastructure.event_store.store import Row, recorded
from infrastructure.read_models.read_model import ReadModel, Statement

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


class Projection:
    """Applies rows in position order, as a batch or, when one of them cannot be, one by one."""

    def __init__(self, read_model: ReadModel, mapper: JsonMapper) -> None:
        self.name = read_model.name
        self._statements = read_model.statements
        self._mapper = mapper
        self._known = mapper.topics
        self._wanted = frozenset(
            event.topic for s in read_model.statements for event in _with_subclasses(s.event)
        )

    def refuse_unknown(self, row: Row) -> None:
        """Raises UnknownEventError for an event that only a newer release knows."""
        if _topic(row) not in self._known:
            raise UnknownEventError(_topic(row))

    def readable(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows before the first unknown one. Raises UnknownEventError when there are none."""
        self.refuse_unknown(rows[0])
        return tuple(takewhile(lambda row: _topic(row) in self._known, rows))

    async def apply(self, connection: AsyncConnection[Any], rows: Sequence[Row]) -> int:
        """All rows, each kind of event in one statement; the last position."""
        waiting = await parked(connection, self.name)
        await self._apply(connection, [row for row in rows if _stream(row) not in waiting])
        return _position(rows[-1])

    async def apply_each(
        self, connection: AsyncConnection[Any], rows: Sequence[Row], *, most_parked: int
    ) -> int:
        """One by one; aggregates that cannot be projected are parked, their later events wait.

        The last position: the last row's, or the one at which more than the most were parked.
        """
        waiting = await parked(connection, self.name)
        for row in rows:
            if _stream(row) not in waiting and not await self._applied(connection, row):
                waiting.add(_stream(row))
                if len(waiting) > most_parked:
                    return _position(row)
        return _position(rows[-1])

    async def _applied(self, connection: AsyncConnection[Any], row: Row) -> bool:
        try:
            async with connection.transaction():
                await self._apply(connection, [row])
        except DATA_ERRORS as error:
            await park(
                connection,
                self.name,
                _stream(row),
                position=_position(row),
                error=describe(error),
            )
            return False
        return True

    async def _apply(self, connection: AsyncConnection[Any], rows: Sequence[Row]) -> None:
        events = [
            recorded(row, self._mapper)
            for row in rows
            if _topic(row).partition("@")[0] in self._wanted
        ]
        for statement in self._statements:
            batch = [
                _fields(statement, happened)
                for happened in events
                if isinstance(happened.event, statement.event)
            ]
            if batch:
                await connection.execute(statement.sql, (_json(batch),), prepare=True)


def describe(error: Exception) -> str:
    """What went wrong, without any value of an event: PostgreSQL's words for data repeat it."""
    if isinstance(error, psycopg.Error):
        kind = f"{type(error).__name__} {error.diag.constraint_name or ''}".strip()
        words = error.diag.message_primary or str(error)
        return kind if isinstance(error, DATA_ERRORS) else f"{kind}: {words}"
    unspeakable = isinstance(error, DATA_ERRORS) and not isinstance(error, UnreadableEventError)
    return type(error).__name__ if unspeakable else str(error)


def _fields(statement: Statement[Any], happened: Recorded) -> dict[str, Any]:
    return {
        **statement.row(happened.event),
        "id": happened.event.originator_id,
        "position": happened.position,
        "recorded_at": happened.recorded_at,
    }


def _json(batch: list[dict[str, Any]]) -> str:
    """A prompt may hold a NUL, PostgreSQL's text may not: U+FFFD stands in for it."""
    encoded = to_json(batch)
    if b"\\u0000" in encoded:
        encoded = NUL.sub(rb"\1\\ufffd", encoded)
    return encoded.decode()


def _with_subclasses(event: type[Event]) -> Iterator[type[Event]]:
    if hasattr(event, "topic"):
        yield event
    for narrower in event.__subclasses__():
        yield from _with_subclasses(narrower)


def _position(row: Row) -> int:
    return row[0]


def _stream(row: Row) -> Any:
    return row[2]


def _topic(row: Row) -> str:
    return row[4]
