"""How every connection to PostgreSQL notices that the other end is gone."""

from __future__ import annotations

from typing import Any, TypedDict

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import ReadOnlySqlTransaction


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
    database_url: str, application_name: str, *, options: str = ""
) -> AsyncConnection[Any]:
    """A connection in autocommit mode; `options` are the session's settings, `-c name=value`."""
    return await AsyncConnection.connect(
        database_url,
        autocommit=True,
        application_name=application_name,
        options=session_options(database_url, options),
        **LIVENESS,
    )


def session_options(database_url: str, options: str) -> str:
    """Ours after those of the URL, which psycopg would otherwise replace."""
    given = conninfo_to_dict(database_url).get("options") or ""
    return f"{given} {options}".strip()
