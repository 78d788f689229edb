"""What an operator types: one sentence for every mistake, and 0, 1 or 2 to say how it went."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest
import typer
from alembic.config import Config
from alembic.script import ScriptDirectory

from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.event_store.schema import MIGRATIONS, newest_revision
from infrastructure.read_models import discover
from infrastructure.settings import without_settings
from interfaces.cli.main import app
from tests.conftest import PostgresServer
from tests.integration.following import rows, write_raw

NOBODY_THERE = "postgresql://darkroom:hidden-word@127.0.0.1:1/darkroom"
MIGRATED = (
    "from infrastructure.event_store.migrate import migrate; import sys; migrate(sys.argv[1])"
)
CLIENT_IMPORTS = """
import sys, interfaces.cli.main, interfaces.cli.generate, interfaces.cli.history
import interfaces.cli.show
service = ("application", "domain", "fastapi", "psycopg", "redis", "arq", "pydantic", "uvicorn")
print([name for name in service if name in sys.modules])
"""
IMPORTED = "print([name for name in ('alembic', 'sqlalchemy') if name in sys.modules])"


def darkroom(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Type it; nothing is set but what is given."""
    environment = without_settings(os.environ) | variables
    return python("-m", "interfaces.cli.main", *arguments, env=environment)


def python(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=60)


def assert_refused(run: subprocess.CompletedProcess[str], status: int, sentence: str) -> None:
    assert run.returncode == status, run.stderr
    assert run.stderr.startswith("darkroom: ")
    assert sentence in run.stderr
    assert run.stderr.count("\n") == 1
    assert "hidden" not in run.stderr


def test_the_version_is_the_packages() -> None:
    assert darkroom("--version").stdout == f"darkroom {version('darkroom')}\n"


# --- config --------------------------------------------------------------------------------------


def test_config_shows_every_setting_and_which_are_defaults() -> None:
    run = darkroom("config", DARKROOM_PORT="8123", DARKROOM_DAILY_QUOTA="unlimited")
    shown = dict(line.split(maxsplit=1) for line in run.stdout.splitlines())
    assert run.returncode == 0
    assert shown["DARKROOM_PORT"] == "8123"
    assert shown["DARKROOM_DAILY_QUOTA"] == "unlimited"
    assert shown["DARKROOM_MONTHLY_QUOTA"] == "10000  (default)"
    assert shown["DARKROOM_PUBLIC_URL"] == "http://127.0.0.1:8123  (default)"
    assert shown["DATABASE_URL"] == "not set  (default)"


def test_config_shows_no_secret() -> None:
    run = darkroom(
        "config",
        DATABASE_URL=NOBODY_THERE,
        REDIS_URL="redis://:hidden-word@127.0.0.1:1/0",
        DARKROOM_ADMIN_KEY="hidden-word-of-an-administrator",
    )
    assert "@127.0.0.1:1/darkroom\n" in run.stdout
    assert "hidden" not in run.stdout + run.stderr


def test_config_tells_mistakes_instead() -> None:
    assert_refused(darkroom("config", DARKROOM_PORT="x"), 2, "DARKROOM_PORT must be a whole number")


def test_config_shows_what_client_commands_read_and_speaks_json() -> None:
    given = {
        "DARKROOM_URL": "https://pictures.example.com",
        "DARKROOM_API_KEY": "hidden-word-of-a-user",
    }
    run = darkroom("config", "--json", **given)
    shown = json.loads(run.stdout)
    assert shown["DARKROOM_URL"] == {"value": given["DARKROOM_URL"], "isDefault": False}
    assert shown["DARKROOM_API_KEY"] == {"value": "********", "isDefault": False}
    assert shown["DARKROOM_PORT"] == {"value": "8000", "isDefault": True}
    assert "hidden" not in run.stdout
    assert "DARKROOM_API_KEY                 not set  (default)\n" in darkroom("config").stdout


# --- login links ----------------------------------------------------------------------------------


