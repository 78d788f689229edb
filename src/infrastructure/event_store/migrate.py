"""Brings the schema of the event store up to date."""

from __future__ import annotations

import psycopg
from psycopg import sql

from infrastructure.event_store.connections import LIVENESS
from infrastructure.event_store.schema import (
    EARLIER_BUILD,
    MADE_OF,
    MAKE_A_NEW_ONE,
    MIGRATIONS,
    is_of_an_earlier_build,
    newest_revision,
)

LOCK = 7232406002


class NotMigratedError(Exception):
    """The schema stayed as it was; the message says why, in one sentence."""

    def __init__(self, reason: Exception | str) -> None:
        super().__init__(f"The database was not migrated: {' '.join(str(reason).split())}")


def migrate(database_url: str) -> None:
    """Apply what is missing, in one transaction under an advisory lock. Raises NotMigratedError.

    A newer release's schema is left as it is: it serves this one too.

    Safe to run twice, from several processes at once, and after being killed in the middle: the
    lock and everything half done end with the connection.
    """
    try:
        revision, made_of = _found(database_url)
    except psycopg.Error as error:
        raise NotMigratedError(error) from error
    if is_of_an_earlier_build(revision, made_of):
        raise NotMigratedError(f"{EARLIER_BUILD} {MAKE_A_NEW_ONE}")
    if revision < newest_revision():
        _upgrade(database_url)


def _found(database_url: str) -> tuple[str, str | None]:
    """The schema's revision, empty for none, and what it was made of."""
    with _connect(database_url) as connection:
        if connection.execute("SELECT to_regclass('alembic_version')").fetchone() == (None,):
            return "", None
        query = sql.SQL("SELECT version_num, ({}) FROM alembic_version").format(sql.SQL(MADE_OF))
        return connection.execute(query).fetchone() or ("", None)


def _upgrade(database_url: str) -> None:
    from alembic import command  # alembic and SQLAlchemy are slow to import
    from alembic.config import Config
    from alembic.util import CommandError
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.pool import NullPool

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: _connect(database_url), poolclass=NullPool
    )
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DBAPIError as error:
        raise NotMigratedError(error.orig or error) from error
    except (psycopg.Error, CommandError) as error:
        raise NotMigratedError(error) from error


def _connect(database_url: str) -> psycopg.Connection:
    return psycopg.connect(database_url, application_name="darkroom migrate", **LIVENESS)
