"""The event store in PostgreSQL, natively asynchronous."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import psycopg
from psycopg.errors import AdminShutdown, ReadOnlySqlTransaction
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from application.ports.event_store import (
    MOST_LATER,
    A,
    Command,
    Outcome,
    Recorded,
    StoreUnavailableError,
    UsedKey,
)
from infrastructure.event_store.appender import PATIENCE, Appender
from infrastructure.event_store.connections import LIVENESS, LOST, configure
from infrastructure.event_store.mapper import JsonMapper
from infrastructure.event_store.pace import HEAD, Pace
from infrastructure.event_store.wire import decode, encode

READERS = 4  # connections
A_PAGE = 1000  # events of one stream that are read at once
# A plan may be of when a table was empty: without this it could go on to read it from end to end.
READING = {"statement_timeout": "30s", "enable_seqscan": "off"}
A_PART = 200  # events of the whole log that are read at once; others' reads have their turn then

Row = tuple[int, datetime, UUID, int, str, bytes]

USED_KEY = """
SELECT ref, fingerprint FROM idempotency_keys
 WHERE user_id = %s AND key = %s AND expires_at > log_now_v1()
"""
COLUMNS = "notification_id, recorded_at, originator_id, originator_version, topic, state"
LATER = f"""
SELECT {COLUMNS} FROM unnest(%s::uuid[], %s::bigint[]) AS asked(stream, number) CROSS JOIN LATERAL
       (SELECT * FROM stored_events WHERE originator_id = stream AND originator_version > number
         ORDER BY originator_version LIMIT {MOST_LATER}) later
"""  # noqa: S608  # constants


class PostgresEventStore:
    """Appends through one coalescing connection, reads through a small pool.

    `open` and `close` belong to the process's lifespan.
    """

    def __init__(
        self,
        database_url: str,
        *,
        mapper: JsonMapper | None = None,
        readers: int = READERS,
        patience: float = PATIENCE,
    ) -> None:
        self.mapper = mapper or JsonMapper()
        self._appender = Appender(database_url, patience=patience)
        self.pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]](
            database_url,
            min_size=1,
            max_size=readers,
            max_waiting=1000,
            timeout=patience,
            reconnect_timeout=5.0,
            open=False,
            configure=_configure,
            kwargs={**LIVENESS, "autocommit": True, "application_name": "darkroom read"},
        )
        self._readers = readers
        self._patience = patience
        self._pace = Pace(self._last_position)
        self._latest = self._told = datetime.now(UTC)  # until it is told
        self._told_at = time.monotonic()

    async def open(self) -> None:
        """Connect, and learn how far the store's clock is from this machine's."""
        await self.pool.open()
        rows = await self.fetch("SELECT clock_timestamp()", ())
        self._learn_clock(rows[0][0])

    async def close(self) -> None:
        """Record what waits, then disconnect."""
        await self._appender.close()
        await self.pool.close()

    def now(self) -> datetime:
        """PostgreSQL's clock as it was last told, and the time since; it never goes back."""
        estimate = self._told + timedelta(seconds=time.monotonic() - self._told_at)
        self._latest = max(self._latest, estimate)
        return self._latest

    async def append(self, command: Command) -> Outcome:
        fields = await self._appender.append(encode(command, self.mapper))
        self._learn_clock(datetime.fromisoformat(fields["now"]))
        return decode(fields, command)

    async def used_key(self, user_id: UUID, key: str) -> UsedKey | None:
        rows = await self.fetch(USED_KEY, (user_id, key))
        return UsedKey(*rows[0]) if rows else None

    async def get(self, aggregate: type[A], stream: UUID) -> A | None:
        folded: Any = None
        last = 0
        while page := await self.history(stream, after=last, limit=A_PAGE):
            for recorded in page:
                folded = recorded.event.mutate(folded)
            last = page[-1].position
            if len(page) < A_PAGE:
                break
        return folded if isinstance(folded, aggregate) else None

    async def history(self, stream: UUID, *, after: int, limit: int) -> Sequence[Recorded]:
        return self._recorded(
            await self.fetch(
                f"SELECT {COLUMNS} FROM stored_events"  # noqa: S608  # a constant
                " WHERE originator_id = %s AND notification_id > %s"
                " ORDER BY originator_version LIMIT %s",
                (stream, after, limit),
            )
        )

    async def later(self, behind: Mapping[UUID, int]) -> Sequence[Recorded]:
        return self._recorded(await self.fetch(LATER, (list(behind), list(behind.values()))))

    async def read(self, *, after: int, limit: int) -> Sequence[Recorded]:
        found: list[Recorded] = []
        while len(found) < limit:
            began = time.monotonic()
            part = await self._part(after, min(A_PART, limit - len(found)))
            found += part
            if len(part) < A_PART:
                break
            after = part[-1].position
            if await self._pace.others_append():
                await self._pace.rest(time.monotonic() - began)
        return found

    async def _part(self, after: int, limit: int) -> list[Recorded]:
        return self._recorded(
            await self.fetch(
                f"SELECT {COLUMNS} FROM stored_events"  # noqa: S608  # a constant
                " WHERE notification_id > %s ORDER BY notification_id LIMIT %s",
                (after, limit),
            )
        )

    async def _last_position(self) -> int:
        return int((await self.fetch(HEAD, ()))[0][0])

    async def fetch(self, query: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Rows of one statement that may run twice. Raises StoreUnavailableError.

        It runs again while the pool gives connections that died when nobody used them.
        """
        fetching = asyncio.create_task(self._fetch_again(query, parameters))
        fetching.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            # Not a timeout around it: psycopg would wait for a server that does not answer.
            done, _ = await asyncio.wait({fetching}, timeout=self._patience)
        finally:
            fetching.cancel()
        if not done:
            raise StoreUnavailableError("The database does not answer in time. Try again.")
        return fetching.result()

    async def _fetch_again(self, query: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        lost = 0
        while True:
            try:
                return await self._fetch(query, parameters)
            except (PoolTimeout, *LOST) as error:
                lost += 1
                if lost > self._readers or not _is_lost(error):
                    raise StoreUnavailableError(
                        "The database does not answer. Try again."
                    ) from error

    async def _fetch(self, query: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        async with self.pool.connection() as connection:
            try:
                cursor = await connection.execute(query, parameters, prepare=True)
                return await cursor.fetchall()
            except ReadOnlySqlTransaction:  # a server that is no longer the primary
                await connection.close()
                raise

    def _recorded(self, rows: Sequence[tuple[Any, ...]]) -> list[Recorded]:
        return [recorded(cast(Row, row), self.mapper) for row in rows]

    def _learn_clock(self, told: datetime) -> None:
        self._told, self._told_at = told, time.monotonic()


async def _configure(connection: psycopg.AsyncConnection[Any]) -> None:
    await configure(connection, **READING)


def _is_lost(error: psycopg.Error) -> bool:
    """Whether a connection was there and broke, so that another one may do."""
    if isinstance(error, PoolTimeout):
        return False
    return error.sqlstate is None or isinstance(error, AdminShutdown | ReadOnlySqlTransaction)


def recorded(row: Row, mapper: JsonMapper) -> Recorded:
    """One row of the log, its columns in the order of COLUMNS, as the event it holds."""
    position, recorded_at, originator_id, version, topic, state = row
    event = mapper.event(originator_id, version, topic, state, recorded_at)
    return Recorded(position, recorded_at, event)
