"""What the plain names show, and what is dropped: steps for which nobody waits."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from psycopg import AsyncConnection, errors

from infrastructure.event_store.parking import unpark
from infrastructure.event_store.read_model_schemas import drop_tables, show, try_exclusively
from infrastructure.read_models.read_model import ReadModel

log = logging.getLogger(__name__)

KEPT = "1 day"

BEST = """
SELECT version FROM follower_positions
 WHERE name = %s ORDER BY coalesce(caught_up_at > '-infinity', false) DESC, version DESC LIMIT 1
"""

ABANDONED = """
SELECT name, version FROM follower_positions
 WHERE (name = %s AND version <> %s OR name IN (%s, %s)) AND updated_at < now() - %s::interval
 ORDER BY updated_at LIMIT 1
"""


async def forget(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Drop the tables with their position and what is parked of them."""
    await drop_tables(connection, read_model)
    await _forget_place(connection, read_model)


async def _forget_place(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    await unpark(connection, read_model)
    await connection.execute(
        "DELETE FROM follower_positions WHERE (name, version) = (%s, %s)", read_model.key
    )


async def _show_best(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """The newest version that had caught up, or else the newest."""
    cursor = await connection.execute(BEST, (read_model.name,))
    if row := await cursor.fetchone():
        await show(connection, replace(read_model, version=row[0]))


async def _drop_aside(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """What was there before tables were made anew, and the plain names may have shown till now."""
    await _show_best(connection, read_model)
    await drop_tables(connection, read_model.aside)


async def _drop_abandoned(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """One at a time: another version, or leftovers of a replay, that nobody follows into, or tries.

    One that stands still is tried again and again, so it is not abandoned: an api may read it.
    """
    names = read_model.beside.name, read_model.old.name
    cursor = await connection.execute(ABANDONED, (*read_model.key, *names, KEPT))
    if row := await cursor.fetchone():
        abandoned = replace(read_model, name=row[0], version=row[1])
        log.warning("dropping tables that nobody follows into", extra={"tables": abandoned.schema})
        await _forget_place(connection, abandoned)
        await _show_best(connection, read_model)  # the plain names may have shown these
        await drop_tables(connection, abandoned)
        await drop_tables(connection, abandoned.aside)


@dataclass(frozen=True)
class Step:
    """What waits for nobody: it is done, or `later` says what is done another time."""

    do: Callable[[AsyncConnection[Any], ReadModel], Awaitable[None]]
    later: str


SHOW_BEST = Step(_show_best, "the plain names show the best version later")
DROP_ASIDE = Step(_drop_aside, "what was there before tables were made anew is dropped later")
DROP_ABANDONED = Step(_drop_abandoned, "what nobody follows into is dropped later")


async def now_or_later(
    connection: AsyncConnection[Any], read_model: ReadModel, *steps: Step
) -> None:
    """Take these steps, each only if nobody has to be waited for."""
    for step in steps:
        try:
            async with connection.transaction():
                if await try_exclusively(connection):
                    await step.do(connection, read_model)
        except errors.LockNotAvailable:
            facts = {"read_model": read_model.schema}
            log.warning("somebody reads for long: %s", step.later, extra=facts)
