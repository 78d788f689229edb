"""`darkroom up`: the whole service on this machine, with servers of its own unless told others."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from infrastructure.beside_up import left_for_others
from infrastructure.embedded import EmbeddedPostgres, EmbeddedRedis, EmbeddedServerError
from infrastructure.embedded.kept import kept_running
from infrastructure.embedded.run_as import NOBODY, ROOT
from infrastructure.leash import leashed
from infrastructure.logging import configure_logging
from infrastructure.processes import Supervisor
from infrastructure.settings import Settings
from infrastructure.settings_values import own_address
from interfaces.cli.login_link import link_for
from interfaces.cli.own_keys import OwnKey, UpError, admin_key, secret_key

API_GRACE = 15.0  # seconds; the API ends what it serves within 10
DRAIN_MARGIN = 20.0  # seconds for a worker beyond its longest call, to store and to record
USUAL_START = 10.0  # seconds


@dataclass(frozen=True)
class Programs:
    """What `up` runs: one command that ends, then several that are kept running."""

    migrate: Sequence[str]
    children: Mapping[str, Sequence[str]]  # stopped in this order


def _darkroom(name: str) -> list[str]:
    return [sys.executable, "-m", "interfaces.cli.main", name]


DARKROOM = Programs(
    migrate=_darkroom("migrate"),
    children={name: _darkroom(name) for name in ("api", "worker", "projector")},
)


async def up(settings: Settings, programs: Programs = DARKROOM) -> int:
    """Run everything until SIGINT, SIGTERM or SIGHUP, and return the process's exit status.

    The first signal stops the children, which finish their work, then Redis, then PostgreSQL; the
    second kills the children.
    """
    configure_logging(settings.log_format)
    service = _Service(settings, programs)
    running = asyncio.create_task(service.run())
    with _signals_to(lambda: service.stop(running)):
        try:
            await running
        except asyncio.CancelledError:
            if not service.is_stopping:
                raise
            return 0
        except (UpError, EmbeddedServerError) as error:
            _say(f"darkroom: {error}", error=True)
    return 1


class _Service:
    """One run of everything."""

    def __init__(self, settings: Settings, programs: Programs) -> None:
        self._settings = settings
        self._programs = programs
        self._supervisor: Supervisor | None = None
        self.is_stopping = False

    async def run(self) -> None:
        """Start everything in order, and keep it running until cancelled."""
        _refuse_a_taken_port(self._settings)
        _make_data_folder(self._settings.data_dir)
        key, secret = admin_key(self._settings), secret_key(self._settings)
        async with _servers(self._settings) as servers:
            env = _environment(self._settings, servers, key, secret)
            await _migrate(self._programs.migrate, env)
            with left_for_others(self._settings.data_dir, _addresses(self._settings, servers)):
                await self._serve(env, key)

    async def _serve(self, env: Mapping[str, str], key: OwnKey) -> None:
        async with self._children(env):
            await _wait_until_ready(self._settings)
            _say(_welcome(self._settings, key))
            await asyncio.Event().wait()

    def stop(self, running: asyncio.Task[None]) -> None:
        """Stop; the second time, do not wait for the children's work."""
        if not self.is_stopping:
            self.is_stopping = True
            running.cancel()
            _say("Stopping; what is under way is finished first. Ctrl-C again stops at once.")
        elif self._supervisor is not None:
            self._supervisor.kill()
            _say("Stopping at once; what was under way is found again at the next start.")

    @contextlib.asynccontextmanager
    async def _children(self, env: Mapping[str, str]) -> AsyncIterator[None]:
        grace = {"api": API_GRACE, "worker": self._settings.call_seconds + DRAIN_MARGIN}
        self._supervisor = Supervisor(self._programs.children, env, grace=grace)
        await self._supervisor.start()
        try:
            yield
        finally:
            await self._supervisor.stop()


def _refuse_a_taken_port(settings: Settings) -> None:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise UpError(
                f"The API cannot listen on {settings.host}:{settings.port} ({error.strerror}): stop"
                " what uses that address, or set DARKROOM_HOST or DARKROOM_PORT to another."
            ) from error


def _make_data_folder(folder: Path) -> None:
    try:
        if folder.exists():
            return  # its mode is the operator's choice; what we put into it is private by itself
        folder.mkdir(mode=0o700, parents=True)
        if os.geteuid() == ROOT:  # PostgreSQL may have to run as nobody: pass through, not look
            os.chown(folder, -1, NOBODY)
            folder.chmod(0o710)
    except OSError as error:
        raise UpError(
            f"The data folder {folder} cannot be created ({error.strerror}): set DARKROOM_DATA_DIR"
            " to a folder that is yours."
        ) from error


