"""Where the tables of read models lie: a schema for each version, and views of the plain names."""

from __future__ import annotations

import logging
from typing import Any, LiteralString

from psycopg import AsyncConnection, errors, sql

from infrastructure.read_models.read_model import ReadModel

log = logging.getLogger(__name__)

LOCK = 7232406003
PATIENCE = "1s"  # for a view that somebody reads just now

LOOK_INTO = """
SELECT set_config('search_path', concat_ws(', ', quote_ident(%s), reset_val), false)
  FROM pg_settings WHERE name = 'search_path'
"""
HOME = """
SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
 WHERE c.oid = to_regclass('follower_positions')
"""
TABLES = """
SELECT relname FROM pg_class
 WHERE relnamespace = to_regnamespace(quote_ident(%s)) AND relkind IN ('r', 'p') ORDER BY relname
"""
SHOWN = """
SELECT obj_description(to_regclass(quote_ident(%s) || '.' || quote_ident(%s)), 'pg_class')
"""


async def exclusively(connection: AsyncConnection[Any]) -> None:
    """Be the only one that creates, shows or drops such tables, until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s::bigint)", (LOCK,))
    await connection.execute("SET LOCAL client_min_messages = warning")


async def look_into(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Let the session find the tables of this read model before others of the same name."""
    await connection.execute(LOOK_INTO, (read_model.schema,))


async def create_tables(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Make the schema and its tables anew; the session looks into it from now on."""
    await drop_tables(connection, read_model)
    await connection.execute(_sql("CREATE SCHEMA {}", read_model.schema))
    await look_into(connection, read_model)
    if read_model.create:
        await connection.execute(read_model.create)


async def drop_tables(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Drop the schema and all that is in it, if it is there."""
    await connection.execute(_sql("DROP SCHEMA IF EXISTS {} CASCADE", read_model.schema))


async def rename(connection: AsyncConnection[Any], was: ReadModel, becomes: ReadModel) -> None:
    """Give all tables of one another's place, which is free."""
    await connection.execute(_sql("ALTER SCHEMA {} RENAME TO {}", was.schema, becomes.schema))


async def tables_of(connection: AsyncConnection[Any], read_model: ReadModel) -> list[str]:
    """The names of its tables."""
    cursor = await connection.execute(TABLES, (read_model.schema,))
    return [row[0] for row in await cursor.fetchall()]


async def show(
    connection: AsyncConnection[Any], read_model: ReadModel, *, becomes: ReadModel | None = None
) -> None:
    """Let views of the plain names show its tables, also when these have become another's.

    Raises LockNotAvailable while somebody's long transaction reads them.
    """
    caption = f"Tables of {(becomes or read_model).schema}, for those who look by name."
    await connection.execute(_sql("SET LOCAL lock_timeout = {}", text=PATIENCE))
    row = await (await connection.execute(HOME)).fetchone()
    home = row[0] if row else "public"
    for table in await tables_of(connection, read_model):
        shown = await (await connection.execute(SHOWN, (home, table))).fetchone()
        if not becomes and shown == (caption,):
            continue
        if await _shown(connection, read_model, home, table):
            await connection.execute(_sql("COMMENT ON VIEW {}.{} IS {}", home, table, text=caption))


async def _shown(
    connection: AsyncConnection[Any], read_model: ReadModel, home: str, table: str
) -> bool:
    names = (home, table, read_model.schema, table)
    try:
        async with connection.transaction():
            await connection.execute(
                _sql("CREATE OR REPLACE VIEW {}.{} AS SELECT * FROM {}.{}", *names)
            )
    except errors.InvalidTableDefinition:  # its columns are others
        try:
            async with connection.transaction():
                await connection.execute(_sql("DROP VIEW {}.{}", home, table))
                await connection.execute(_sql("CREATE VIEW {}.{} AS SELECT * FROM {}.{}", *names))
        except errors.DependentObjectsStillExist:
            log.warning(
                "the view stays as it is, because others depend on it",
                extra={"view": table, "wanted": read_model.schema},
            )
            return False
    return True


def _sql(template: LiteralString, *names: str, text: str | None = None) -> sql.Composed:
    """The template with these identifiers, and with this text as the last value."""
    values: list[sql.Composable] = [sql.Identifier(name) for name in names]
    return sql.SQL(template).format(*values, *([] if text is None else [sql.Literal(text)]))
