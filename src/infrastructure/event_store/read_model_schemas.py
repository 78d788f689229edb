"""Where the tables of read models lie: a schema for each version, and views of the plain names."""

from __future__ import annotations

import logging
from typing import Any, LiteralString
from uuid import uuid4

from psycopg import AsyncConnection, errors, sql

from infrastructure.read_models.read_model import ReadModel

log = logging.getLogger(__name__)

LOCK = 7232406003
PATIENCE = "200ms"  # for what somebody reads just now; others wait meanwhile
STOPPED_FOR = "5s"  # so long a process may be stopped, not dead, and keep others waiting

IS_THERE = "SELECT to_regnamespace(quote_ident(%s)) IS NOT NULL"
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
ROUTINES = """
SELECT quote_ident(nspname) || '.' || quote_ident(proname)
       || '(' || pg_get_function_identity_arguments(p.oid) || ')'
  FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace
 WHERE pronamespace = to_regnamespace(quote_ident(%s))
"""
READS = """
SELECT DISTINCT r.ev_class AS reader, d.refobjid AS is_read
  FROM pg_rewrite r
  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
                  AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
"""
# The schema whose table a view shows.
SHOWN = f"""
SELECT n.nspname
  FROM ({READS}) reads
  JOIN pg_class c ON c.oid = is_read
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE reader = to_regclass(quote_ident(%s) || '.' || quote_ident(%s))
 LIMIT 1
"""  # noqa: S608  # a constant
VIEW_READERS = f"""
SELECT reader::regclass::text FROM ({READS}) reads
 WHERE is_read = to_regclass(quote_ident(%s) || '.' || quote_ident(%s)) ORDER BY 1
"""  # noqa: S608  # a constant
# Views of somebody's own that read the tables of a schema, also by a plain name that shows them.
READERS = f"""
WITH reads AS ({READS}), plain AS (
    SELECT reader FROM reads JOIN pg_class t ON t.oid = is_read JOIN pg_class v ON v.oid = reader
     WHERE t.relnamespace = to_regnamespace(quote_ident(%(schema)s))
       AND v.relnamespace = to_regnamespace(quote_ident(%(home)s)) AND v.relname = t.relname)
SELECT DISTINCT reader::regclass::text FROM reads JOIN pg_class c ON c.oid = is_read
 WHERE (c.relnamespace = to_regnamespace(quote_ident(%(schema)s))
        OR is_read IN (SELECT reader FROM plain))
   AND reader NOT IN (SELECT reader FROM plain)
 ORDER BY 1
"""  # noqa: S608  # a constant
GRANTS = """
SELECT format('GRANT %%s ON %%s TO %%s%%s', a.privilege_type, c.oid::regclass,
              CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END,
              CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM pg_class c CROSS JOIN aclexplode(c.relacl) a
 WHERE c.oid = to_regclass(quote_ident(%s) || '.' || quote_ident(%s)) AND a.grantee <> c.relowner
"""
MISSING = """
SELECT quote_ident(%s) || '.' || quote_ident(name) FROM unnest(%s::text[]) AS wanted(name)
 WHERE to_regclass(quote_ident(%s) || '.' || quote_ident(name)) IS NULL
"""


async def exclusively(connection: AsyncConnection[Any]) -> None:
    """Be the only one that creates, shows or drops such tables, until the transaction ends.

    For nothing else it waits for long from now on, and when its process is stopped it ends.
    """
    await give_up_when_stopped(connection)
    await connection.execute("SELECT pg_advisory_xact_lock(%s::bigint)", (LOCK,))
    await _quietly(connection)


async def try_exclusively(connection: AsyncConnection[Any]) -> bool:
    """The same, unless somebody else is."""
    await give_up_when_stopped(connection)
    cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s::bigint)", (LOCK,))
    row = await cursor.fetchone()
    await _quietly(connection)
    return bool(row and row[0])


async def give_up_when_stopped(connection: AsyncConnection[Any]) -> None:
    """Others wait for this transaction: it ends when its process says nothing for too long."""
    await connection.execute(
        _sql("SET LOCAL idle_in_transaction_session_timeout = {}", text=STOPPED_FOR)
    )


async def _quietly(connection: AsyncConnection[Any]) -> None:
    await connection.execute(_sql("SET LOCAL lock_timeout = {}", text=PATIENCE))
    await connection.execute("SET LOCAL client_min_messages = warning")


