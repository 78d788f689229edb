"""How far each read model is, and which aggregates wait because they could not be projected."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection, errors

from infrastructure.event_store.connections import connect
from infrastructure.event_store.read_model_schemas import (
    create_tables,
    drop_tables,
    exclusively,
    look_into,
    rename,
    show,
)
from infrastructure.read_models import discover
from infrastructure.read_models.read_model import ReadModel

log = logging.getLogger(__name__)

KEPT = "1 day"

CREATE = """
CREATE TABLE follower_positions (
    name         text        NOT NULL,
    version      integer     NOT NULL,
    log_identity uuid        NOT NULL,
    position     bigint      NOT NULL,
    revision     bigint      NOT NULL DEFAULT 0,
    caught_up_at timestamptz,
    updated_at   timestamptz NOT NULL DEFAULT now(),
    error        text,
    PRIMARY KEY (name, version)
) WITH (fillfactor = 50);
CREATE TABLE parked_aggregates (
    name          text        NOT NULL,
    version       integer     NOT NULL,
    originator_id uuid        NOT NULL,
    position      bigint      NOT NULL,
    error         text        NOT NULL,
    parked_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (name, version, originator_id)
);
"""

HOLD = """
SELECT position, revision FROM follower_positions
 WHERE name = %s AND version = %s AND log_identity = (SELECT identity FROM log) FOR UPDATE
"""

MOVE = """
UPDATE follower_positions SET position = %s, updated_at = now(), error = NULL
 WHERE name = %s AND version = %s AND position = %s AND revision = %s
   AND log_identity = (SELECT identity FROM log)
RETURNING true
"""

# Who begins with an empty log has caught up with it.
START_OVER = """
INSERT INTO follower_positions AS f (name, version, log_identity, position, caught_up_at)
SELECT %s, %s, identity, 0, CASE WHEN EXISTS (SELECT FROM stored_events) THEN NULL ELSE now() END
  FROM log
    ON CONFLICT (name, version) DO UPDATE
   SET log_identity = excluded.log_identity, position = 0, caught_up_at = excluded.caught_up_at,
       revision = f.revision + 1, updated_at = now(), error = NULL
"""

TAKE_PARKED = "UPDATE parked_aggregates SET name = %s WHERE (name, version) = (%s, %s)"
BECOME_OLD = """
WITH old AS (
    INSERT INTO follower_positions (name, version, log_identity, position)
    SELECT %s, version, log_identity, position
      FROM follower_positions WHERE (name, version) = (%s, %s))
DELETE FROM follower_positions WHERE (name, version) = (%s, %s)
"""

STATES = """
SELECT name, version, position, greatest(coalesce(last, 0) - position, 0),
       (SELECT count(*) FROM parked_aggregates p WHERE (p.name, p.version) = (f.name, f.version)),
       error, caught_up_at IS NOT NULL
  FROM follower_positions f
 CROSS JOIN (SELECT max(notification_id) AS last FROM stored_events) log
 ORDER BY name, version
"""

BEST = """
SELECT version FROM follower_positions
 WHERE name = %s ORDER BY caught_up_at IS NOT NULL DESC, version DESC LIMIT 1
"""

ABANDONED = """
SELECT name, version FROM follower_positions
 WHERE (name = %s AND version <> %s OR name IN (%s, %s)) AND updated_at < now() - %s::interval
 ORDER BY updated_at LIMIT 1
"""


class LeadershipLostError(Exception):
    """Somebody else moved the position or made the tables anew, or the log was exchanged."""


@dataclass(frozen=True)
class Place:
    """Where tables are in the log; `revision` counts what others than their follower changed."""

    position: int
    revision: int


@dataclass(frozen=True)
class FollowerState:
    """How a version of a read model is doing: how many events behind, how many aggregates parked.

    `error` says why it stands still, if it does; `built` whether it had ever caught up.
    """

    name: str
    version: int
    position: int
    behind: int
    parked: int
    error: str | None = None
    built: bool = True


async def follower_states(
    fetch: Callable[[str, tuple[Any, ...]], Awaitable[Sequence[tuple[Any, ...]]]],
) -> list[FollowerState]:
    """The state of every version of a read model that is followed, or was yesterday."""
    return [FollowerState(*row) for row in await fetch(STATES, ())]


async def ensure_tables(database_url: str) -> None:
    """Create what is missing of the tables of followers and of every read model."""
    async with await connect(database_url, "darkroom migrate") as connection:
        for read_model in discover():
            async with connection.transaction():
                await _create(connection)
                if not await _is_stored(connection, read_model):
                    await start_over(connection, read_model)
                    await _show_best(connection, read_model)


async def prepare(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Make the tables be there and of this log; the session looks into them from now on."""
    async with connection.transaction():
        await _create(connection)
        if await _is_stored(connection, read_model):
            await look_into(connection, read_model)
        else:
            await start_over(connection, read_model)
            await _show_best(connection, read_model)


