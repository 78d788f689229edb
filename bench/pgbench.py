"""PostgreSQL's own load generator on `append_v1`: what a client that costs nothing would reach."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bench.commands import new_request
from bench.figures import BenchError
from bench.log import Log
from infrastructure.embedded.binaries import postgres_binaries
from infrastructure.event_store.mapper import JsonMapper
from infrastructure.event_store.wire import encode
from infrastructure.leash import leashed

# The client sends the whole command each time, as Darkroom does; the server makes it a new one.
SCRIPT = """
SELECT append_v1(ARRAY[replace(replace(:command::text,
       '{generation}', gen_random_uuid()::text), '{event}', gen_random_uuid()::text)::jsonb]);
"""
CALLS_TO_WARM_UP = 10  # PostgreSQL plans a session's first five calls one by one
SECONDS_TO_WARM_UP = 60.0
LONGEST_RUN = 3600  # seconds; it is ended long before


class Pgbench:
    """Sessions that are kept, as Darkroom keeps its own; between the rounds they are halted."""

    def __init__(self, process: asyncio.subprocess.Process, log: Log) -> None:
        self._process = process
        self._log = log

    async def round(self, seconds: float) -> float:
        """Commands a second, by the log. Raises BenchError."""
        before = self._log.position()
        self._send(signal.SIGCONT)
        await asyncio.sleep(seconds)
        self._send(signal.SIGSTOP)
        await self._settled()
        self._log.take_note()
        return self._log.rate_since(before)

    async def warm_up(self, clients: int) -> None:
        """Until every session has its plans. Raises BenchError."""
        give_up_at = time.monotonic() + SECONDS_TO_WARM_UP
        wanted = self._log.position() + clients * CALLS_TO_WARM_UP
        while self._log.position() < wanted:
            if time.monotonic() > give_up_at:
                raise BenchError("pgbench appends nothing.")
            await asyncio.sleep(0.05)
        self._send(signal.SIGSTOP)
        await self._settled()
        self._log.take_note()

    async def _settled(self) -> None:
        """Until what was sent before the halt is recorded: nobody at work, look by look."""
        idle = 0
        while idle < 3:
            await asyncio.sleep(0.01)
            idle = 0 if self._log.pgbench_is_at_work() else idle + 1

    def _send(self, number: signal.Signals) -> None:
        if self._process.returncode is not None:
            raise BenchError("pgbench ended; the reason is above.")
        self._process.send_signal(number)


@asynccontextmanager
async def pgbench(
    database_url: str, log: Log, folder: Path, *, clients: int
) -> AsyncIterator[Pgbench]:
    """So many clients, each of which sends one command a call, prepared; warm, and halted."""
    request = new_request()
    script = folder / "append.sql"
    script.write_text(SCRIPT.format(generation=request.generation, event=request.event))
    command = _command(script, clients, encode(request.command, JsonMapper()))
    process = await asyncio.create_subprocess_exec(
        *leashed(command, signal.SIGKILL),
        env=_environment(database_url),
        stdin=DEVNULL,
        stdout=DEVNULL,
        start_new_session=True,
    )
    try:
        running = Pgbench(process, log)
        await running.warm_up(clients)
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _command(script: Path, clients: int, command: str) -> list[str]:
    threads = min(clients, os.cpu_count() or 1)
    return [
        str(postgres_binaries() / "pgbench"),
        "--no-vacuum",
        "--protocol=prepared",
        f"--client={clients}",
        f"--jobs={threads}",
        f"--time={LONGEST_RUN}",
        f"--file={script}",
        f"--define=command={command}",
    ]


def _environment(database_url: str) -> dict[str, str]:
    url = urlsplit(database_url)
    return {
        "PATH": os.environ["PATH"],
        "PGHOST": url.hostname or "",
        "PGPORT": str(url.port),
        "PGUSER": unquote(url.username or ""),
        "PGPASSWORD": unquote(url.password or ""),
        "PGDATABASE": url.path.lstrip("/"),
    }
