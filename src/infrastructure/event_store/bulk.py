"""Lets a schema's tables be filled fast: without indexes and without writing ahead, until done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection, sql

from infrastructure.event_store.read_model_schemas import tables_of
from infrastructure.read_models.read_model import ReadModel

# All but those of primary keys and constraints, which statements may rely on.
INDEXES = """
SELECT c.relname, pg_get_indexdef(i.indexrelid)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE c.relnamespace = to_regnamespace(quote_ident(%s))
   AND NOT i.indisunique
   AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
 ORDER BY c.relname
"""


async def begin(connection: AsyncConnection[Any], read_model: ReadModel) -> Sequence[str]:
    """Drop the indexes of empty tables, which a crash may now empty; what makes them again."""
    indexes = await (await connection.execute(INDEXES, (read_model.schema,))).fetchall()
    for name, _ in indexes:
        await connection.execute(_sql("DROP INDEX {}", read_model.schema, name))
    for table in await tables_of(connection, read_model):
        place = read_model.schema, table
        await connection.execute(_sql("ALTER TABLE {} SET UNLOGGED", *place))
        await connection.execute(_sql("ALTER TABLE {} SET (autovacuum_enabled = off)", *place))
    return [definition for _, definition in indexes]


async def end(
    connection: AsyncConnection[Any], read_model: ReadModel, indexes: Sequence[str]
) -> None:
    """Make the tables as durable as any, without dead rows, with all indexes and statistics."""
    for table in await tables_of(connection, read_model):
        place = read_model.schema, table
        await connection.execute(_sql("ALTER TABLE {} SET LOGGED", *place))
        await connection.execute(_sql("ALTER TABLE {} RESET (autovacuum_enabled)", *place))
    for definition in indexes:
        await connection.execute(definition)
    for table in await tables_of(connection, read_model):
        await connection.execute(_sql("ANALYZE {}", read_model.schema, table))


def _sql(template: Any, *names: str) -> sql.Composed:
    return sql.SQL(template).format(sql.Identifier(*names))
