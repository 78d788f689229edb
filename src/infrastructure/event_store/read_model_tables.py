"""Moves the tables of one read model forward through the log, together with their position."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from infrastructure.event_store.follower_tables import (
    LeadershipLostError,
    Place,
    hold,
    move,
    set_position,
)
from infrastructure.event_store.parking import park, parked
from infrastructure.event_store.projection import DATA_ERRORS, Batch, Projection, Write, describe
from infrastructure.event_store.store import Row
from infrastructure.read_models.read_model import ReadModel

log = logging.getLogger(__name__)

# Rows are found by their keys: estimates for tables that have just been filled say otherwise.
SETTINGS = {
    "synchronous_commit": "off",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


@dataclass(frozen=True)
class Page:
    """Rows of the log and what they come to, when these aggregates wait.

    `writes` is None when they cannot be read. `concerns` says whether they are the read model's
    business at all.
    """

    rows: Sequence[Row]
    waiting: frozenset[UUID]
    writes: Sequence[Write] | None
    concerns: bool = True

    @property
    def last(self) -> int:
        """The position of the last row."""
        return self.rows[-1][0]


class ReadModelTables:
    """The tables as one connection writes them: rows and position in the same transaction.

    `position` is how far they are; while nothing concerns them it may be ahead of what is saved.
    With `pipelined` all of a page is sent at once. That is faster, but nothing ends the transaction
    of a process that is stopped in it: it is not for tables that others wait for.
    """

    def __init__(
        self,
        connection: AsyncConnection[Any],
        read_model: ReadModel,
        projection: Projection,
        *,
        pipelined: bool = False,
    ) -> None:
        self.position = 0
        self.waiting: frozenset[UUID] = frozenset()
        self._place = Place(0, 0)
        self._connection = connection
        self._read_model = read_model
        self._projection = projection
        self._pipelined = pipelined

    async def look(self) -> None:
        """Find out where they are, and what waits. Raises LeadershipLostError."""
        async with self._connection.transaction():
            self._place = await hold(self._connection, self._read_model)
            self.waiting = await parked(self._connection, self._read_model)
        self.position = self._place.position

    async def page(self, rows: Sequence[Row], *, by: int = 0) -> Page:
        """What these rows come to; others have their turn after each so many, if `by` says so."""
        waiting, writes = self.waiting, Batch(self._projection)
        try:
            for number, row in enumerate(rows, start=1):
                writes.add(row, waiting)
                if by and number % by == 0:
                    await asyncio.sleep(0)
        except DATA_ERRORS:
            return Page(rows, waiting, None)
        waits = any(row[2] in waiting for row in rows) if waiting else False
        return Page(rows, waiting, writes.writes(), concerns=waits or not writes.is_empty)

    async def take(self, page: Page, *, most_parked: int) -> bool:
        """Apply a page, event by event when it cannot be applied at once; whether it could.

        Of what then cannot be projected the aggregate is parked, and its later events wait; it
        ends early when more than the most are parked. Raises LeadershipLostError.
        """
        if not page.concerns:
            self.position = page.last
            return True
        try:
            if page.writes is not None:
                await self._take_at_once(page)
                return True
        except DATA_ERRORS as error:
            self._warn(error)
        await self._take_each(page.rows, most_parked)
        return False

    async def save(self) -> None:
        """Save the position, if it moved without anything to write. Raises LeadershipLostError."""
        if self.position != self._place.position:
            async with self._connection.transaction():
                await self._move(self.position)
            self._is_at(self.position)

    async def apply_each(self, rows: Sequence[Row], *, most_parked: int) -> int:
        """One by one inside the caller's transaction; the last position."""
        waiting = set(await parked(self._connection, self._read_model))
        for row in rows:
            if row[2] not in waiting and not await self._applied(row):
                waiting.add(row[2])
                if len(waiting) > most_parked:
                    return row[0]
        return rows[-1][0]

    async def _take_at_once(self, page: Page) -> None:
        pipeline = self._connection.pipeline() if self._pipelined else nullcontext()
        async with pipeline, self._connection.transaction():
            await self._move(page.last)
            writes = page.writes or ()
            if page.waiting != self.waiting:
                writes = self._projection.writes(page.rows, self.waiting)
            await self._write(writes)
        self._is_at(page.last)

    async def _take_each(self, rows: Sequence[Row], most_parked: int) -> None:
        async with self._connection.transaction():
            await self._move(rows[-1][0])
            position = await self.apply_each(rows, most_parked=most_parked)
            if position != rows[-1][0]:  # too many are parked
                await set_position(self._connection, self._read_model, position)
            self.waiting = await parked(self._connection, self._read_model)
        self._is_at(position)

    async def _move(self, position: int) -> None:
        """Raises LeadershipLostError."""
        if not await move(self._connection, self._read_model, self._place, position):
            place = await hold(self._connection, self._read_model)
            if place.position != self._place.position:
                raise LeadershipLostError(
                    f"{self._read_model.schema!r} is no longer at position {self._place.position}."
                )
            self._place = place
            self.waiting = await parked(self._connection, self._read_model)
            await move(self._connection, self._read_model, self._place, position)

    def _is_at(self, position: int) -> None:
        self.position = position
        self._place = replace(self._place, position=position)

    async def _applied(self, row: Row) -> bool:
        try:
            async with self._connection.transaction():
                await self._write(self._projection.writes([row], ()))
        except DATA_ERRORS as error:
            await park(
                self._connection,
                self._read_model,
                row[2],
                position=row[0],
                error=describe(error),
            )
            return False
        return True

    async def _write(self, writes: Sequence[Write]) -> None:
        for statement, rows in writes:
            await self._connection.execute(statement, (rows,), prepare=True)

    def _warn(self, error: Exception) -> None:
        facts = {"read_model": self._read_model.schema, "position": self.position}
        log.warning("a batch cannot be projected: %s", describe(error), extra=facts)
