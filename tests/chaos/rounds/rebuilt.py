"""Read models as they are against read models made anew from the log, in a copy of the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from infrastructure.event_store.follower import Follower
from infrastructure.event_store.follower_tables import follower_states
from infrastructure.read_models import discover
from infrastructure.read_models.read_model import ReadModel
from tests.chaos.rounds.stack import rows
from tests.meanwhile import meanwhile

COPY = "rebuilt"
SECONDS = 60.0
CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"
TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = '{}'"
CAUGHT_UP = """
SELECT count(*) FROM follower_positions
 WHERE name = '{}' AND position = (SELECT max(notification_id) FROM stored_events)
"""


async def read_models_are_as_rebuilt(url: str) -> AsyncIterator[str]:
    """A sentence for each row that differs. Every process has ended."""
    name = urlsplit(url).path.lstrip("/")
    admin = urlsplit(url)._replace(path="/postgres").geturl()
    copy = urlsplit(url)._replace(path=f"/{COPY}").geturl()
    await rows(admin, CUT.format(name))  # PostgreSQL may not know yet that somebody is gone
    await rows(admin, f"CREATE DATABASE {COPY} TEMPLATE {name}")
    await rows(copy, "DELETE FROM follower_positions")  # so that all are made anew
    for model in discover():
        await _rebuild(copy, model)
        tables = await rows(copy, TABLES.format(model.schema))
        assert tables or not model.create, f"{model.name} was not made anew"
        for (table,) in tables:
            its_name = f'"{model.schema}"."{table}"'
            live, rebuilt = await _table(url, its_name), await _table(copy, its_name)
            for row in sorted(live ^ rebuilt):
                yield f"{its_name}, {'live' if row in live else 'rebuilt'}: {row}"
    for state in await follower_states(lambda query, _: rows(url, query)):
        if state.parked:
            yield f"{state.name} has {state.parked} parked"


async def _rebuild(url: str, model: ReadModel) -> None:
    async with meanwhile(Follower(url, model).run()), asyncio.timeout(SECONDS):
        while not (await rows(url, CAUGHT_UP.format(model.name)))[0][0]:
            await asyncio.sleep(0.05)


async def _table(url: str, table: str) -> set[str]:
    return {row for (row,) in await rows(url, f"SELECT to_jsonb(t)::text FROM {table} t")}
