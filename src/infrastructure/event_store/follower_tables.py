"""Which versions of read models there are, how far each is, and which one is shown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, errors

from infrastructure.event_store.connections import connect
from infrastructure.event_store.parking import CREATE as CREATE_PARKED
from infrastructure.event_store.parking import take_parked, unpark
from infrastructure.event_store.read_model_schemas import (
    create_tables,
    exclusively,
    look_into,
    missing_tables,
    rename,
)
from infrastructure.event_store.upkeep import DROP_ABANDONED, DROP_ASIDE, SHOW_BEST, now_or_later
from infrastructure.read_models import discover
from infrastructure.read_models.read_model import ReadModel

log = logging.getLogger(__name__)

TRIES, PAUSE = 10, 0.3  # to make tables ready that somebody reads or writes just now

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
"""

HOLD = """
SELECT position, revision FROM follower_positions
 WHERE name = %s AND version = %s AND log_identity = (SELECT identity FROM log) FOR UPDATE
"""
LOOK = HOLD.replace("FOR UPDATE", "")

MOVE = """
UPDATE follower_positions SET position = %s, updated_at = now(), error = NULL
 WHERE name = %s AND version = %s AND position = %s AND revision = %s
   AND log_identity = (SELECT identity FROM log)
RETURNING true
"""

CAUGHT_UP = """
UPDATE follower_positions
   SET updated_at = now(), caught_up_at = coalesce(nullif(caught_up_at, '-infinity'), now())
 WHERE name = %s AND version = %s AND position = %s
   AND log_identity = (SELECT identity FROM log)
RETURNING true
"""

# Who begins with an empty log has caught up with it. Who had with this log, and begins again, had
# at '-infinity': it has served, and is not full now.
START_OVER = """
INSERT INTO follower_positions AS f (name, version, log_identity, position, caught_up_at)
SELECT %s, %s, identity, 0, CASE WHEN EXISTS (SELECT FROM stored_events) THEN NULL ELSE now() END
  FROM log
    ON CONFLICT (name, version) DO UPDATE
   SET log_identity = excluded.log_identity, position = 0,
       caught_up_at = coalesce(excluded.caught_up_at,
           CASE WHEN f.log_identity = excluded.log_identity AND f.caught_up_at IS NOT NULL
                THEN timestamptz '-infinity' END),
       revision = f.revision + 1, updated_at = now(), error = NULL
"""

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
       error, caught_up_at IS NOT NULL, coalesce(caught_up_at = '-infinity', false)
  FROM follower_positions f
 CROSS JOIN (SELECT max(notification_id) AS last FROM stored_events) log
 ORDER BY name, version
"""


class LeadershipLostError(Exception):
    """Somebody else moved the position or made the tables anew, or the log was exchanged."""


class TablesInUseError(Exception):
    """Somebody kept what has to be made anew from being made."""

    def __init__(self, read_model: ReadModel) -> None:
        super().__init__(
            f"The tables of {read_model.name!r} have to be made anew and could not be, because a"
            " transaction has been reading or writing them all the while. End that one, and run"
            " `darkroom migrate` again; or leave it to `darkroom projector`, which tries until it"
            " can."
        )


@dataclass(frozen=True)
class Place:
    """Where tables are in the log; `revision` counts what others than their follower changed."""

    position: int
    revision: int


@dataclass(frozen=True)
class FollowerState:
    """How a version of a read model is doing: how many events behind, how many aggregates parked.

    `error` says why it stands still, if it does; `built` whether it had ever caught up with this
    log; `anew` whether its tables were made anew since, and have not caught up again.
    """

    name: str
    version: int
    position: int
    behind: int
    parked: int
    error: str | None = None
    built: bool = True
    anew: bool = False


async def follower_states(
    fetch: Callable[[str, tuple[Any, ...]], Awaitable[Sequence[tuple[Any, ...]]]],
) -> list[FollowerState]:
    """The state of every version of a read model that is followed, or was yesterday."""
    return [FollowerState(*row) for row in await fetch(STATES, ())]


async def ensure_tables(database_url: str) -> None:
    """Create what is missing of the tables of followers and of every read model.

    Raises TablesInUseError.
    """
    async with await connect(database_url, "darkroom migrate") as connection:
        for read_model in discover():
            await _prepare_in_time(connection, read_model)


async def _prepare_in_time(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    for _ in range(TRIES):
        with suppress(errors.LockNotAvailable):
            await prepare(connection, read_model)
            return
        await asyncio.sleep(PAUSE)
    raise TablesInUseError(read_model)


async def prepare(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Make the tables be there and of this log; the session looks into them from now on.

    Who reads the plain names, or tables that were put aside, is not waited for: tend() does the
    rest. Raises LockNotAvailable while somebody holds the position.
    """
    async with connection.transaction():
        await exclusively(connection)
        await _create(connection)
        known = await position_of(connection, read_model) is not None
        missing = await missing_tables(connection, read_model)
        if known and not missing:
            await look_into(connection, read_model)
        else:
            await start_over(connection, read_model)
            if known:  # a restore of one schema, or a DROP, leaves the position alone
                facts = {"read_model": read_model.schema}
                log.warning("made anew, because not there: %s", ", ".join(missing), extra=facts)
            await now_or_later(connection, read_model, SHOW_BEST, DROP_ASIDE)


