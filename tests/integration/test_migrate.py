"""Migrations: again, at once, and after a kill in the middle."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from infrastructure.event_store.migrate import LOCK, NotMigratedError, migrate
from tests.conftest import PostgresServer

MIGRATE = "import sys; from infrastructure.event_store.migrate import migrate; migrate(sys.argv[1])"


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> str:
    return postgres_server.new_database()


def start_migrating(url: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", MIGRATE, url])


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {name for (name,) in rows}


def log_identities(url: str) -> int:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT count(*) FROM log").fetchall()
        return int(rows[0][0])


def until(query: str, url: str) -> None:
    give_up_at = time.monotonic() + 20
    with psycopg.connect(url, autocommit=True) as connection:
        while not connection.execute(query).fetchone():
            assert time.monotonic() < give_up_at, query
            time.sleep(0.005)


def test_migrating_again_changes_nothing(empty_database: str) -> None:
    migrate(empty_database)
    before = tables(empty_database)
    migrate(empty_database)
    assert tables(empty_database) == before
    assert {"stored_events", "work", "workers", "quota_counters"} <= before
    assert log_identities(empty_database) == 1


def test_several_processes_may_migrate_at_once(empty_database: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        started = [pool.submit(start_migrating, empty_database) for _ in range(4)]
        assert [future.result().wait(60) for future in started] == [0] * 4
    assert log_identities(empty_database) == 1


def test_a_kill_in_the_middle_leaves_nothing_and_blocks_nobody(empty_database: str) -> None:
    with psycopg.connect(empty_database) as blocker:
        # The migration comes as far as this lock and waits inside its transaction.
        blocker.execute("CREATE TYPE work AS (n int)")
        migrating = start_migrating(empty_database)
        until("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype <> 'relation'", empty_database)
        until(f"SELECT 1 FROM pg_locks WHERE objid = {LOCK % 2**32} AND granted", empty_database)
        migrating.kill()
        assert migrating.wait() == -9
        blocker.rollback()
    migrate(empty_database)
    assert log_identities(empty_database) == 1


def test_a_newer_releases_schema_is_left_as_it_is(empty_database: str) -> None:
    migrate(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = tables(empty_database)
    migrate(empty_database)
    assert tables(empty_database) == before


@pytest.mark.parametrize(
    "earlier", ["UPDATE log SET made_of = 'another'", "ALTER TABLE log DROP COLUMN made_of"]
)
def test_a_database_of_an_earlier_build_is_told_and_left_as_it_is(
    empty_database: str, earlier: str
) -> None:
    migrate(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute(earlier)
    with pytest.raises(NotMigratedError, match="earlier build of an unreleased version"):
        migrate(empty_database)
    assert log_identities(empty_database) == 1


def test_a_database_of_an_earlier_build_is_not_migrated_to_a_newer_schema(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(empty_database)
    with psycopg.connect(empty_database, autocommit=True) as connection:
        connection.execute("UPDATE log SET made_of = 'another'")
    for module in ("schema", "migrate"):
        monkeypatch.setattr(f"infrastructure.event_store.{module}.newest_revision", lambda: "0002")
    with pytest.raises(NotMigratedError, match="earlier build of an unreleased version"):
        migrate(empty_database)
