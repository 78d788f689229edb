"""`darkroom replay` as an operator types it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import psycopg
import pytest

from infrastructure.beside_up import left_for_others
from infrastructure.event_store.follower import Follower
from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.event_store.leadership import take_duty
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.read_models import discover
from infrastructure.settings import without_settings
from tests.e2e.test_cli import assert_refused, darkroom
from tests.e2e.typed import on_a_terminal
from tests.integration.following import eventually, rows, running
from tests.integration.test_read_models import History, up_to_date

MANY_MORE = """
INSERT INTO stored_events (originator_id, originator_version, topic, state, recorded_at)
SELECT md5(originator_id::text || n)::uuid, originator_version, topic, state, recorded_at
  FROM stored_events, generate_series(1, 3000) n WHERE topic LIKE 'generation.%'
 ORDER BY n, notification_id
"""


@pytest.fixture
async def database(database_url: str) -> str:
    """With a history of generations that went every way there is, followed."""
    await ensure_tables(database_url)
    store = PostgresEventStore(database_url)
    await store.open()
    async with running(*(Follower(database_url, model) for model in discover())):
        await History(store).of_every_kind()
        await up_to_date(store)
    await store.close()
    return database_url


async def test_read_models_are_rebuilt_and_what_differed_is_told_without_content(
    database: str,
) -> None:
    ((ref,),) = await rows(database, "SELECT id FROM image_generations WHERE prompt = 'waits'")
    await rows(database, "UPDATE image_generations SET prompt = 'a hidden wish' WHERE id = %s", ref)

    check, one, all_ = (
        darkroom("replay", *arguments, DATABASE_URL=database)
        for arguments in (("--check",), ("image_generations",), ())
    )

    assert (check.returncode, one.returncode, all_.returncode) == (1, 0, 0)
    assert f"0 only in the rebuilt one, 1 unequal ({ref})" in check.stdout
    assert one.stdout.startswith("image_generations: rebuilt from ")
    assert "no differences" not in one.stdout
    assert [line.split(":")[0] for line in all_.stdout.splitlines()] == [
        model.name for model in discover()
    ]
    assert all_.stdout.count("no differences") == len(discover())
    assert "hidden" not in check.stdout + check.stderr + one.stdout
    assert (await rows(database, "SELECT prompt FROM image_generations WHERE id = %s", ref)) == [
        ("waits",)
    ]


async def test_json_has_every_figure(database: str) -> None:
    ((users,),) = await rows(database, "SELECT count(*) FROM users")
    await rows(database, "DELETE FROM users")

    run = darkroom("replay", "users", "--check", "--json", DATABASE_URL=database)

    ((ids),) = (json.loads(run.stdout)["readModels"],)
    (told,) = ids
    assert (run.returncode, run.stderr) == (1, "")
    assert (told["name"], told["swapped"], told["parked"]) == ("users", False, 0)
    assert told["events"] == (await rows(database, "SELECT count(*) FROM stored_events"))[0][0]
    (difference,) = told["differences"]
    counts = (difference["onlyLive"], difference["onlyRebuilt"], difference["unequal"])
    assert (difference["table"], counts, len(difference["keys"])) == ("users", (0, users, 0), users)


async def test_beside_up_it_finds_the_database(
    database: str, redis_url: str, tmp_path: Path
) -> None:
    with left_for_others(tmp_path, {"DATABASE_URL": database, "REDIS_URL": redis_url}):
        run = darkroom("replay", "jobs", DARKROOM_DATA_DIR=str(tmp_path))

    assert run.stdout.startswith("jobs: rebuilt from ")


async def test_on_a_terminal_a_bar_shows_how_far_it_is(database: str) -> None:
    shown = await asyncio.to_thread(on_a_terminal, "replay", "jobs", DATABASE_URL=database)

    ((events,),) = await rows(database, "SELECT count(*) FROM stored_events")
    assert f"{events}/{events}" in shown
    assert "jobs: rebuilt from" in shown


async def test_each_mistake_is_a_sentence(database_url: str) -> None:
    unknown = darkroom("replay", "jbos", DATABASE_URL=database_url)
    assert_refused(
        unknown, 2, "There is no read model 'jbos': choose from api_keys, image_generations"
    )
    empty = darkroom("replay", "jobs", DATABASE_URL=database_url)
    assert_refused(empty, 6, "run `darkroom migrate`")
    nobody = "postgresql://darkroom:hidden@127.0.0.1:1/darkroom"
    away = darkroom("replay", DATABASE_URL=nobody)
    assert_refused(away, 6, "api_keys was not exchanged: ")
    checking = darkroom("replay", "jobs", "--check", DATABASE_URL=nobody)
    assert_refused(checking, 6, "jobs was not compared: ")


async def test_what_was_exchanged_before_one_that_could_not_be_is_told(
    database: str,
) -> None:
    async with await psycopg.AsyncConnection.connect(database) as another:
        assert await take_duty(another, "replay users_v2")
        run = await asyncio.to_thread(darkroom, "replay", "--json", DATABASE_URL=database)

    told = [outcome["name"] for outcome in json.loads(run.stdout)["readModels"]]
    assert told == ["api_keys", "image_generations", "jobs"]
    assert run.returncode == 6
    assert "users was not exchanged: Another replay of 'users' is under way." in run.stderr


async def test_tables_that_are_not_there_are_named_and_made_again(database: str) -> None:
    await rows(database, "DROP SCHEMA jobs_v1 CASCADE")

    check, mends = (
        darkroom("replay", "jobs", *more, DATABASE_URL=database) for more in (("--check",), ())
    )

    assert (check.returncode, mends.returncode) == (1, 0)
    assert "  jobs: not there in the live one, " in check.stdout
    assert await rows(database, "SELECT count(*) FROM jobs") == await rows(
        database, "SELECT count(*) FROM image_generations"
    )


async def test_migrate_makes_again_what_is_not_there_and_says_so(database: str) -> None:
    await rows(database, "DROP TABLE jobs_v1.jobs CASCADE")

    run = darkroom("migrate", DATABASE_URL=database)

    assert (run.returncode, run.stdout) == (0, "")
    assert "made anew, because not there: jobs_v1.jobs" in run.stderr
    assert await rows(database, "SELECT count(*) FROM jobs") == [(0,)]


async def test_ctrl_c_ends_it_and_changes_nothing(database: str) -> None:
    await rows(database, MANY_MORE)
    last = "(SELECT max(notification_id) FROM stored_events)"
    await rows(database, f"UPDATE follower_positions SET position = {last}")
    before = await rows(database, "SELECT count(*), min(xmin::text) FROM jobs_v1.jobs")
    command = [sys.executable, "-m", "interfaces.cli.main", "replay", "jobs"]
    replaying = await asyncio.create_subprocess_exec(
        *command, env=without_settings(os.environ) | {"DATABASE_URL": database}
    )
    await eventually(lambda: there(database, "jobs_beside_v1"), what="its building")
    replaying.send_signal(signal.SIGINT)
    status = await asyncio.wait_for(replaying.wait(), 20)

    assert status == 130
    assert not await there(database, "jobs_beside_v1")
    assert await rows(database, "SELECT count(*), min(xmin::text) FROM jobs_v1.jobs") == before


async def there(database: str, schema: str) -> bool:
    return bool((await rows(database, "SELECT to_regnamespace(%s) IS NOT NULL", schema))[0][0])