def test_a_login_link_leads_to_the_public_address(tmp_path: Path) -> None:
    given = {"DARKROOM_ADMIN_KEY": "hidden-word-of-an-administrator"}
    run = darkroom("login-link", DARKROOM_PUBLIC_URL="https://pictures.example.com", **given)
    assert re.fullmatch(r"https://pictures\.example\.com/auth/link\?token=[\w.-]+\n", run.stdout)
    assert "hidden" not in run.stdout
    assert darkroom("login-link", **given).stdout.startswith("http://127.0.0.1:8000/auth/link?")


def test_without_a_key_there_is_no_login_link(tmp_path: Path) -> None:
    run = darkroom("login-link", DARKROOM_DATA_DIR=str(tmp_path))
    assert_refused(run, 3, "There is no administrator's key: DARKROOM_ADMIN_KEY is not set, and")
    (tmp_path / "admin-key").write_text("short")
    assert_refused(darkroom("login-link", DARKROOM_DATA_DIR=str(tmp_path)), 3, "admin-key must ")


# --- help and completion -------------------------------------------------------------------------


def test_help_groups_the_commands_and_each_teaches_by_an_example() -> None:
    text = darkroom("--help").stdout
    panels = {panel: text.index(panel) for panel in ("Use it", "Run it", "Operate it")}
    assert panels["Use it"] < text.index("generate ", panels["Use it"]) < panels["Run it"]
    assert panels["Run it"] < text.index("projector ") < panels["Operate it"]
    assert "Exit status: 0 done" in text
    assert "docs/operating.md" in text
    commands = [command.name for command in typer.main.get_command(app).commands.values()]
    for command in commands:
        example = re.search(rf"^ .*darkroom {command}\b", darkroom(command, "--help").stdout, re.M)
        assert example, command


def test_wrong_usage_is_two() -> None:
    for arguments in (("generat",), ("generate",), ("history", "--limit", "0"), ("show",)):
        assert darkroom(*arguments).returncode == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete(shell: str) -> None:
    assert "_DARKROOM_COMPLETE" in script_of(darkroom("--show-completion", shell))


def script_of(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("darkroom gen", ["generate"]),
        ("darkroom history --status c", ["completed", "cancelled"]),
        ("darkroom generate x --provider s", ["sketch", "stability"]),
        ("darkroom generate x --aspect 16", ["16:9"]),
        ("darkroom generate x --no-w", ["--no-wait"]),
    ],
)
def test_commands_options_and_values_are_completed(words: str, completed: list[str]) -> None:
    asked = {
        "_DARKROOM_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": f"{words.count(' ')}",
        "DARKROOM_PORT": "not looked at",
    }
    run = darkroom(**asked)
    assert sorted(run.stdout.split()) == sorted(completed), run.stderr


def test_a_client_command_loads_no_part_of_the_service() -> None:
    """It is to begin at once, and to speak HTTP alone."""
    run = python("-c", CLIENT_IMPORTS, env=dict(os.environ))
    assert run.stdout == "[]\n", run.stderr


# --- migrate -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["migrate", "retry-parked"])
def test_a_database_that_cannot_be_reached_is_told_in_a_sentence(command: str) -> None:
    run = darkroom(command, DATABASE_URL=NOBODY_THERE)
    assert_refused(run, 6, 'connection to server at "127.0.0.1", port 1 failed')


@pytest.mark.parametrize("command", ["migrate", "retry-parked"])
def test_commands_on_the_database_need_its_address(command: str, tmp_path: Path) -> None:
    nowhere = {"DARKROOM_DATA_DIR": str(tmp_path)}
    assert_refused(darkroom(command, **nowhere), 2, "DATABASE_URL is not set")
    assert_refused(darkroom(command, DATABASE_URL="mysql://x"), 2, "must start with postgresql://")


async def test_migrate_needs_the_address_of_the_database_alone(
    postgres_server: PostgresServer,
) -> None:
    url = postgres_server.new_database()
    for _ in range(2):
        run = darkroom("migrate", DATABASE_URL=url, DARKROOM_PORT="not looked at")
        assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert await rows(url, "SELECT name FROM follower_positions") != []


