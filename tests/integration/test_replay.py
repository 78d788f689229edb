"""A read model is built anew beside the live one, compared with it, and takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from infrastructure import read_models
from infrastructure.event_store import log_pages
from infrastructure.event_store.comparison import PARKED
from infrastructure.event_store.connections import connect
from infrastructure.event_store.follower import Follower
from infrastructure.event_store.parking import MOST_PARKED
from infrastructure.event_store.replay import (
    NothingToReplayError,
    ParksMoreError,
    compare_with_live,
    replay,
)
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.read_models.read_model import ReadModel
from tests.generations import new_generation
from tests.integration.following import append, eventually, rows, running, write, write_raw
from tests.integration.replaying import (
    TOLD,
    followed,
    is_made,
    no_leftovers,
    process,
    told_everything,
)

OWNER = UUID(int=7)


async def test_while_writers_go_on_and_leaders_are_killed_nothing_is_missed_or_told_twice(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    with ExitStack() as stack:
        followers = [
            stack.enter_context(process("follow", database_url, batch=20)) for _ in range(3)
        ]
        await append(stores[0], new_generation(stores[0].now()))
        await eventually(lambda: shown(database_url), what="the first one's leading")
        writing = asyncio.create_task(write(stores, each=60))
        for killed in (None, followers[0], followers[1]):
            if killed is not None:
                killed.kill()
            outcome = await replay(database_url, TOLD, batch=50)
            assert (outcome.swapped, outcome.differences) == (True, ())
        await writing
        await told_everything(database_url)

    assert await compare_with_live(database_url, TOLD) == ()
    await no_leftovers(database_url)


async def shown(database_url: str) -> bool:
    return bool((await rows(database_url, "SELECT to_regclass('told') IS NOT NULL"))[0][0])


async def test_what_was_altered_is_found_by_a_check_and_mended_by_a_replay(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    async with followed(stores, database_url, each=2):
        ids = [row[0] for row in await rows(database_url, "SELECT id FROM told ORDER BY id")]
        stranger = uuid4()
        await rows(database_url, "UPDATE told SET topics = 'altered' WHERE id = %s", ids[0])
        await rows(database_url, "DELETE FROM told WHERE id = %s", ids[-1])
        await rows(database_url, "INSERT INTO told VALUES (%s, '{}', '')", stranger)

        (found,) = await compare_with_live(database_url, TOLD)
        assert (found.table, found.only_live, found.only_rebuilt, found.unequal) == (
            ("told", 1, 1, 1)
        )
        assert sorted(found.keys) == sorted(map(str, (ids[0], ids[-1], stranger)))
        assert "altered" not in str(found)

        outcome = await replay(database_url, TOLD)
        assert (outcome.swapped, outcome.differences) == (True, (found,))
        await write(stores, each=1)
        await told_everything(database_url)

    assert await compare_with_live(database_url, TOLD) == ()


async def test_what_is_parked_of_the_live_one_is_replaced_by_what_the_rebuilt_one_parks(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    store = stores[0]
    async with running(Follower(database_url, TOLD)):
        await append(store, poisoned := new_generation(store.now()))
        await told_everything(database_url)
        await rows(
            database_url, "ALTER TABLE told_v1.told ADD CHECK (topics NOT LIKE '%cancelled%')"
        )
        poisoned.cancel(by=OWNER)
        await append(store, poisoned)
        await eventually(lambda: parks(database_url, 1), what="being parked")

        outcome = await replay(database_url, TOLD)
        assert PARKED in {found.table for found in outcome.differences}
        assert await parks(database_url, 0)
        poisoned.delete(by=OWNER)
        await append(store, poisoned)
        await told_everything(database_url)


async def test_what_the_rebuilt_one_cannot_project_is_parked_and_told(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    refuses = replace(TOLD, create=f"{TOLD.create}; ALTER TABLE told ADD CHECK (topics <> 'x')")
    async with running(Follower(database_url, refuses)):
        await write(stores, each=2)
        await told_everything(database_url)
        await write_raw(database_url, "generation.cancelled@1", '{"by": "a secret wish"}')
        await eventually(lambda: parks(database_url, 1), what="being parked")
        outcome = await replay(database_url, refuses)

        assert (outcome.parked, outcome.differences) == (1, ())
        assert await parks(database_url, 1)


async def parks(database_url: str, count: int) -> bool:
    query = "SELECT count(*) FROM parked_aggregates WHERE name = 'told'"
    return await rows(database_url, query) == [(count,)]


async def test_an_event_that_only_a_newer_release_knows_is_as_far_as_it_goes(
    store: PostgresEventStore, database_url: str
) -> None:
    async with running(Follower(database_url, TOLD)):
        await append(store, new_generation(store.now()))
        await told_everything(database_url)
        await write_raw(database_url, "tomorrow.melted@1", "{}")
        await append(store, new_generation(store.now()))
        outcome = await replay(database_url, TOLD)

    assert (outcome.events, outcome.swapped, outcome.differences) == (1, True, ())


async def test_readers_see_the_one_or_the_other_and_never_an_error(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    async with followed(stores, database_url, each=2):
        replaying = asyncio.create_task(replays(database_url, times=5))
        reads = await asyncio.gather(
            *(counts(database_url, table, replaying) for table in ("told", "told_v1.told"))
        )
        await replaying

    assert [set(counted) for counted in reads] == [{16}, {16}]


async def replays(database_url: str, times: int) -> None:
    for _ in range(times):
        await replay(database_url, TOLD)


async def counts(database_url: str, table: str, until: asyncio.Task[None]) -> list[int]:
    """What a reader with a prepared statement sees all the while."""
    counted = []
    async with await connect(database_url, "reader") as connection:
        while not until.done():
            query = f"SELECT count(*) FROM {table} WHERE positions IS NOT NULL"
            cursor = await connection.execute(query, prepare=True)
            counted.append((await cursor.fetchone() or (0,))[0])
    return counted


async def test_the_rebuilt_one_has_the_indexes_of_the_live_one_and_is_as_durable(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    made = """SELECT relname, relkind, relpersistence, reloptions FROM pg_class
               WHERE relnamespace = to_regnamespace('told_v1') ORDER BY 1"""
    async with followed(stores, database_url, each=1):
        live = await rows(database_url, made)
        await replay(database_url, TOLD)
        await told_everything(database_url)

    assert await rows(database_url, made) == live


async def test_it_gives_its_duty_up_although_its_sessions_have_not_ended_yet(
    stores: Sequence[PostgresEventStore], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []

    async def kept_open(*args: Any, **settings: Any) -> psycopg.AsyncConnection[Any]:
        connection = await connect(*args, **settings)
        kept.append(connection)
        monkeypatch.setattr(connection, "close", ended)
        return connection

    async def ended() -> None:
        """Later, as a busy server sees it."""

    monkeypatch.setattr("infrastructure.event_store.replay.connect", kept_open)
    try:
        async with followed(stores, database_url, each=2):
            for _ in range(2):
                assert (await replay(database_url, TOLD)).swapped
    finally:
        monkeypatch.undo()
        for connection in kept:
            await connection.close()


async def test_there_has_to_be_a_live_one(database_url: str) -> None:
    async with running(Follower(database_url, TOLD)):
        await eventually(lambda: shown(database_url), what="being there")
    await rows(database_url, "UPDATE log SET identity = gen_random_uuid()")

    with pytest.raises(NothingToReplayError, match="darkroom projector"):
        await replay(database_url, TOLD)


async def test_tables_that_are_not_there_are_a_difference_and_made_again(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    async with running(Follower(database_url, TOLD)):
        await write(stores, each=2)
        await told_everything(database_url)
    await rows(database_url, "DROP SCHEMA told_v1 CASCADE")

    (found,) = await compare_with_live(database_url, TOLD)
    assert (found.missing, found.only_live, found.only_rebuilt, found.unequal) == (True, 0, 16, 0)
    assert len(found.keys) == 5
    outcome = await replay(database_url, TOLD)
    assert (outcome.swapped, outcome.differences) == (True, (found,))
    await told_everything(database_url)
    async with running(Follower(database_url, TOLD)):
        await write(stores, each=1)
        await told_everything(database_url)


async def test_a_rebuilt_one_that_parks_more_does_not_take_the_live_ones_place(
    store: PostgresEventStore, database_url: str
) -> None:
    refuses = f"{TOLD.create}; ALTER TABLE told ADD CHECK (topics NOT LIKE '%cancelled%')"
    async with running(Follower(database_url, TOLD)):
        for count in (1, MOST_PARKED + 1):
            for _ in range(count):
                await append(store, generation := new_generation(store.now()))
                generation.cancel(by=OWNER)
                await append(store, generation)
            await told_everything(database_url)
            with pytest.raises(ParksMoreError, match="The live one stays as it is"):
                await replay(database_url, replace(TOLD, create=refuses))
            await told_everything(database_url)
            assert await parks(database_url, 0)
    await no_leftovers(database_url)


@pytest.mark.parametrize("model", read_models.discover(), ids=lambda model: model.name)
async def test_a_replay_of_each_read_model_leaves_nothing_behind(
    stores: Sequence[PostgresEventStore], database_url: str, model: ReadModel
) -> None:
    async with running(Follower(database_url, model)):
        await is_made(database_url, model)
        await write(stores, each=2)
        for _ in range(2):
            assert (await replay(database_url, model)).swapped
    await no_leftovers(database_url, model)


async def test_replaying_an_older_version_leaves_the_plain_name_to_the_newer_one(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    newer = replace(TOLD, version=2)
    async with running(Follower(database_url, TOLD), Follower(database_url, newer)):
        await is_made(database_url, TOLD, newer)
        await write(stores, each=2)
        await eventually(lambda: shows(database_url, "told_v2"), what="the newer one's being shown")
        await replay(database_url, TOLD)
        assert await shows(database_url, "told_v2")
        await replay(database_url, newer)
        assert await shows(database_url, "told_v2")
        await told_everything(database_url, "told_v1.told")
        await told_everything(database_url)


async def shows(database_url: str, schema: str) -> bool:
    if await rows(database_url, "SELECT to_regclass('told') IS NULL") == [(True,)]:
        return False
    plan = await rows(database_url, "EXPLAIN (VERBOSE) SELECT * FROM told")
    return any(f" {schema}.told " in line for (line,) in plan)


async def test_views_by_the_plain_name_live_on_with_grants_and_others_are_kept_and_named(
    stores: Sequence[PostgresEventStore], database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with followed(stores, database_url, each=2):
        await rows(
            database_url,
            """GRANT SELECT ON told TO pg_monitor, PUBLIC;
               CREATE VIEW by_plain_name AS SELECT * FROM told;
               CREATE VIEW by_version AS SELECT * FROM told_v1.told""",
        )
        for _ in range(2):
            await replay(database_url, TOLD)
            await write(stores, each=1)
            await told_everything(database_url, "by_plain_name")
        assert "others depend on them: by_version" in caplog.text
        assert (await rows(database_url, "SELECT count(*) FROM by_version"))[0][0] == 16
        assert await granted(database_url) == ["PUBLIC", "pg_monitor"]

    await rows(database_url, "DROP VIEW by_plain_name")
    other = replace(TOLD, version=2, create=TOLD.create.replace("(id uuid", "(x int, id uuid"))
    async with running(Follower(database_url, other)):
        await eventually(lambda: shows(database_url, "told_v2"), what="the newer one's being shown")
    assert await granted(database_url) == ["PUBLIC", "pg_monitor"]


async def granted(database_url: str) -> list[str]:
    found = await rows(
        database_url,
        """SELECT CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS who
             FROM pg_class, aclexplode(relacl) WHERE oid = 'told'::regclass AND grantee <> relowner
            ORDER BY who""",
    )
    return [row[0] for row in found]


async def test_a_page_of_the_log_is_bounded_in_bytes(
    store: PostgresEventStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pages, "MOST_BYTES", 250)
    for _ in range(4):
        await write_raw(database_url, "generation.cancelled@1", " " * 100)
    async with await connect(database_url, "reader") as connection:
        page = await log_pages.page(connection, 0, 10)
        rest = await log_pages.page(connection, page[-1][0], 10)

    assert (len(page), log_pages.is_full(page, 10)) == (3, True)
    assert (len(rest), log_pages.is_full(rest, 10)) == (1, False)
