"""The API process: one server, one event loop; several of them share the work on several ports."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from infrastructure.container import Container
from infrastructure.settings import Settings, SettingsError
from interfaces.rest.app import create_app
from interfaces.rest.connection import Connection

SHUTDOWN_SECONDS = 10
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
) -> Server:
    """A server that was not started yet."""
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
            proxy_headers=False,
            server_header=False,
            reset_contextvars=True,  # a request's log lines are not the next one's
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
    )


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """Serve until `stopping` is set; what waits then is answered 202, what runs ends first."""
    if settings.admin_key is None:
        raise SettingsError(
            ("DARKROOM_ADMIN_KEY is not set: nobody could use the API. Set it to a long secret.",)
        )
    container = Container(settings=settings)
    app = create_app(container)
    server = server_of(app, host=settings.host, port=settings.port)

    async def stop() -> None:
        await stopping.wait()
        container.waiting().stop()
        container.following().stop()
        server.should_exit = True

    stopped = asyncio.create_task(stop())
    try:
        await server.serve()
    finally:
        stopped.cancel()
        await asyncio.gather(stopped, return_exceptions=True)