async def test_a_database_of_a_newer_release_is_left_as_it_is(database_url: str) -> None:
    await rows(database_url, "UPDATE alembic_version SET version_num = '9999'")
    run = darkroom("migrate", DATABASE_URL=database_url)
    assert (run.returncode, run.stderr) == (0, "")
    found = await rows(database_url, "SELECT version_num FROM alembic_version")
    assert found == [("9999",)]


async def test_a_database_of_an_unknown_revision_is_told_in_a_sentence(database_url: str) -> None:
    await rows(database_url, "UPDATE alembic_version SET version_num = '0000'")
    run = darkroom("migrate", DATABASE_URL=database_url)
    assert_refused(run, 1, "The database was not migrated: Can't locate revision")


async def test_migrate_says_what_it_waited_for_when_tables_cannot_be_made_anew(
    database_url: str,
) -> None:
    await ensure_tables(database_url)
    await rows(database_url, "DROP TABLE jobs_v1.jobs CASCADE")
    async with await psycopg.AsyncConnection.connect(database_url) as follower:
        await follower.execute("SELECT FROM follower_positions WHERE name = 'jobs' FOR UPDATE")
        run = darkroom("migrate", DATABASE_URL=database_url)
    assert_refused(run, 6, "The schema is up to date. The tables of 'jobs' have to be made anew")
    assert "End that one, and run `darkroom migrate` again" in run.stderr

    assert darkroom("migrate", DATABASE_URL=database_url).returncode == 0
    assert await rows(database_url, "SELECT count(*) FROM jobs") == [(0,)]


def test_where_nothing_is_to_be_migrated_alembic_is_not_even_imported(database_url: str) -> None:
    run = python("-c", f"{MIGRATED}; {IMPORTED}", database_url, env=dict(os.environ))
    assert run.stdout == "[]\n"


def test_the_newest_revision_is_the_one_that_alembic_finds() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert newest_revision() == ScriptDirectory.from_config(config).get_current_head()


# --- retry-parked --------------------------------------------------------------------------------


async def test_retry_parked_says_how_many_stay_parked(database_url: str) -> None:
    await ensure_tables(database_url)
    await write_raw(database_url, "generation.cancelled@1", '{"by": "a hidden wish"}')
    await rows(database_url, "UPDATE follower_positions SET position = 1")
    await rows(
        database_url,
        "INSERT INTO parked_aggregates SELECT 'jobs', 1, originator_id, 1, 'unreadable'"
        " FROM stored_events",
    )

    every, one = (
        darkroom("retry-parked", *name, DATABASE_URL=database_url) for name in ((), ("users",))
    )

    names = [model.name for model in discover()]
    told = [f"{name}: {1 if name == 'jobs' else 0} parked" for name in names]
    assert every.stdout.splitlines() == told
    assert (every.returncode, every.stderr) == (1, "")
    assert (one.returncode, one.stdout) == (0, "users: 0 parked\n")


def test_retry_parked_knows_the_read_models(database_url: str) -> None:
    run = darkroom("retry-parked", "jbos", DATABASE_URL=database_url)
    assert_refused(
        run, 2, "There is no read model 'jbos': choose from api_keys, image_generations,"
    )


async def test_retry_parked_needs_tables_of_this_release(
    postgres_server: PostgresServer, database_url: str
) -> None:
    empty = darkroom("retry-parked", DATABASE_URL=postgres_server.new_database())
    assert_refused(empty, 6, "run `darkroom migrate`")
    await ensure_tables(database_url)
    await rows(database_url, "UPDATE follower_positions SET version = 99 WHERE name = 'jobs'")
    other = darkroom("retry-parked", "jobs", DATABASE_URL=database_url)
    assert_refused(other, 6, "Start `darkroom projector` of this release")


# --- the processes -------------------------------------------------------------------------------


@pytest.mark.parametrize("process", ["api", "worker", "projector"])
def test_a_process_without_a_database_is_refused_in_a_sentence(
    process: str, tmp_path: Path
) -> None:
    run = darkroom(process, DARKROOM_DATA_DIR=str(tmp_path))
    assert_refused(run, 2, " is not set")
