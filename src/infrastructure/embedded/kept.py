"""Embedded servers that are started together, and started again when they die."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator

from infrastructure.embedded.errors import EmbeddedServerError
from infrastructure.embedded.server import EmbeddedServer
from infrastructure.processes import Backoff

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 0.1


@contextlib.asynccontextmanager
async def kept_running(*servers: EmbeddedServer) -> AsyncIterator[list[str]]:
    """Start the servers side by side and yield their URLs; stop them in reverse order at the end.

    One that dies meanwhile is started again at the same address. Errors are EmbeddedServerError.
    """
    # Threads, since a start blocks. One that is under way at a Ctrl-C is waited for.
    starts = [asyncio.create_task(asyncio.to_thread(server.start)) for server in servers]
    try:
        urls = await asyncio.gather(*map(asyncio.shield, starts))
        async with _kept(servers):
            yield urls
    finally:
        await asyncio.gather(*starts, return_exceptions=True)
        for server in reversed(servers):
            await asyncio.to_thread(server.stop)


@contextlib.asynccontextmanager
async def _kept(servers: tuple[EmbeddedServer, ...]) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    keepers = [asyncio.create_task(_keep(server, stopping)) for server in servers]
    try:
        yield
    finally:
        stopping.set()
        await asyncio.gather(*keepers)


async def _keep(server: EmbeddedServer, stopping: asyncio.Event) -> None:
    backoff = Backoff()
    began = time.monotonic()
    while not await _is_set_within(stopping, SECONDS_BETWEEN_LOOKS):
        if server.is_running():
            continue
        pause = backoff.pause_after(time.monotonic() - began)
        log.warning("a server ended by itself and is started again", extra={"server": server.name})
        try:
            await asyncio.to_thread(server.start)
        except EmbeddedServerError as error:
            facts = {"server": server.name, "reason": str(error), "pause": pause}
            log.error("a server cannot be started again", extra=facts)
            await _is_set_within(stopping, pause)
        began = time.monotonic()


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()