async def start_over(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Make the tables anew, empty; the session looks into them from now on."""
    await create_tables(connection, read_model)
    await unpark(connection, read_model)
    await connection.execute(START_OVER, read_model.key)


async def hold(connection: AsyncConnection[Any], read_model: ReadModel) -> Place:
    """Lock the position for the rest of the transaction. Raises LeadershipLostError."""
    cursor = await connection.execute(HOLD, read_model.key, prepare=True)
    row: tuple[int, int] | None = await cursor.fetchone()
    if row is None:
        raise LeadershipLostError(f"The tables {read_model.schema!r} are not there for this log.")
    return Place(*row)


async def position_of(connection: AsyncConnection[Any], read_model: ReadModel) -> int | None:
    """Where the tables are; None when there are none for this log."""
    row = await (await connection.execute(LOOK, read_model.key)).fetchone()
    return row[0] if row else None


async def move(
    connection: AsyncConnection[Any], read_model: ReadModel, place: Place, position: int
) -> bool:
    """Lock the position, and save the one that the tables are at when the transaction ends.

    False when they are at another place, or somebody changed them or what is parked of them.
    """
    parameters = (position, *read_model.key, place.position, place.revision)
    cursor = await connection.execute(MOVE, parameters, prepare=True)
    return await cursor.fetchone() is not None


async def set_position(
    connection: AsyncConnection[Any], read_model: ReadModel, position: int
) -> None:
    """Save where the tables are, in a transaction that holds their position."""
    await connection.execute(
        "UPDATE follower_positions SET position = %s WHERE (name, version) = (%s, %s)",
        (position, *read_model.key),
    )


async def revise(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Let who leads see that somebody else changed the tables, or what is parked of them."""
    await connection.execute(
        "UPDATE follower_positions SET revision = revision + 1, error = NULL"
        " WHERE (name, version) = (%s, %s)",
        read_model.key,
    )


async def stand_still(connection: AsyncConnection[Any], read_model: ReadModel, error: str) -> None:
    """Let others see why the read model stands still, and that somebody tries to go on."""
    await connection.execute(
        "UPDATE follower_positions SET error = %s, updated_at = now()"
        " WHERE (name, version) = (%s, %s)",
        (error, *read_model.key),
    )


async def tend(connection: AsyncConnection[Any], read_model: ReadModel, position: int) -> None:
    """Show that it has caught up, let the plain names show the best version, drop abandoned ones.

    Raises LeadershipLostError when its tables are not there any more, or others that somebody made
    anew, which are at another position.
    """
    if missing := await missing_tables(connection, read_model):
        raise LeadershipLostError(f"Not there any more: {', '.join(missing)}.")
    cursor = await connection.execute(CAUGHT_UP, (*read_model.key, position))
    if not await cursor.fetchone():
        raise LeadershipLostError(f"{read_model.schema!r} is no longer at position {position}.")
    await now_or_later(connection, read_model, SHOW_BEST, DROP_ASIDE, DROP_ABANDONED)


async def take_place(
    connection: AsyncConnection[Any], read_model: ReadModel, position: int
) -> None:
    """Let what was built beside, up to there, be the live one, and the live one the old one."""
    beside, old = read_model.beside, read_model.old
    await rename(connection, read_model, old)
    await rename(connection, beside, read_model)
    await take_parked(connection, beside, read_model)
    await connection.execute(BECOME_OLD, (old.name, *read_model.key, *beside.key))
    await set_position(connection, read_model, position)
    await revise(connection, read_model)


async def _create(connection: AsyncConnection[Any]) -> None:
    cursor = await connection.execute("SELECT to_regclass('follower_positions') IS NULL")
    if await cursor.fetchone() == (True,):
        await connection.execute(CREATE + CREATE_PARKED)
