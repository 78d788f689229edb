"""How every connection to PostgreSQL notices that the other end is gone."""

from __future__ import annotations

import asyncio
from typing import Any, TypedDict

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import ConnectionTimeout, ReadOnlySqlTransaction


class Liveness(TypedDict):
    """libpq's parameters; times in seconds, `tcp_user_timeout` in milliseconds."""

    connect_timeout: int
    keepalives_idle: int
    keepalives_interval: int
    keepalives_count: int
    tcp_user_timeout: int
    target_session_attrs: str


LIVENESS = Liveness(
    connect_timeout=5,
    keepalives_idle=5,
    keepalives_interval=3,
    keepalives_count=3,
    tcp_user_timeout=15_000,
    target_session_attrs="read-write",  # after a failover, never the old primary
)

# What says that a connection, not the statement, is at fault.
LOST = (psycopg.OperationalError, psycopg.InterfaceError, ReadOnlySqlTransaction)


async def connect(
    database_url: str, application_name: str, **settings: str
) -> AsyncConnection[Any]:
    """A connection in autocommit mode, for whose session these settings hold."""
    connection = await AsyncConnection.connect(
        database_url, autocommit=True, application_name=application_name, **LIVENESS
    )
    try:
        await configure(connection, **settings)
    except BaseException:
        await connection.close()
        raise
    return connection


async def configure(connection: AsyncConnection[Any], **settings: str) -> None:
    """Let these settings hold for the session.

    Not by the startup parameter `options`, which poolers refuse or drop, also in session mode; but
    it is still a part of connecting, and may not take longer.
    """
    if not settings:
        return
    try:
        async with asyncio.timeout(LIVENESS["connect_timeout"]):
            await connection.execute(
                "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[])"
                " AS setting(name, value)",
                (list(settings), list(settings.values())),
            )
    except TimeoutError as error:
        raise ConnectionTimeout("PostgreSQL let us in, and then said nothing.") from error
