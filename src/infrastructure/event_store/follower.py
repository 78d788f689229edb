"""Keeps a read model up to date with the log: one leader, hot standbys."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

import psycopg
from psycopg import AsyncConnection

from infrastructure.event_store.connections import connect
from infrastructure.event_store.follower_tables import (
    LeadershipLostError,
    NewerReadModelError,
    hold,
    move,
    parked,
    prepare,
    tell,
    unpark,
)
from infrastructure.event_store.leadership import IDLE_SESSION_TIMEOUT, leadership
from infrastructure.event_store.mapper import JsonMapper, UnknownEventError
from infrastructure.event_store.projection import DATA_ERRORS, Projection, describe
from infrastructure.event_store.store import COLUMNS, Row
from infrastructure.read_models.read_model import ReadModel

log = logging.getLogger(__name__)

CONNECTIONS = 1
BATCH = 1000
MOST_PARKED = 10
POLL_SECONDS = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
GIVE_WAY = (1.0, 2.0)

READ = f"""
SELECT {COLUMNS} FROM stored_events WHERE notification_id > %s ORDER BY notification_id LIMIT %s
"""  # noqa: S608  # a constant
READ_PARKED = f"""
SELECT {COLUMNS} FROM stored_events JOIN parked_aggregates USING (originator_id)
 WHERE name = %s AND notification_id BETWEEN position AND %s ORDER BY notification_id
"""  # noqa: S608  # a constant

Apply = Callable[[AsyncConnection[Any], Sequence[Row]], Awaitable[int]]


class TooManyParkedError(Exception):
    """That many aggregates that cannot be projected are a bug of ours, not their data's."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__(
            f"{count} aggregates cannot be projected into {name!r}, which stands still. "
            "Mend the read model, then retry them or raise its version."
        )


class Follower:
    """Keeps one read model up to date while it leads, and stands by while somebody else does.

    The lock and all writes are one connection's, so that who has lost the one cannot do the
    other. Tables and position move in the same transaction: nothing is missed or written twice.
    """

    def __init__(
        self,
        database_url: str,
        read_model: ReadModel,
        mapper: JsonMapper | None = None,
        *,
        idle_session_timeout: float = IDLE_SESSION_TIMEOUT,
        batch: int = BATCH,
    ) -> None:
        self.name = read_model.name
        self.leading = False
        self.position = 0
        self.error: str | None = None
        self._url = database_url
        self._read_model = read_model
        self._projection = Projection(read_model, mapper or JsonMapper())
        self._idle_session_timeout = idle_session_timeout
        self._batch = batch
        self._failures = 0

    async def run(self) -> None:
        """Follow until cancelled; `error` says why it stands still, if it does."""
        while True:
            try:
                await self._lead()
            except (UnknownEventError, NewerReadModelError) as error:
                self._stands_still(error)
                await asyncio.sleep(random.uniform(*GIVE_WAY))  # noqa: S311  # spreads standbys
            except (LeadershipLostError, TooManyParkedError, psycopg.Error) as error:
                self._stands_still(error)
                await asyncio.sleep(self._backoff())

    async def _lead(self) -> None:
        async with leadership(
            self._url, duty_of(self.name), idle_session_timeout=self._idle_session_timeout
        ) as connection:
            await connection.execute("SET synchronous_commit = off; LISTEN stored_events")
            self.position = await prepare(connection, self._read_model)
            self.leading = True
            log.info("leading", extra={"read_model": self.name, "position": self.position})
            try:
                await self._follow(connection)
            except (TooManyParkedError, UnknownEventError, psycopg.Error) as error:
                if not connection.closed:
                    with suppress(psycopg.Error):
                        await tell(connection, self.name, describe(error))
                raise
            finally:
                self.leading = False

    async def _follow(self, connection: AsyncConnection[Any]) -> None:
        await self._refuse_too_many_parked(connection)
        while True:
            while await self._step(connection):
                pass
            async for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                pass

    async def _step(self, connection: AsyncConnection[Any]) -> bool:
        """Project a batch; whether more of the log is waiting."""
        cursor = await connection.execute(READ, (self.position, self._batch), prepare=True)
        rows = cast(Sequence[Row], await cursor.fetchall())
        if rows:
            await self._project_or_park(connection, self._projection.readable(rows))
        self._failures, self.error = 0, None
        return len(rows) == self._batch

    async def _project_or_park(self, connection: AsyncConnection[Any], rows: Sequence[Row]) -> None:
        try:
            await self._project(connection, rows, self._projection.apply)
        except DATA_ERRORS as error:
            log.warning(
                "a batch cannot be projected: %s",
                describe(error),
                extra={"read_model": self.name, "position": self.position},
            )
            one_by_one = partial(self._projection.apply_each, most_parked=MOST_PARKED)
            await self._project(connection, rows, one_by_one)
            await self._refuse_too_many_parked(connection)

    async def _project(
        self, connection: AsyncConnection[Any], rows: Sequence[Row], apply: Apply
    ) -> None:
        async with connection.transaction():
            if await hold(connection, self._read_model) != self.position:
                raise LeadershipLostError(f"Somebody else moved {self.name!r}.")
            position = await apply(connection, rows)
            await move(connection, self.name, old=self.position, new=position)
        self.position = position

    async def _refuse_too_many_parked(self, connection: AsyncConnection[Any]) -> None:
        count = len(await parked(connection, self.name))
        if count > MOST_PARKED:
            raise TooManyParkedError(self.name, count)

    def _stands_still(self, error: Exception) -> None:
        reason = describe(error)
        if reason != self.error:
            log.warning("not following: %s", reason, extra={"read_model": self.name})
        self.error = reason

    def _backoff(self) -> float:
        pause: float = min(FIRST_PAUSE * 2 ** min(self._failures, 10), LONGEST_PAUSE)
        self._failures += 1
        return pause * random.uniform(0.5, 1.0)  # noqa: S311  # spreads reconnects


def duty_of(name: str) -> str:
    """The duty of following the log into the read model of this name."""
    return f"follower {name}"


async def retry_parked(
    database_url: str, read_model: ReadModel, mapper: JsonMapper | None = None
) -> int:
    """Apply, in order, what waits of the parked aggregates; how many stay parked.

    The follower may run meanwhile. Raises UnknownEventError, LeadershipLostError.
    """
    projection = Projection(read_model, mapper or JsonMapper())
    async with (
        await connect(database_url, "darkroom retry-parked") as connection,
        connection.transaction(),
    ):
        position = await hold(connection, read_model)
        cursor = await connection.execute(READ_PARKED, (read_model.name, position))
        rows = cast(Sequence[Row], await cursor.fetchall())
        for row in rows:
            projection.refuse_unknown(row)
        await unpark(connection, read_model.name)
        if rows:
            await projection.apply_each(connection, rows, most_parked=len(rows))
        return len(await parked(connection, read_model.name))
