"""A load balancer for tests: passes connections on to whoever says that he is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from itertools import count

LOOK_EVERY = 0.5  # seconds
MOST_MISSES = 2  # in a row, then nothing more is passed on
READYZ = b"GET /readyz HTTP/1.1\r\nHost: balancer\r\nConnection: close\r\n\r\n"


class Balancer:
    """Asks each backend's /readyz all the time, and repeats nothing: what fails, fails."""

    def __init__(self, ports: Iterable[int]) -> None:
        self._backends = list(ports)
        self._turn = count()
        self._looking: list[asyncio.Task[None]] = []
        self._passing: set[asyncio.Task[None]] = set()
        self.ready: set[int] = set()
        self.refused = 0

    async def __aenter__(self) -> Balancer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._looking = [asyncio.create_task(self._look(port)) for port in self._backends]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in (*self._looking, *self._passing):
            task.cancel()
        await asyncio.gather(*self._looking, *self._passing, return_exceptions=True)
        await self._server.wait_closed()
        await asyncio.sleep(0)  # closed transports let go of their sockets in the next round

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _look(self, port: int) -> None:
        misses = 0
        while True:
            misses = 0 if await _is_ready(port) else misses + 1
            if not misses:
                self.ready.add(port)
            elif misses >= MOST_MISSES:
                self.ready.discard(port)
            await asyncio.sleep(LOOK_EVERY)

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)
        ready = sorted(self.ready)
        try:
            if not ready:
                raise ConnectionRefusedError
            port = ready[next(self._turn) % len(ready)]
            server, ask = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            self.refused += 1
            answer.close()
            return
        await asyncio.gather(_pass_on(client, ask), _pass_on(server, answer))


async def _is_ready(port: int) -> bool:
    with suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(READYZ)
            return b" 200 " in await reader.readline()
        finally:
            writer.close()
    return False


async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
    finally:
        sink.close()