async def look_into(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Let the session find the tables of this read model before others of the same name."""
    await connection.execute(LOOK_INTO, (read_model.schema,))


async def create_tables(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Make the schema and its tables anew; the session looks into it from now on.

    What was there is put aside, for the plain names still show it.
    """
    await drop_tables(connection, read_model.aside)
    await rename(connection, read_model, read_model.aside)
    await connection.execute(_sql("CREATE SCHEMA {}", read_model.schema))
    await look_into(connection, read_model)
    if read_model.create:
        await connection.execute(read_model.create)


async def drop_tables(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Drop the schema with its tables and functions, if it is there.

    What others' views depend on is not ours to drop: it is kept under another name.
    """
    try:
        async with connection.transaction():
            if tables := await tables_of(connection, read_model):
                named = [sql.Identifier(read_model.schema, table) for table in tables]
                await connection.execute(sql.SQL("DROP TABLE {}").format(sql.SQL(", ").join(named)))
            cursor = await connection.execute(ROUTINES, (read_model.schema,))
            for (routine,) in await cursor.fetchall():
                await connection.execute(sql.SQL("DROP ROUTINE {}").format(sql.SQL(routine)))
            await connection.execute(_sql("DROP SCHEMA IF EXISTS {}", read_model.schema))
    except errors.DependentObjectsStillExist:
        await _keep(connection, read_model)


async def _keep(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    kept = f"{read_model.schema}_kept_{uuid4().hex[:8]}"
    await connection.execute(_sql("ALTER SCHEMA {} RENAME TO {}", read_model.schema, kept))
    names = {"schema": kept, "home": await _home(connection)}
    readers = [row[0] for row in await (await connection.execute(READERS, names)).fetchall()]
    log.warning(
        "tables that are not written any more are kept as %s, because others depend on them: %s",
        kept,
        ", ".join(readers) or "not views",
        extra={"tables": kept, "readers": readers},
    )


async def rename(connection: AsyncConnection[Any], was: ReadModel, becomes: ReadModel) -> None:
    """Give all tables of one another's place, which is free; nothing if there are none."""
    row = await (await connection.execute(IS_THERE, (was.schema,))).fetchone()
    if row == (True,):
        await connection.execute(_sql("ALTER SCHEMA {} RENAME TO {}", was.schema, becomes.schema))


async def missing_tables(connection: AsyncConnection[Any], read_model: ReadModel) -> list[str]:
    """What should be there and is not: its schema, or some of its tables."""
    row = await (await connection.execute(IS_THERE, (read_model.schema,))).fetchone()
    if row != (True,):
        return [read_model.schema]
    wanted = read_model.schema, read_model.tables, read_model.schema
    return [row[0] for row in await (await connection.execute(MISSING, wanted)).fetchall()]


async def tables_of(connection: AsyncConnection[Any], read_model: ReadModel) -> list[str]:
    """The names of its tables."""
    cursor = await connection.execute(TABLES, (read_model.schema,))
    return [row[0] for row in await cursor.fetchall()]


async def show(
    connection: AsyncConnection[Any], read_model: ReadModel, *, becomes: ReadModel | None = None
) -> None:
    """Let views of the plain names show its tables.

    Those that are about to become another's are shown where that one's are now. Raises
    LockNotAvailable while somebody's long transaction reads them.
    """
    caption = f"Tables of {(becomes or read_model).schema}, for those who look by name."
    home = await _home(connection)
    for table in await tables_of(connection, read_model):
        shown = await (await connection.execute(SHOWN, (home, table))).fetchone()
        if shown == (read_model.schema,) or (becomes and shown not in (None, (becomes.schema,))):
            continue
        if await _shown(connection, read_model, home, table):
            await connection.execute(_sql("COMMENT ON VIEW {}.{} IS {}", home, table, text=caption))


async def _home(connection: AsyncConnection[Any]) -> str:
    """The schema of the plain names."""
    row = await (await connection.execute(HOME)).fetchone()
    return row[0] if row else "public"


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
                grants = await (await connection.execute(GRANTS, (home, table))).fetchall()
                await connection.execute(_sql("DROP VIEW {}.{}", home, table))
                await connection.execute(_sql("CREATE VIEW {}.{} AS SELECT * FROM {}.{}", *names))
                for (grant,) in grants:
                    await connection.execute(grant)
        except errors.DependentObjectsStillExist:
            cursor = await connection.execute(VIEW_READERS, (home, table))
            readers = [row[0] for row in await cursor.fetchall()]
            log.warning(
                "%s still shows what is not written any more: drop these views, and make them anew"
                " when it shows %s: %s",
                table,
                read_model.schema,
                ", ".join(readers) or "not views",
                extra={"view": table, "wanted": read_model.schema, "readers": readers},
            )
            return False
    return True


def _sql(template: LiteralString, *names: str, text: str | None = None) -> sql.Composed:
    """The template with these identifiers, and with this text as the last value."""
    values: list[sql.Composable] = [sql.Identifier(name) for name in names]
    return sql.SQL(template).format(*values, *([] if text is None else [sql.Literal(text)]))
