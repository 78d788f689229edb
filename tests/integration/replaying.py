"""A read model in which nothing can be missed or doubled unseen, and processes that write it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from domain.generation import Generation
from infrastructure.event_store.follower import Follower
from infrastructure.event_store.replay import replay
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.read_models.read_model import ReadModel, Statement
from tests.integration.following import eventually, rows, running, write

ROOT = Path(__file__).parents[2]

TOLD = ReadModel(
    name="told",
    version=1,
    create="""
        CREATE TABLE told (id uuid PRIMARY KEY, positions bigint[] NOT NULL, topics text NOT NULL);
        CREATE INDEX told_topics_idx ON told (topics)""",
    statements=(
        Statement(
            Generation.Event,
            """INSERT INTO told (id, positions, topics)
               SELECT id, array_agg(position ORDER BY position),
                      string_agg(topic, ' ' ORDER BY position)
                 FROM jsonb_to_recordset(%s::jsonb) AS r(position bigint, id uuid, topic text)
                GROUP BY id
                   ON CONFLICT (id) DO UPDATE
                  SET positions = told.positions || excluded.positions,
                      topics = told.topics || ' ' || excluded.topics""",
            lambda event: {"topic": event.topic},
        ),
    ),
)

FOLDED = """
SELECT originator_id, array_agg(notification_id ORDER BY notification_id),
       string_agg(split_part(topic, '@', 1), ' ' ORDER BY notification_id)
  FROM stored_events WHERE topic LIKE 'generation.%' GROUP BY 1 ORDER BY 1
"""


async def told_everything(database_url: str, table: str = "told") -> None:
    """Wait until the tables hold every event of the log, in order, once."""

    async def complete() -> bool:
        if await rows(database_url, "SELECT to_regclass(%s) IS NULL", table) == [(True,)]:
            return False
        held = await rows(database_url, f"SELECT * FROM {table} ORDER BY id")
        return held == await rows(database_url, FOLDED)

    await eventually(complete, within=30, what="every event's being told, in order, once")


async def is_made(database_url: str, *models: ReadModel) -> None:
    """Wait until a follower has made the tables of these versions, however far they are."""

    async def all_made() -> bool:
        kept = await rows(database_url, "SELECT name, version FROM follower_positions")
        return {(model.name, model.version) for model in models} <= set(kept)

    await eventually(all_made, what="the tables' being made")


async def no_leftovers(database_url: str, model: ReadModel = TOLD) -> None:
    """Nothing of a replay is left but what took the live one's place."""
    schemas = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s || '_')"
    kept = [(model.schema,)] if model.create else []
    assert await rows(database_url, schemas, model.name) == kept
    positions = "SELECT name, version FROM follower_positions WHERE starts_with(name, %s)"
    assert await rows(database_url, positions, model.name) == [(model.name, model.version)]


async def is_building(database_url: str) -> bool:
    """Whether a replay is somewhere in the middle."""
    query = "SELECT position FROM follower_positions WHERE name = 'told_beside' AND position > 10"
    return bool(await rows(database_url, query))


@asynccontextmanager
async def followed(
    stores: Sequence[PostgresEventStore], database_url: str, *, each: int
) -> AsyncIterator[None]:
    """The live one, which has been told what eight writers wrote and is told more meanwhile."""
    async with running(Follower(database_url, TOLD)):
        await write(stores, each=each)
        await told_everything(database_url)
        yield


@asynccontextmanager
async def read(database_url: str, table: str = "told") -> AsyncIterator[None]:
    """Meanwhile somebody reads: by the plain name, a replay cannot end with the swap."""
    async with await psycopg.AsyncConnection.connect(database_url) as reader:
        name = sql.Identifier(*table.split("."))
        await reader.execute(sql.SQL("SELECT count(*) FROM {}").format(name))
        yield


@contextmanager
def process(what: str, database_url: str, batch: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that follows or replays, until the block ends."""
    command = [sys.executable, "-m", "tests.integration.replaying", what, database_url, str(batch)]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ) as running:
        try:
            yield running
        finally:
            running.kill()


async def _run(what: str, database_url: str, batch: int) -> None:
    if what == "follow":
        await Follower(database_url, TOLD, idle_session_timeout=1.5, batch=batch).run()
    else:
        await replay(database_url, TOLD, batch=batch)


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
