"""Compares what decisions depend on with the events, in one snapshot, while the service runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from psycopg import AsyncConnection

from application.ports.event_store import KEEP_KEYS
from domain.aggregate import Event
from domain.generation import Generation
from domain.user import User
from infrastructure.event_store.connections import connect
from infrastructure.event_store.mapper import JsonMapper, UnknownEventError, stored_topic

Part = Literal["events", "quota", "limits", "work", "in-flight", "idempotency"]
PARTS: tuple[Part, ...] = get_args(Part)
MOST_DIFFERENCES = 10_000  # of one part at a time: what is left shows when these are mended

# Which events check.sql reads, in the version that it reads.
READ: Mapping[type[Event], int] = {
    Generation.Requested: 1,
    Generation.CallStarted: 1,
    Generation.CallAnswered: 1,
    Generation.CallFailed: 1,
    Generation.CallLost: 1,
    Generation.CallAnsweredLate: 1,
    Generation.Completed: 1,
    Generation.Failed: 1,
    Generation.Cancelled: 1,
    Generation.Deleted: 1,
    User.QuotaChanged: 1,
}
TOPICS = [stored_topic(event.topic, version) for event, version in READ.items()]
# What events of other topics say is nothing that the tables hold, as far as this release knows.
OTHERS = (t for t in JsonMapper().topics if not t.startswith(("generation.", "user.quota_")))
KNOWN = [*TOPICS, *OTHERS]
UNKNOWN = "SELECT topic FROM stored_events WHERE topic <> ALL (%s) LIMIT 1"
BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
MOMENT = "SELECT coalesce(max(notification_id), 0), log_now_v1() FROM stored_events"
COMPARED: Mapping[Part, str] = {
    "events": "SELECT count(*) FROM stored_events",
    "quota": "SELECT count(*) FROM quota_counters",
    "limits": "SELECT count(*) FROM quota_limits",
    "work": "SELECT count(*) FROM work",
    "in-flight": "SELECT count(*) FROM in_flight",
    "idempotency": "SELECT count(*) FROM idempotency_keys WHERE expires_at > %(moment)s",
}
COMPARE: Mapping[Part, str] = {
    "events": "SELECT 'events', NULL, 'unreadable', jsonb_build_object('position',"
    " notification_id, 'topic', topic, 'ref', originator_id), NULL, NULL"
    " FROM stored_events WHERE event_v1(state) IS NULL",
    "quota": "SELECT * FROM unit_differences_v1()",
    "limits": "SELECT found.* FROM limit_places_v1 place"
    " CROSS JOIN LATERAL limit_differences_v1(place.user_id) found",
    "work": "SELECT found.* FROM work_places_v1 place"
    " CROSS JOIN LATERAL work_differences_v1(place.kind, place.ref, %(moment)s) found",
    "in-flight": "SELECT * FROM in_flight_differences_v1",
    "idempotency": "SELECT * FROM key_differences_v1(%(moment)s, %(longest)s)",
}

# A quiet visitor: one processor, memory that does not grow, and as long as it takes.
SESSION = {
    "TimeZone": "UTC",
    "statement_timeout": "0",
    "idle_session_timeout": "0",
    "work_mem": "64MB",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
}


@dataclass(frozen=True)
class Difference:
    """A row that is not as the events say: `place` is where, None is no row.

    Or an event that cannot be read, of nobody knows whom.
    """

    part: Part
    user_id: UUID | None
    problem: str
    place: Mapping[str, Any]
    found: Mapping[str, Any] | None
    expected: Mapping[str, Any] | None


@dataclass(frozen=True)
class Compared:
    """One part that was looked at: how many rows there are, and what is wrong with them.

    `more` says that there is more than was looked for.
    """

    part: Part
    rows: int
    differences: Sequence[Difference]
    more: bool = False


@dataclass
class Snapshot:
    """One moment of the whole database: its last event, and what was compared in it."""

    position: int
    moment: datetime
    compared: list[Compared] = field(default_factory=list)

    @property
    def differences(self) -> list[Difference]:
        """All of them."""
        return [difference for part in self.compared for difference in part.differences]

    @property
    def is_readable(self) -> bool:
        """Whether every event can be read, so that what they say is all."""
        return all(difference.part != "events" for difference in self.differences)


async def check(database_url: str) -> Sequence[Difference]:
    """Where the tables say something else than the events. Raises UnknownEventError."""
    return (await compare(database_url)).differences


async def compare(
    database_url: str, *, tell: Callable[[Compared], None] = lambda _: None
) -> Snapshot:
    """Compare part by part in one snapshot, which blocks nobody; `tell` hears of each at once.

    Raises UnknownEventError when a newer release has recorded what this one cannot read.
    """
    async with visiting(database_url) as connection:
        await connection.execute(BEGIN)
        position, moment = await _row(connection, MOMENT)
        await _refuse_unknown(connection)
        snapshot = Snapshot(position, moment)
        for part in PARTS:
            compared = await _compare(connection, part, moment)
            snapshot.compared.append(compared)
            tell(compared)
        return snapshot


@asynccontextmanager
async def visiting(database_url: str) -> AsyncIterator[AsyncConnection[Any]]:
    """A session that may take its time without being in anybody's way."""
    async with await connect(database_url, "darkroom check", **SESSION) as connection:
        yield connection


async def _refuse_unknown(connection: AsyncConnection[Any]) -> None:
    unknown = await (await connection.execute(UNKNOWN, (KNOWN,))).fetchone()
    if unknown is not None:
        raise UnknownEventError(unknown[0])


async def _compare(connection: AsyncConnection[Any], part: Part, moment: datetime) -> Compared:
    known = {"moment": moment, "longest": KEEP_KEYS}
    (count,) = await _row(connection, COMPARED[part], known)
    query = f"{COMPARE[part]} LIMIT {MOST_DIFFERENCES + 1}"
    rows = await (await connection.execute(query, known)).fetchall()
    differences = [Difference(*row) for row in rows[:MOST_DIFFERENCES]]
    return Compared(part, count, differences, more=len(rows) > MOST_DIFFERENCES)


async def _row(
    connection: AsyncConnection[Any], query: str, parameters: Mapping[str, Any] | None = None
) -> tuple[Any, ...]:
    row: tuple[Any, ...] = await (await connection.execute(query, parameters)).fetchone()  # type: ignore[assignment]  # an aggregate always is one row
    return row
