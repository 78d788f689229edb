"""Brings the schema of the event store up to date."""

from __future__ import annotations

from pathlib import Path

import psycopg

from infrastructure.event_store.connections import LIVENESS

LOCK = 7232406002
MIGRATIONS = Path(__file__).parent / "migrations"


class NotMigratedError(Exception):
    """The schema stayed as it was; the message says why, in one sentence."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(f"The database was not migrated: {' '.join(str(reason).split())}")


def migrate(database_url: str) -> None:
    """Apply what is missing, in one transaction under an advisory lock. Raises NotMigratedError.

    A newer release's schema is left as it is: it serves this one too.

    Safe to run twice, from several processes at once, and after being killed in the middle: the
    lock and everything half done end with the connection.
    """
    try:
        is_new = (_revision(database_url) or "") >= newest_revision()
    except psycopg.Error as error:
        raise NotMigratedError(error) from error
    if not is_new:
        _upgrade(database_url)


def newest_revision() -> str:
    """The number that the name of the last migration begins with."""
    return max(path.name for path in MIGRATIONS.glob("versions/*.py")).split("_")[0]


def _revision(database_url: str) -> str | None:
    with _connect(database_url) as connection:
        if connection.execute("SELECT to_regclass('alembic_version')").fetchone() == (None,):
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None


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
