"""A second PostgreSQL that follows the first one, and can be made the first."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from infrastructure.embedded import EmbeddedPostgres
from infrastructure.embedded.binaries import postgres_binaries
from infrastructure.embedded.run_as import who_runs


@contextmanager
def standby_of(primary: EmbeddedPostgres, folder: Path) -> Iterator[EmbeddedPostgres]:
    """A read-only copy that receives whatever the primary records."""
    cluster = folder / "cluster"
    cluster.mkdir(parents=True)
    password = cluster / "password"
    password.touch(0o600)
    password.write_text(psycopg.conninfo.conninfo_to_dict(primary.url)["password"])
    run_as = who_runs(postgres_binaries() / "postgres", folder)
    run_as.give(cluster)
    copy = [
        str(postgres_binaries() / "pg_basebackup"),
        *("--dbname", primary.url, "--pgdata", str(cluster / "data")),
        *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
    ]
    subprocess.run(
        run_as.command(copy, signal.SIGKILL), cwd=folder, check=True, capture_output=True
    )
    with EmbeddedPostgres(folder, durable=False) as standby:
        yield standby


def wait_until_replayed(standby: EmbeddedPostgres, place: str, within: float = 30) -> None:
    """Everything up to this place (an LSN) is to be seen on the standby."""
    give_up_at = time.monotonic() + within
    with psycopg.connect(standby.url, autocommit=True) as connection:
        replayed = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        while connection.execute(replayed, (place,)).fetchone() != (True,):
            assert time.monotonic() < give_up_at, f"not within {within} s"
            time.sleep(0.01)


def promote(standby: EmbeddedPostgres) -> None:
    """Let it take over."""
    with psycopg.connect(standby.url, autocommit=True) as connection:
        connection.execute("SELECT pg_promote()")


def written(primary: EmbeddedPostgres) -> str:
    """Up to where it has recorded (an LSN)."""
    with psycopg.connect(primary.url, autocommit=True) as connection:
        row = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
        assert row is not None
        return str(row[0])
