"""Real processes of Darkroom, on a database of their own, with nobody else's settings."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import secrets
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Container, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from bench.figures import BenchError
from bench.http import HOST, Connection, written
from bench.load import Load
from bench.servers import Servers
from infrastructure.leash import leashed
from infrastructure.settings import MOST_IN_FLIGHT, without_settings

ROOT = Path(__file__).parent.parent
SECONDS_TO_START = 30.0
SECONDS_TO_STOP = 20.0
GENERATIONS = "/api/v1/generations"


class Service:
    """Where it listens, and what one knows of it from outside."""

    def __init__(self, servers: Servers, database_url: str) -> None:
        self.database_url = database_url
        self.folder = servers.new_folder()
        self.port = _free_port()
        self.ledger = self.folder / "ledger.jsonl"
        self.pids: dict[str, int] = {}
        self.servers = servers
        self.key = secrets.token_urlsafe(24)
        self.environment = without_settings(os.environ) | {
            "DATABASE_URL": database_url,
            "REDIS_URL": servers.empty_redis(),
            "DARKROOM_DATA_DIR": str(self.folder / "data"),
            "DARKROOM_PORT": str(self.port),
            "DARKROOM_ADMIN_KEY": self.key,
            "DARKROOM_DAILY_QUOTA": "unlimited",
            "DARKROOM_MONTHLY_QUOTA": "unlimited",
            "DARKROOM_KEY_RATE": "none",
            "DARKROOM_USER_RATE": "none",
            "DARKROOM_MOST_IN_FLIGHT": f"{MOST_IN_FLIGHT}",
            "DARKROOM_MOST_IN_FLIGHT_PER_USER": f"{MOST_IN_FLIGHT}",
            "DARKROOM_SKETCH_LEDGER": str(self.ledger),
            "DARKROOM_LOG_FORMAT": "json",
        }

    def request(self, *, size: str, wait: bool, key: str | None = None) -> bytes:
        """A request for one picture; `wait` for it, or be answered as soon as it is recorded.

        The administrator's, unless another key is shown.
        """
        headers = {"Authorization": f"Bearer {key or self.key}"}
        if not wait:
            headers["Prefer"] = "respond-async"
        body = {
            "prompt": "A lighthouse on a cliff at dusk, one lamp lit, woodcut",
            "size": size,
            "metadata": {"order": "4711"},
        }
        return written("POST", GENERATIONS, headers, body)

    def get(self, path: str) -> bytes:
        """A GET by the same caller."""
        return written("GET", path, {"Authorization": f"Bearer {self.key}"})

    async def load(
        self,
        request: bytes,
        *,
        connections: int,
        seconds: float,
        rate: float | None = None,
        most: int | None = None,
    ) -> Load:
        """What the load client saw, which runs in a process of its own."""
        given = {"--rate": rate, "--most": most}
        options = [f"{name}={value}" for name, value in given.items() if value is not None]
        process = await asyncio.create_subprocess_exec(
            *leashed(
                [
                    *python("bench.load"),
                    f"--port={self.port}",
                    f"--connections={connections}",
                    f"--seconds={seconds}",
                    *options,
                ],
                signal.SIGKILL,
            ),
            cwd=ROOT,
            stdin=PIPE,
            stdout=PIPE,
            start_new_session=True,  # the terminal's Ctrl-C is for its parent alone
        )
        try:
            said, _ = await process.communicate(request)
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode != 0:
            raise BenchError("The load client failed, for the reason above.")
        return Load(**json.loads(said))

    async def wait_until_ready(self, process: Process, path: str) -> None:
        """Until `path` is answered below 500. Raises BenchError."""
        give_up_at = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < give_up_at and process.returncode is None:
            if await self._answers(path):
                return
            await asyncio.sleep(0.05)
        raise BenchError(f"The service did not start. It last said:\n{self.last_words()}")

    def last_words(self) -> str:
        """The ends of its processes' logs."""
        return "".join(_last_lines(log) for log in self.folder.glob("*.log"))

    async def _answers(self, path: str) -> bool:
        try:
            connection = await Connection.open(self.port)
            answer = await connection.ask(written("GET", path, {}))
            connection.close()
        except OSError:
            return False
        return answer.status < 500


@asynccontextmanager
async def darkroom(
    servers: Servers, database_url: str, *names: str, **settings: str
) -> AsyncIterator[Service]:
    """The `darkroom` processes of these names, the api among them."""
    service = Service(servers, database_url)
    service.environment |= settings
    async with AsyncExitStack() as stack:
        for name in names:
            command = [*python("interfaces.cli.main"), name]
            process = await stack.enter_async_context(running(name, command, service))
            if name == "api":
                await service.wait_until_ready(process, "/readyz")
        yield service


@asynccontextmanager
async def plain_route(servers: Servers, database_url: str) -> AsyncIterator[Service]:
    """The route that only authenticates and validates, in a process like the api's."""
    service = Service(servers, database_url)
    async with running("plain-route", python("bench.plain_route"), service) as process:
        await service.wait_until_ready(process, "/")
        yield service


@asynccontextmanager
async def running(name: str, command: Sequence[str], service: Service) -> AsyncIterator[Process]:
    """A process with the service's settings, whose output goes to a log in the service's folder."""
    name = _numbered(name, service.pids)
    with (service.folder / f"{name}.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *leashed(command, signal.SIGKILL),
            cwd=ROOT,
            env=service.environment,
            stdin=DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    service.pids[name] = process.pid
    try:
        yield process
    finally:
        await _stop(process)
        del service.pids[name]


async def _stop(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(SECONDS_TO_STOP):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _numbered(name: str, taken: Container[str]) -> str:
    """`worker`, and `worker 2` when there is one."""
    names = itertools.chain([name], (f"{name} {number}" for number in itertools.count(2)))
    return next(free for free in names if free not in taken)


def python(module: str) -> list[str]:
    """The command that runs a module of ours."""
    return [sys.executable, "-m", module]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-10:]) + "\n"
