"""A server that receives webhooks: it notes what came, and answers as it is told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook

from tests.servers.raw import said

HANG = b""
"""The answer that never comes."""


@dataclass
class Message:
    """One try, as it came over the line."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, *secrets: str) -> Any:
        """What it tells, once each of these secrets was seen to have signed it."""
        told = None
        for secret in secrets:
            told = Webhook(secret).verify(self.body, self.headers)
        return told


@dataclass
class Receiver:
    """Answers with `answers`, one after the other and then with the last.

    An answer is what goes over the line, HANG for none; what is no bytes is asked for it.
    """

    answers: list[bytes | Callable[[Message], bytes]] = field(default_factory=lambda: [said(204)])
    received: list[Message] = field(default_factory=list)
    port: int = 0
    _responding: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def up(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """Its address, the same each time; nobody is there before and after."""
        server = await asyncio.start_server(self._met, "127.0.0.1", self.port, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/hooks"
        finally:
            server.close()
            for task in self._responding:
                task.cancel()
            await asyncio.gather(*self._responding, return_exceptions=True)
            await server.wait_closed()

    async def has(self, count: int, *, within: float = 20.0) -> list[Message]:
        """What came, once so many tries did."""
        async with asyncio.timeout(within):
            while len(self.received) < count:
                await asyncio.sleep(0.005)
        return self.received

    def _met(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._respond(reader, writer))
        self._responding.add(task)
        task.add_done_callback(self._responding.discard)

    async def _respond(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.received.append(await _read(reader))
            answer = self._answer(self.received[-1])
            writer.write(answer)
            await writer.drain()
            if answer == HANG:
                await reader.read()  # until whoever waits goes away
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # it went away earlier
        finally:
            writer.transport.abort() if writer.is_closing() else writer.close()

    def _answer(self, message: Message) -> bytes:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return answer if isinstance(answer, bytes) else answer(message)


async def _read(reader: asyncio.StreamReader) -> Message:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Message(first.split(" ")[1], headers, body)
