"""What two builds of one read model differ in, by table: counts and a few keys, never content."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection, sql

from infrastructure.event_store.parking import parked
from infrastructure.event_store.read_model_schemas import tables_of
from infrastructure.read_models.read_model import ReadModel

KEYS_TOLD = 5
A_FETCH = 5000
PARKED = "parked aggregates"

Row = tuple[str, int]  # its key and its hash
END: Row = ("\U0010ffff", 0)  # behind every key

# What PostgreSQL cannot hash is compared as text; generated columns follow from the others.
COLUMNS = """
SELECT a.attname,
       EXISTS (SELECT FROM pg_opclass o JOIN pg_am m ON m.oid = o.opcmethod
                WHERE m.amname = 'hash' AND o.opcdefault AND o.opcintype = a.atttypid),
       coalesce(a.attnum = ANY (i.indkey), false)
  FROM pg_attribute a
  LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
 WHERE a.attrelid = to_regclass(quote_ident(%s) || '.' || quote_ident(%s))
   AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
 ORDER BY a.attnum
"""


@dataclass(frozen=True)
class TableDifference:
    """In one table: rows that only the live one has, only the rebuilt one, and unequal ones.

    `missing` says that the live one has no such table.
    """

    table: str
    only_live: int
    only_rebuilt: int
    unequal: int
    keys: tuple[str, ...]
    missing: bool = False

    def __str__(self) -> str:
        if self.missing:
            rows = f"{self.only_rebuilt} rows only in the rebuilt one"
            return f"{self.table}: not there in the live one, {rows}"
        return (
            f"{self.table}: {self.only_live} rows only in the live one, {self.only_rebuilt} only in"
            f" the rebuilt one, {self.unequal} unequal ({', '.join(self.keys)}"
            f"{', …' if self.total > len(self.keys) else ''})"
        )

    @property
    def total(self) -> int:
        """How many rows in all."""
        return self.only_live + self.only_rebuilt + self.unequal


@dataclass(frozen=True)
class Build:
    """Tables of a read model, as a connection sees them in its transaction."""

    connection: AsyncConnection[Any]
    read_model: ReadModel


async def differences(live: Build, rebuilt: Build) -> list[TableDifference]:
    """Every table that differs. Both are at the same position, each inside a transaction.

    Equal tables cost a pass of PostgreSQL's over each; of unequal ones the keys and hashes of all
    rows are read side by side, in order, a few thousand at a time.
    """
    there = await tables_of(live.connection, live.read_model)
    tables = await tables_of(rebuilt.connection, rebuilt.read_model)
    found = [await _missing(rebuilt, table) for table in tables if table not in there]
    found += [
        await _difference(live, rebuilt, table)
        for table in tables
        if table in there and await _summary(live, table) != await _summary(rebuilt, table)
    ]
    waiting = await parked(live.connection, live.read_model)
    waits = await parked(rebuilt.connection, rebuilt.read_model)
    if waiting != waits:
        found.append(
            TableDifference(
                table=PARKED,
                only_live=len(waiting - waits),
                only_rebuilt=len(waits - waiting),
                unequal=0,
                keys=tuple(sorted(map(str, waiting ^ waits))[:KEYS_TOLD]),
            )
        )
    return found


async def _summary(build: Build, table: str) -> Any:
    query = sql.SQL("SELECT count(*), sum(({hash})::numeric) FROM {table}").format(
        hash=(await _key_and_hash(build, table))[1], table=_table(build, table)
    )
    return await (await build.connection.execute(query)).fetchone()


async def _missing(rebuilt: Build, table: str) -> TableDifference:
    key = (await _key_and_hash(rebuilt, table))[0]
    query = sql.SQL("SELECT {key} FROM {table} ORDER BY 1 LIMIT {most}").format(
        key=key, table=_table(rebuilt, table), most=KEYS_TOLD
    )
    keys = await (await rebuilt.connection.execute(query)).fetchall()
    return TableDifference(
        table=table,
        only_live=0,
        only_rebuilt=(await _summary(rebuilt, table))[0],
        unequal=0,
        keys=tuple(row[0] for row in keys),
        missing=True,
    )


async def _difference(live: Build, rebuilt: Build, table: str) -> TableDifference:
    found = _Found()
    here, there = _rows(live, table), _rows(rebuilt, table)
    row, other = await anext(here), await anext(there)
    while (row, other) != (END, END):
        if row[0] < other[0]:
            found.only_live += found.told(row)
        elif other[0] < row[0]:
            found.only_rebuilt += found.told(other)
        elif row != other:
            found.unequal += found.told(row)
        behind, ahead = row[0] <= other[0], other[0] <= row[0]
        row = await anext(here) if behind else row
        other = await anext(there) if ahead else other
    return TableDifference(
        table=table,
        only_live=found.only_live,
        only_rebuilt=found.only_rebuilt,
        unequal=found.unequal,
        keys=tuple(found.keys),
    )


@dataclass
class _Found:
    only_live: int = 0
    only_rebuilt: int = 0
    unequal: int = 0
    keys: list[str] = field(default_factory=list)

    def told(self, row: Row) -> int:
        """One more, whose key is kept if there is room."""
        if len(self.keys) < KEYS_TOLD:
            self.keys.append(row[0])
        return 1


async def _rows(build: Build, table: str) -> AsyncIterator[Row]:
    key, hashed = await _key_and_hash(build, table)
    query = sql.SQL('SELECT {key} COLLATE "C", {hash} FROM {table} ORDER BY 1').format(
        key=key, hash=hashed, table=_table(build, table)
    )
    async with build.connection.cursor(name=f"compare_{table}") as cursor:
        cursor.itersize = A_FETCH
        await cursor.execute(query)
        async for row in cursor:
            yield row
    yield END


async def _key_and_hash(build: Build, table: str) -> tuple[sql.Composable, sql.Composable]:
    """The primary key as text, and a hash of the row."""
    cursor = await build.connection.execute(COLUMNS, (build.read_model.schema, table))
    columns = await cursor.fetchall()
    named = [(sql.Identifier(name), hashable, in_key) for name, hashable, in_key in columns]
    values = [name if hashable else sql.SQL("{}::text").format(name) for name, hashable, _ in named]
    keys = [sql.SQL("{}::text").format(name) for name, _, in_key in named if in_key]
    return (
        sql.SQL("concat_ws(' ', {})").format(sql.SQL(", ").join(keys or values)),
        sql.SQL("hash_record_extended(ROW({}), 0)").format(sql.SQL(", ").join(values)),
    )


def _table(build: Build, table: str) -> sql.Identifier:
    return sql.Identifier(build.read_model.schema, table)
