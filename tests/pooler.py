"""A pooler between a process and PostgreSQL: many sessions over a few backends."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg

STARTUP = 196608  # protocol 3.0; other first messages ask for encryption
TOLD = ("server_version", "client_encoding", "standard_conforming_strings", "integer_datetimes")
GONE = (asyncio.IncompleteReadError, ConnectionError)


@dataclass
class _Backend:
    connection: psycopg.Connection  # which authenticated; its socket is ours
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class Pooler:
    """As pgbouncer is in transaction mode: a backend serves a session for one transaction.

    With `sessions` it serves one until that ends. The settings that a session begins with are
    forgotten, and notices that come between transactions are dropped. A backend that was just
    used is used last.
    """

    def __init__(self, url: str, *, backends: int = 1, sessions: bool = False) -> None:
        self._url, self._count, self._sessions = url, backends, sessions
        self._free: deque[_Backend] = deque()
        self._freed = asyncio.Condition()
        self._all: list[_Backend] = []
        self._clients: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Pooler:
        self._all = [await self._authenticated() for _ in range(self._count)]
        self._free.extend(self._all)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        for backend in self._all:
            backend.writer.close()
            backend.connection.close()

    @property
    def url(self) -> str:
        """The database as it is reached through here."""
        parts = urlsplit(self._url)
        port = self._server.sockets[0].getsockname()[1]
        account = f"{parts.username}:{parts.password}"
        return parts._replace(netloc=f"{account}@127.0.0.1:{port}").geturl()

    async def _authenticated(self) -> _Backend:
        connection = await asyncio.to_thread(
            psycopg.connect, self._url, sslmode="disable", gssencmode="disable"
        )
        mine = socket.socket(fileno=os.dup(connection.pgconn.socket))
        return _Backend(connection, *await asyncio.open_connection(sock=mine))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
        with suppress(*GONE, asyncio.CancelledError):
            await self._welcome(reader, writer)
            await (self._lend if self._sessions else self._pass_on)(reader, writer)
        writer.close()

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            length, kind = struct.unpack("!ii", await reader.readexactly(8))
            await reader.readexactly(length - 8)
            if kind == STARTUP:
                break
            writer.write(b"N")
        told = self._all[0].connection.info.parameter_status
        writer.write(_message(b"R", struct.pack("!i", 0)))
        for name in TOLD:
            writer.write(_message(b"S", f"{name}\0{told(name)}\0".encode()))
        writer.write(_message(b"K", struct.pack("!ii", 1, 1)) + _message(b"Z", b"I"))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backend = None
        try:
            while True:
                kind, message = await _read(reader)
                if kind == b"X":
                    return
                backend = backend or await self._take()
                backend.writer.write(message)
                if kind in b"QS" and await _answered(backend, writer):
                    backend = await self._give_back(backend)
        finally:
            if backend is not None:
                await self._give_back(backend)

    async def _lend(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A backend for the whole session."""
        backend = await self._take()
        answering = asyncio.create_task(_pass_all(backend.reader, writer))
        try:
            while (read := await _read(reader))[0] != b"X":
                backend.writer.write(read[1])
        finally:
            answering.cancel()
            await self._give_back(backend)

    async def _take(self) -> _Backend:
        async with self._freed:
            await self._freed.wait_for(lambda: self._free)
            return self._free.popleft()

    async def _give_back(self, backend: _Backend) -> None:
        async with self._freed:
            self._free.append(backend)
            self._freed.notify()


async def _answered(backend: _Backend, writer: asyncio.StreamWriter) -> bool:
    """Pass on an answer; whether the transaction ended with it."""
    while True:
        kind, message = await _read(backend.reader)
        if kind != b"A":
            writer.write(message)
        if kind == b"Z":
            return message.endswith(b"I")


async def _pass_all(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        sink.write(data)


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    (length,) = struct.unpack("!i", head[1:])
    return head[:1], head + await reader.readexactly(length - 4)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body
