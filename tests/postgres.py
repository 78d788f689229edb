"""A second PostgreSQL that follows the first one, and can be made the first."""

from __future__ import annotations

import signal
import subprocess
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


def promote(standby: EmbeddedPostgres, after: str) -> None:
    """Let it take over once it has received everything up to this place (an LSN)."""
    with psycopg.connect(standby.url, autocommit=True) as connection:
        received = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        while connection.execute(received, (after,)).fetchone() != (True,):
            pass
        connection.execute("SELECT pg_promote()")


def written(primary: EmbeddedPostgres) -> str:
    """Up to where it has recorded (an LSN)."""
    with psycopg.connect(primary.url, autocommit=True) as connection:
        row = connection.execute("SELECT pg_current_wal_lsn()::text").fetchone()
        assert row is not None
        return str(row[0])
