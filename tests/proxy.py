"""A network between a process and a server that fails when told to."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit


class Proxy:
    """Passes bytes on; told to, it cuts a connection instead of an answer, or stands still.

    It stands still too once it has passed on `pause_behind`: what follows from that stays unheard.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._open: list[asyncio.StreamWriter] = []
        self._serving: set[asyncio.Task[None]] = set()
        self._going = asyncio.Event()
        self._going.set()
        self.cut_next_answer = False
        self.cuts = 0
        self.pause_behind: bytes | None = None
        self.paused = asyncio.Event()

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.go_on()
        for writer in self._open:
            writer.close()
        await asyncio.gather(*(w.wait_closed() for w in self._open), return_exceptions=True)
        await asyncio.gather(*self._serving, return_exceptions=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        """The server as it is reached through here."""
        account, at, _ = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{account}{at}127.0.0.1:{self.port}").geturl()

    @property
    def connections(self) -> int:
        """How many there were."""
        return len(self._open) // 2

    def cut(self) -> None:
        """Cut every connection that is open now."""
        for writer in self._open:
            writer.close()
        self.cuts += 1

    def lead_to(self, url: str) -> None:
        """From now on to another server, as an address does after a failover."""
        self._parts = urlsplit(url)
        self.cut()

    def pause(self) -> None:
        """Pass nothing on, as a server that is stopped or a network that swallows."""
        self._going.clear()
        self.paused.set()

    def go_on(self) -> None:
        """Pass on what was held back, and all that follows."""
        self.paused.clear()
        self._going.set()

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            server, ask = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        except OSError:  # the server is down: who wants to reach it is to hear of it
            answer.close()
            return
        self._open += [answer, ask]
        passing = (self._pass_on(client, ask), self._pass_answers(server, answer, ask))
        await asyncio.gather(*passing, return_exceptions=True)

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._going.wait()
                if sink.is_closing():
                    break
                sink.write(data)
                if self.pause_behind and self.pause_behind in data:
                    self.pause_behind = None
                    self.pause()
        finally:
            sink.close()  # also when the source was reset

    async def _pass_answers(
        self, source: asyncio.StreamReader, answer: asyncio.StreamWriter, ask: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await source.read(65536):
                await self._going.wait()
                if self.cut_next_answer:
                    self.cut_next_answer, self.cuts = False, self.cuts + 1
                    ask.close()
                if answer.is_closing() or ask.is_closing():
                    break
                answer.write(data)
        finally:
            answer.close()