async def start_over(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Make the tables anew, empty; the session looks into them from now on."""
    await create_tables(connection, read_model)
    await unpark(connection, read_model)
    await connection.execute(START_OVER, _key(read_model))


async def hold(connection: AsyncConnection[Any], read_model: ReadModel) -> Place:
    """Lock the position for the rest of the transaction. Raises LeadershipLostError."""
    cursor = await connection.execute(HOLD, _key(read_model), prepare=True)
    row: tuple[int, int] | None = await cursor.fetchone()
    if row is None:
        raise LeadershipLostError(f"The tables {read_model.schema!r} are not there for this log.")
    return Place(*row)


async def position_of(connection: AsyncConnection[Any], read_model: ReadModel) -> int | None:
    """Where the tables are; None when there are none for this log."""
    query = HOLD.replace("FOR UPDATE", "")
    row = await (await connection.execute(query, _key(read_model))).fetchone()
    return row[0] if row else None


async def move(
    connection: AsyncConnection[Any], read_model: ReadModel, place: Place, position: int
) -> bool:
    """Lock the position, and save the one that the tables are at when the transaction ends.

    False when they are at another place, or somebody changed them or what is parked of them.
    """
    parameters = (position, *_key(read_model), place.position, place.revision)
    cursor = await connection.execute(MOVE, parameters, prepare=True)
    return await cursor.fetchone() is not None


async def set_back(connection: AsyncConnection[Any], read_model: ReadModel, position: int) -> None:
    """Save an earlier position, in the transaction that has moved it too far."""
    await connection.execute(
        "UPDATE follower_positions SET position = %s WHERE (name, version) = (%s, %s)",
        (position, *_key(read_model)),
    )


async def revise(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Let who leads see that somebody else changed the tables, or what is parked of them."""
    await connection.execute(
        "UPDATE follower_positions SET revision = revision + 1, error = NULL"
        " WHERE (name, version) = (%s, %s)",
        _key(read_model),
    )


async def tell(connection: AsyncConnection[Any], read_model: ReadModel, error: str) -> None:
    """Let others see why the read model stands still."""
    await connection.execute(
        "UPDATE follower_positions SET error = %s WHERE (name, version) = (%s, %s)",
        (error, *_key(read_model)),
    )


async def tend(connection: AsyncConnection[Any], read_model: ReadModel, *, built: bool) -> None:
    """Show that it is followed, let the plain names show the best version, drop abandoned ones."""
    await connection.execute(
        "UPDATE follower_positions SET updated_at = now(),"
        " caught_up_at = coalesce(caught_up_at, CASE WHEN %s THEN now() END)"
        " WHERE (name, version) = (%s, %s)",
        (built, *_key(read_model)),
    )
    try:
        async with connection.transaction():
            await exclusively(connection)
            await _show_best(connection, read_model)
            await _drop_abandoned(connection, read_model)
    except errors.LockNotAvailable:
        facts = {"read_model": read_model.schema}
        log.warning("somebody reads for long: views are exchanged later", extra=facts)


async def forget(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Drop the tables with their position and what is parked of them."""
    await drop_tables(connection, read_model)
    await unpark(connection, read_model)
    await connection.execute(
        "DELETE FROM follower_positions WHERE (name, version) = (%s, %s)", _key(read_model)
    )


async def take_place(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Let what was built beside be the live one, and the live one the old one."""
    beside, old = read_model.beside, read_model.old
    await rename(connection, read_model, old)
    await rename(connection, beside, read_model)
    await unpark(connection, read_model)
    await connection.execute(TAKE_PARKED, (read_model.name, *_key(beside)))
    await connection.execute(BECOME_OLD, (old.name, *_key(read_model), *_key(beside)))
    await revise(connection, read_model)


async def parked(connection: AsyncConnection[Any], read_model: ReadModel) -> frozenset[UUID]:
    """The aggregates whose events wait."""
    cursor = await connection.execute(
        "SELECT originator_id FROM parked_aggregates WHERE name = %s AND version = %s",
        _key(read_model),
        prepare=True,
    )
    return frozenset(row[0] for row in await cursor.fetchall())


async def park(
    connection: AsyncConnection[Any],
    read_model: ReadModel,
    aggregate: UUID,
    *,
    position: int,
    error: str,
) -> None:
    """Let the events of an aggregate wait from this position on."""
    await connection.execute(
        "INSERT INTO parked_aggregates (name, version, originator_id, position, error)"
        " VALUES (%s, %s, %s, %s, %s)",
        (*_key(read_model), aggregate, position, error),
    )


async def unpark(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Let no aggregate wait any more."""
    await connection.execute(
        "DELETE FROM parked_aggregates WHERE (name, version) = (%s, %s)", _key(read_model)
    )


def _key(read_model: ReadModel) -> tuple[str, int]:
    return read_model.name, read_model.version


async def _create(connection: AsyncConnection[Any]) -> None:
    await exclusively(connection)
    cursor = await connection.execute("SELECT to_regclass('follower_positions') IS NULL")
    if await cursor.fetchone() == (True,):
        await connection.execute(CREATE)


async def _is_stored(connection: AsyncConnection[Any], read_model: ReadModel) -> bool:
    cursor = await connection.execute(HOLD, _key(read_model))
    return await cursor.fetchone() is not None


async def _show_best(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """The newest version that had caught up, or else the newest."""
    cursor = await connection.execute(BEST, (read_model.name,))
    if row := await cursor.fetchone():
        await show(connection, replace(read_model, version=row[0]))


async def _drop_abandoned(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """One at a time: another version, or leftovers of a replay, that nobody writes any more."""
    names = read_model.beside.name, read_model.old.name
    cursor = await connection.execute(ABANDONED, (*_key(read_model), *names, KEPT))
    if row := await cursor.fetchone():
        abandoned = replace(read_model, name=row[0], version=row[1])
        log.warning("dropping tables that nobody follows into", extra={"tables": abandoned.schema})
        await forget(connection, abandoned)
