"""The API process: one server, one event loop; several of them share the work on several ports."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.types import ASGIApp

from application.tasks import end
from infrastructure.container import Container
from infrastructure.settings import Settings, SettingsError
from interfaces.rest.app import create_app
from interfaces.rest.connection import MOST_CONNECTIONS, Connection
from interfaces.rest.leaving import Leaving

log = logging.getLogger(__name__)

OTHER_FILES = 256  # beside its clients' connections a process opens no more than these
SHUTDOWN_SECONDS = 7  # with what follows, 10 at most
KEEP_ALIVE_SECONDS = 75  # longer than common load balancers keep an idle connection


class Server(uvicorn.Server):
    """uvicorn, without signal handlers of its own: whoever runs the process has them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server_of(
    app: ASGIApp,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    connection: type[Connection] = Connection,
    trusted_proxies: Sequence[str] = (),
) -> Server:
    """A server that was not started yet.

    Who asks, and whether over TLS, is believed of `trusted_proxies` alone, and of nobody who could
    have written it before them: the client is the last one in X-Forwarded-For whom they name.
    """
    return Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http=connection,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=bool(trusted_proxies),
            forwarded_allow_ips=[*trusted_proxies],  # else uvicorn has some of its own
            server_header=False,
            reset_contextvars=True,  # a request's log lines are not the next one's
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """Serve until `stopping` is set, and then for as long as others need to notice.

    Meanwhile /readyz says no, and every answer ends its connection. Then who still waits is
    answered 202, and what runs ends first.
    """
    if settings.admin_key is None:
        raise SettingsError(
            ("DARKROOM_ADMIN_KEY is not set: nobody could use the API. Set it to a long secret.",)
        )
    container = Container(settings=settings)
    app = Leaving(create_app(container))
    server = server_of(
        app,
        host=settings.host,
        port=settings.port,
        connection=_connection_within(_open_files()),
        trusted_proxies=settings.trusted_proxies,
    )

    async def stop() -> None:
        await stopping.wait()
        log.info("leaving", extra={"seconds": settings.leave_seconds})
        container.readiness().leave()
        app.begin()
        await asyncio.sleep(settings.leave_seconds)
        container.waiting().stop()
        container.following().stop()
        server.should_exit = True

    stopped = asyncio.create_task(stop())
    try:
        await server.serve()
    finally:
        await end(stopped)


def _open_files() -> int:
    """How many files and connections this process may open: as many as it is allowed to allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_CONNECTIONS + OTHER_FILES
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def _connection_within(open_files: int) -> type[Connection]:
    """So that too many connections are refused, not everything that opens a file."""
    most = max(1, open_files - OTHER_FILES)
    return type("Connection", (Connection,), {"most_connections": most})
