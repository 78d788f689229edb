"""How every connection to PostgreSQL notices that the other end is gone."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
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


class Connection(AsyncConnection[Any]):
    """A connection that breaks when nothing comes back for too long, whatever stands between.

    The kernel's own means notice a machine that is gone; a pooler or balancer that has lost the
    server behind it, and keeps us, they do not.
    """

    silent_after: float | None = None  # seconds

    async def wait(self, *args: Any, **kwargs: Any) -> Any:
        """As psycopg's, which every exchange with the server goes through."""
        if self.silent_after is None:
            return await super().wait(*args, **kwargs)
        watch = asyncio.get_running_loop().call_later(self.silent_after, self._break)
        try:
            return await super().wait(*args, **kwargs)
        finally:
            watch.cancel()

    def _break(self) -> None:
        """Let whoever waits see the end of it, as if the server had gone."""
        with (
            suppress(OSError, psycopg.OperationalError),
            socket.socket(fileno=os.dup(self.pgconn.socket)) as ours,
        ):
            ours.shutdown(socket.SHUT_RDWR)


async def connect(database_url: str, application_name: str, **settings: str) -> Connection:
    """A connection in autocommit mode, for whose session these settings hold."""
    connection = await Connection.connect(
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