@contextlib.asynccontextmanager
async def _servers(settings: Settings) -> AsyncIterator[dict[str, str]]:
    """Yield where the embedded servers are; nothing when the operator has servers of their own."""
    if settings.database_url is not None:
        yield {}
        return
    postgres = EmbeddedPostgres(settings.data_dir / "postgres")
    redis = EmbeddedRedis(settings.data_dir / "redis")
    async with kept_running(postgres, redis) as (database_url, redis_url):
        yield {"DATABASE_URL": database_url, "REDIS_URL": redis_url}


def _addresses(settings: Settings, servers: Mapping[str, str]) -> dict[str, str]:
    url = own_address({"host": settings.host, "port": settings.port})
    return {"DARKROOM_URL": url, **servers}


def _environment(
    settings: Settings, servers: Mapping[str, str], key: OwnKey, secret: OwnKey
) -> dict[str, str]:
    inherited = {  # a PGSSLMODE or PGOPTIONS is meant for somebody else's server
        name: value for name, value in os.environ.items() if not (servers and name.startswith("PG"))
    }
    # Our own pipes hide from the children whether somebody reads along.
    log_format = "console" if sys.stderr.isatty() else "json"
    if settings.log_format != "auto":
        log_format = settings.log_format
    decided = {
        "DARKROOM_ADMIN_KEY": key.value,
        "DARKROOM_SECRET_KEY": secret.value,
        "DARKROOM_LOG_FORMAT": log_format,
        "DARKROOM_LEAVE_SECONDS": "0",  # nobody stands in front of it who would have to notice
    }
    return inherited | settings.environ() | dict(servers) | decided


async def _migrate(command: Sequence[str], env: Mapping[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        *leashed(command, signal.SIGKILL),
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        status = await process.wait()
    except asyncio.CancelledError:
        process.kill()  # PostgreSQL takes back what was not committed
        await process.wait()
        raise
    if status != 0:
        raise UpError("The database could not be migrated, for the reason above.")


async def _wait_until_ready(settings: Settings) -> None:
    usual_end = time.monotonic() + USUAL_START
    while reason := await asyncio.to_thread(_why_not_ready, settings):
        if time.monotonic() < usual_end:
            await asyncio.sleep(0.05)
        else:
            _say(f"darkroom: not ready yet: {reason}", error=True)
            await asyncio.sleep(USUAL_START)


def _why_not_ready(settings: Settings) -> str | None:
    connection = http.client.HTTPConnection(settings.host, settings.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return None if answer.status == http.HTTPStatus.OK else _reasons(answer.read())
    except (OSError, http.client.HTTPException):
        return "the API does not answer"
    finally:
        connection.close()


def _reasons(body: bytes) -> str:
    try:
        return " ".join(json.loads(body)["reasons"])
    except (ValueError, KeyError, TypeError):
        return "the API does not say why"


def _welcome(settings: Settings, key: OwnKey) -> str:
    link = "" if settings.oidc_client_id else _link(settings, key)
    made = f"  new admin key  {key.value}   (shown this once)\n" if key.is_new else ""
    return (
        "\nDarkroom is ready.\n\n"
        f"  address        {settings.public_url}\n"
        f"  documentation  {settings.public_url}/docs\n"
        f"{link}"
        f"  data           {settings.data_dir}\n"
        f"{made}"
        f"  admin key in   {key.path or 'DARKROOM_ADMIN_KEY'}\n"
        f'  first picture  {_as_typed()} generate "a lighthouse"   (in another terminal)\n'
        "  to stop        Ctrl-C\n"
    )


def _link(settings: Settings, key: OwnKey) -> str:
    """Where nobody can log in at a provider, the administrator can by a link."""
    return (
        f"  log in at      {link_for(settings.public_url, key.value)}   (once, within 10 minutes)\n"
    )


def _as_typed() -> str:
    program = Path(sys.argv[0])
    return f"{program}" if program.name == "darkroom" and not program.is_absolute() else "darkroom"


@contextlib.contextmanager
def _signals_to(handle: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
        numbers.append(signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, handle)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _say(text: str, *, error: bool = False) -> None:
    with contextlib.suppress(OSError):  # nobody reads: the terminal or the pipe is gone
        typer.echo(text, err=error)
