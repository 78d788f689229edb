"""How far each read model is, and which aggregates wait because they could not be projected."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from infrastructure.event_store.connections import connect
from infrastructure.read_models import discover
from infrastructure.read_models.read_model import ReadModel

LOCK = 7232406003

CREATE = """
CREATE TABLE IF NOT EXISTS follower_positions (
    name         text        PRIMARY KEY,
    version      integer     NOT NULL,
    log_identity uuid        NOT NULL,
    position     bigint      NOT NULL,
    updated_at   timestamptz NOT NULL DEFAULT now(),
    error        text
) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS parked_aggregates (
    name          text        NOT NULL,
    originator_id uuid        NOT NULL,
    position      bigint      NOT NULL,
    error         text        NOT NULL,
    parked_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, originator_id)
);
"""

HOLD = """
SELECT position FROM follower_positions
 WHERE name = %s AND version = %s AND log_identity = (SELECT identity FROM log) FOR UPDATE
"""

START_OVER = """
INSERT INTO follower_positions (name, version, log_identity, position)
SELECT %s, %s, identity, 0 FROM log
    ON CONFLICT (name) DO UPDATE
   SET version = excluded.version, log_identity = excluded.log_identity, position = 0,
       updated_at = now(), error = NULL
"""

STATES = """
SELECT name, position, greatest(coalesce(last, 0) - position, 0),
       (SELECT count(*) FROM parked_aggregates WHERE name = f.name), error
  FROM follower_positions f
 CROSS JOIN (SELECT max(notification_id) AS last FROM stored_events) log
 ORDER BY name
"""


class LeadershipLostError(Exception):
    """Somebody else moved the position or made the tables anew, or the log was exchanged."""


class NewerReadModelError(Exception):
    """The stored tables are of a higher version than this release's: a newer one made them."""

    def __init__(self, read_model: ReadModel, stored: int) -> None:
        super().__init__(
            f"The tables of {read_model.name!r} are of version {stored}, this release knows "
            f"version {read_model.version}. Run the release that made them."
        )


@dataclass(frozen=True)
class FollowerState:
    """How a read model is doing: how many events it is behind, how many aggregates are parked.

    `error` says why it stands still, if it does.
    """

    name: str
    position: int
    behind: int
    parked: int
    error: str | None = None


async def follower_states(
    fetch: Callable[[str, tuple[Any, ...]], Awaitable[Sequence[tuple[Any, ...]]]],
) -> list[FollowerState]:
    """The state of every read model that was ever followed."""
    return [FollowerState(*row) for row in await fetch(STATES, ())]


async def ensure_tables(database_url: str) -> None:
    """Create what is missing of the tables of followers and of every read model.

    Tables of another version are left to the follower that leads.
    """
    async with await connect(database_url, "darkroom migrate") as connection:
        for read_model in discover():
            async with connection.transaction():
                await _create(connection)
                if await _stored(connection, read_model) is None:
                    await _start_over(connection, read_model)


async def prepare(connection: AsyncConnection[Any], read_model: ReadModel) -> int:
    """Make the tables be of this version and of this log; the position that they are at.

    Raises NewerReadModelError.
    """
    async with connection.transaction():
        await _create(connection)
        stored = await _stored(connection, read_model)
        if stored is not None:
            version, position, same_log = stored
            if version > read_model.version:
                raise NewerReadModelError(read_model, version)
            if version == read_model.version and same_log:
                return position
        await _start_over(connection, read_model)
        return 0


async def hold(connection: AsyncConnection[Any], read_model: ReadModel) -> int:
    """Lock the position for the rest of the transaction. Raises LeadershipLostError."""
    cursor = await connection.execute(HOLD, (read_model.name, read_model.version), prepare=True)
    row: tuple[int] | None = await cursor.fetchone()
    if row is None:
        raise LeadershipLostError(
            f"The tables of {read_model.name!r} are of another version or another log."
        )
    return row[0]


async def move(connection: AsyncConnection[Any], name: str, *, old: int, new: int) -> None:
    """Save the position that the tables are at now. Raises LeadershipLostError."""
    cursor = await connection.execute(
        "UPDATE follower_positions SET position = %s, updated_at = now(), error = NULL"
        " WHERE name = %s AND position = %s",
        (new, name, old),
        prepare=True,
    )
    if cursor.rowcount != 1:
        raise LeadershipLostError(f"{name!r} is no longer at position {old}.")


async def tell(connection: AsyncConnection[Any], name: str, error: str) -> None:
    """Let others see why the read model stands still."""
    await connection.execute(
        "UPDATE follower_positions SET error = %s WHERE name = %s", (error, name)
    )


async def parked(connection: AsyncConnection[Any], name: str) -> set[UUID]:
    """The aggregates whose events wait."""
    cursor = await connection.execute(
        "SELECT originator_id FROM parked_aggregates WHERE name = %s", (name,), prepare=True
    )
    return {row[0] for row in await cursor.fetchall()}


async def park(
    connection: AsyncConnection[Any], name: str, aggregate: UUID, *, position: int, error: str
) -> None:
    """Let the events of an aggregate wait from this position on."""
    await connection.execute(
        "INSERT INTO parked_aggregates (name, originator_id, position, error)"
        " VALUES (%s, %s, %s, %s)",
        (name, aggregate, position, error),
    )


async def unpark(connection: AsyncConnection[Any], name: str) -> None:
    """Let no aggregate wait any more."""
    await connection.execute("DELETE FROM parked_aggregates WHERE name = %s", (name,))


async def _create(connection: AsyncConnection[Any]) -> None:
    await connection.execute("SELECT pg_advisory_xact_lock(%s::bigint)", (LOCK,))
    await connection.execute("SET LOCAL client_min_messages = warning")
    await connection.execute(CREATE)


async def _stored(
    connection: AsyncConnection[Any], read_model: ReadModel
) -> tuple[int, int, bool] | None:
    cursor = await connection.execute(
        "SELECT version, position, log_identity = (SELECT identity FROM log)"
        " FROM follower_positions WHERE name = %s FOR UPDATE",
        (read_model.name,),
    )
    row: tuple[int, int, bool] | None = await cursor.fetchone()
    return row


async def _start_over(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    await connection.execute(read_model.drop)
    await connection.execute(read_model.create)
    await unpark(connection, read_model.name)
    await connection.execute(START_OVER, (read_model.name, read_model.version))
