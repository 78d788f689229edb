"""Keeps a read model up to date with the log: one leader, hot standbys."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

import psycopg
from psycopg import AsyncConnection

from infrastructure.event_store.connections import configure, connect
from infrastructure.event_store.follower_tables import (
    LeadershipLostError,
    hold,
    prepare,
    revise,
    stand_still,
    tend,
)
from infrastructure.event_store.leadership import IDLE_SESSION_TIMEOUT, leadership
from infrastructure.event_store.log_pages import is_full, page
from infrastructure.event_store.mapper import JsonMapper, UnknownEventError
from infrastructure.event_store.parking import MOST_PARKED, TooManyParkedError, parked, unpark
from infrastructure.event_store.projection import Projection, describe
from infrastructure.event_store.read_model_schemas import give_up_when_stopped, look_into
from infrastructure.event_store.read_model_tables import SETTINGS, ReadModelTables
from infrastructure.event_store.store import COLUMNS, Row
from infrastructure.read_models.read_model import ReadModel

log = logging.getLogger(__name__)

CONNECTIONS = 1
BATCH = 1000
POLL_SECONDS = 1.0
SAVE_SECONDS = 1.0  # what was read and did not concern it does not look unread for longer
BREATH = 0.01  # seconds from one look at the log to the next, so that one finds what several made
QUIET_BREATH = 0.1  # after a look that found nothing for this read model
LONGEST_BREATH = 0.1
# A breath is as long as so many looks: on a busy machine each takes longer, and finds more.
BREATH_IN_LOOKS = 3.0
TEND_SECONDS = 60.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
GIVE_WAY = (1.0, 2.0)

READ_PARKED = f"""
SELECT {COLUMNS} FROM stored_events JOIN parked_aggregates USING (originator_id)
 WHERE name = %s AND version = %s AND notification_id BETWEEN position AND %s
 ORDER BY notification_id
"""  # noqa: S608  # a constant


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
        self.error: str | None = None
        self._url = database_url
        self._read_model = read_model
        self._projection = Projection(read_model, mapper or JsonMapper())
        self._idle_session_timeout = idle_session_timeout
        self._batch = batch
        self._failures = 0
        self._breath = BREATH
        self._save_at = 0.0

    async def run(self) -> None:
        """Follow until cancelled; `error` says why it stands still, if it does."""
        while True:
            try:
                await self._lead()
            except UnknownEventError as error:
                self._stands_still(error)
                await asyncio.sleep(random.uniform(*GIVE_WAY))  # noqa: S311  # spreads standbys
            except (LeadershipLostError, TooManyParkedError, psycopg.Error) as error:
                self._stands_still(error)
                await asyncio.sleep(self._backoff())

    async def _lead(self) -> None:
        async with leadership(
            self._url,
            duty_of(self._read_model),
            idle_session_timeout=self._idle_session_timeout,
        ) as connection:
            await configure(connection, **SETTINGS)
            await connection.execute("LISTEN stored_events")
            try:
                await prepare(connection, self._read_model)
                await self._follow(connection)
            except (TooManyParkedError, UnknownEventError, psycopg.Error) as error:
                if not connection.closed:
                    with suppress(psycopg.Error):
                        await stand_still(connection, self._read_model, describe(error))
                raise
            finally:
                self.leading = False

    async def _follow(self, connection: AsyncConnection[Any]) -> None:
        tables = ReadModelTables(connection, self._read_model, self._projection)
        await tables.look()
        self.leading = True
        facts = {"read_model": self._read_model.schema, "position": tables.position}
        log.info("leading", extra=facts)
        now = asyncio.get_running_loop().time
        tend_at = self._save_at = now()
        await self._refuse_too_many_parked(connection)
        while True:
            looked_at = now()
            while await self._step(connection, tables):
                pass
            breath = breath_after(now() - looked_at, shortest=self._breath)
            if now() >= tend_at:
                await tables.save()
                await tend(connection, self._read_model, tables.position)
                tend_at = now() + TEND_SECONDS
            async for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                pass
            await asyncio.sleep(max(looked_at + breath - now(), 0))

    async def _step(self, connection: AsyncConnection[Any], tables: ReadModelTables) -> bool:
        """Project a page; whether more of the log is waiting."""
        rows = await page(connection, tables.position, self._batch)
        if rows:
            found = await tables.page(self._projection.readable(rows))
            self._breath = BREATH if found.concerns else QUIET_BREATH
            if not await tables.take(found, most_parked=MOST_PARKED):
                await self._refuse_too_many_parked(connection)
        await self._save_now_and_then(tables)
        self._failures, self.error = 0, None
        return is_full(rows, self._batch)

    async def _save_now_and_then(self, tables: ReadModelTables) -> None:
        """Also while there is news all the time, so that nobody seems to be far behind."""
        now = asyncio.get_running_loop().time()
        if now >= self._save_at:
            await tables.save()
            self._save_at = now + SAVE_SECONDS

    async def _refuse_too_many_parked(self, connection: AsyncConnection[Any]) -> None:
        count = len(await parked(connection, self._read_model))
        if count > MOST_PARKED:
            raise TooManyParkedError(self._read_model, count)

    def _stands_still(self, error: Exception) -> None:
        reason = describe(error)
        if reason != self.error:
            log.warning("not following: %s", reason, extra={"read_model": self.name})
        self.error = reason

    def _backoff(self) -> float:
        pause: float = min(FIRST_PAUSE * 2 ** min(self._failures, 10), LONGEST_PAUSE)
        self._failures += 1
        return pause * random.uniform(0.5, 1.0)  # noqa: S311  # spreads reconnects


def breath_after(seconds: float, *, shortest: float) -> float:
    """From the beginning of a look that took so long to the next one, in seconds."""
    return min(max(shortest, BREATH_IN_LOOKS * seconds), LONGEST_BREATH)


def duty_of(read_model: ReadModel) -> str:
    """The duty of following the log into this version of a read model."""
    return f"follower {read_model.schema}"


async def retry_parked(
    database_url: str, read_model: ReadModel, mapper: JsonMapper | None = None
) -> int:
    """Apply, in order, what waits of the parked aggregates; how many stay parked.

    The follower may run meanwhile. Raises UnknownEventError, LeadershipLostError.
    """
    projection = Projection(read_model, mapper or JsonMapper())
    async with (
        await connect(database_url, "darkroom retry-parked", lock_timeout="10s") as connection,
        connection.transaction(),
    ):
        await give_up_when_stopped(connection)
        place = await hold(connection, read_model)
        await look_into(connection, read_model)
        rows = await _waiting_rows(connection, read_model, place.position)
        for row in rows:
            projection.refuse_unknown(row)
        await unpark(connection, read_model)
        await revise(connection, read_model)
        if rows:
            tables = ReadModelTables(connection, read_model, projection)
            await tables.apply_each(rows, most_parked=len(rows))
        return len(await parked(connection, read_model))


async def _waiting_rows(
    connection: AsyncConnection[Any], read_model: ReadModel, position: int
) -> Sequence[Row]:
    key = read_model.name, read_model.version
    cursor = await connection.execute(READ_PARKED, (*key, position))
    return cast(Sequence[Row], await cursor.fetchall())
