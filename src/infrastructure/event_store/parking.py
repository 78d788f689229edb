"""Which aggregates wait, because they could not be projected into a read model."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from infrastructure.read_models.read_model import ReadModel

MOST_PARKED = 10  # more of them are a bug of ours

CREATE = """
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


class TooManyParkedError(Exception):
    """That many aggregates that cannot be projected are a bug of ours, not their data's."""

    def __init__(self, read_model: ReadModel, count: int) -> None:
        super().__init__(
            f"{count} aggregates cannot be projected into {read_model.name!r}, which stands still. "
            "Mend the read model, then replay it."
        )


async def parked(connection: AsyncConnection[Any], read_model: ReadModel) -> frozenset[UUID]:
    """The aggregates whose events wait."""
    cursor = await connection.execute(
        "SELECT originator_id FROM parked_aggregates WHERE name = %s AND version = %s",
        read_model.key,
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
        (*read_model.key, aggregate, position, error),
    )


async def unpark(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Let no aggregate wait any more."""
    await connection.execute(
        "DELETE FROM parked_aggregates WHERE (name, version) = (%s, %s)", read_model.key
    )


async def take_parked(connection: AsyncConnection[Any], was: ReadModel, becomes: ReadModel) -> None:
    """Let what waits of one wait of another instead."""
    await unpark(connection, becomes)
    await connection.execute(
        "UPDATE parked_aggregates SET name = %s WHERE (name, version) = (%s, %s)",
        (becomes.name, *was.key),
    )
