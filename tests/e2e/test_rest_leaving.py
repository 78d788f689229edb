"""A process that is told to stop: who stands in front of it notices before it goes."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import psycopg
import pytest
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.readiness import LEAVING
from interfaces.rest.leaving import Leaving
from interfaces.rest.serve import serve, server_of
from tests.e2e.sse import STREAM, told
from tests.e2e.stack import free_port, settings_for
from tests.e2e.test_rest_operate import queued, reachable
from tests.processes import ADMIN_KEY

URL = "/api/v1/generations"
GET = b"GET / HTTP/1.1\r\nHost: d\r\n\r\n"


class Leaver:
    """An API process that was told to stop, and does not for a while."""

    def __init__(self, client: httpx.AsyncClient, stopping: asyncio.Event) -> None:
        self.client, self._stopping = client, stopping

    async def is_told_to_stop(self) -> None:
        self._stopping.set()
        await asyncio.sleep(0)  # it is told, and has not gone further


@asynccontextmanager
async def an_api(
    tmp_path: Path, database_url: str, redis_url: str, seconds: str
) -> AsyncIterator[Leaver]:
    await ensure_tables(database_url)
    settings = settings_for(tmp_path, database_url, redis_url, leave_seconds=seconds)
    stopping = asyncio.Event()
    serving = asyncio.create_task(serve(settings, stopping))
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=settings.public_url, headers=headers) as client:
        await reachable(client)
        yield Leaver(client, stopping)
    stopping.set()
    async with asyncio.timeout(10):
        await serving


async def until_nobody_listens(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(10):
        with suppress(httpx.TransportError):
            while await client.get("/livez"):
                pass


async def test_it_is_unready_at_once_and_serves_all_the_same(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with an_api(tmp_path, database_url, redis_url, "2") as api:
        while (await api.client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.01)
        await api.is_told_to_stop()
        readiness = await api.client.get("/readyz")
        late = await api.client.post(URL, json={"prompt": "a"}, headers={"Prefer": "respond-async"})
        again = await api.client.get(late.headers["location"])
    assert readiness.status_code == 503
    assert readiness.json()["reasons"] == [LEAVING.reason]
    assert (late.status_code, again.status_code) == (202, 200)
    assert [a.headers["connection"] for a in (readiness, late, again)] == ["close"] * 3


async def test_who_waits_goes_on_waiting_until_it_goes_and_then_is_answered(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with an_api(tmp_path, database_url, redis_url, "2") as api:
        waiting = asyncio.create_task(api.client.post(URL, json={"prompt": "a"}, timeout=30))
        while not await queued(database_url):
            await asyncio.sleep(0.01)
        await api.is_told_to_stop()
        assert (await api.client.get("/readyz")).status_code == 503
        assert not waiting.done()
        answer = await waiting
        await until_nobody_listens(api.client)
    assert (answer.status_code, answer.headers["connection"]) == (202, "close")


async def test_a_stream_said_when_it_began_that_it_is_the_last_on_its_connection(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with an_api(tmp_path, database_url, redis_url, "0.1") as api:
        later = {"Prefer": "respond-async"}
        placed = await api.client.post(URL, json={"prompt": "a"}, headers=later)
        path = placed.json()["links"]["events"]
        async with api.client.stream("GET", path, headers=STREAM) as stream:
            events = told(stream)
            assert (await anext(events)).event == "generation.requested"
            await api.is_told_to_stop()
            assert {one.event async for one in events} <= {"queue"}
    assert stream.headers["connection"] == "close"


@pytest.mark.parametrize(
    ("path", "error"),
    [(URL, {"code": "temporary-reduced-capacity"}), ("/v1/images/generations", {"error": ANY})],
)
async def test_who_cannot_be_answered_before_it_ends_is_told_to_ask_again(
    tmp_path: Path,
    database_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    error: dict[str, Any],
) -> None:
    monkeypatch.setattr("interfaces.rest.serve.SHUTDOWN_SECONDS", 0.1)
    async with an_api(tmp_path, database_url, redis_url, "0") as api:
        while (await api.client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.01)
        async with await psycopg.AsyncConnection.connect(database_url) as somebody:
            await somebody.execute("LOCK TABLE stored_events IN SHARE MODE")  # read, not written
            asking = asyncio.create_task(api.client.post(path, json={"prompt": "a"}, timeout=30))
            async with asyncio.timeout(10):
                while not await waits_for_a_lock(somebody):
                    await asyncio.sleep(0.01)
            await api.is_told_to_stop()
            answer = await asking
        await until_nobody_listens(api.client)
    assert answer.status_code == 503
    assert answer.json().items() >= error.items()
    assert "This process is ending" in answer.text
    assert answer.headers["retry-after"]
    assert answer.headers["x-request-id"]
    assert answer.headers["connection"] == "close"


async def waits_for_a_lock(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether somebody does, as this transaction sees it."""
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    cursor = await connection.execute(
        "SELECT FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE %s",
        ("%append%",),
    )
    return await cursor.fetchone() is not None


# --- a server whose answers take as long as a test wants -----------------------------------------


class Download:
    """An application: one byte at once, the other when the test says so."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def halves() -> AsyncIterator[bytes]:
            yield b"a"
            await self.may_end.wait()
            yield b"z"

        answer = StreamingResponse(halves(), headers={"Content-Length": "2"})
        await answer(scope, receive, send)


@asynccontextmanager
async def downloading() -> AsyncIterator[tuple[Download, StreamReader, StreamWriter]]:
    """A client in the middle of a download from a server that has closed its door meanwhile."""
    download = Download()
    app = Leaving(download)
    server = server_of(app, port=free_port())
    server.config.lifespan = "off"
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.config.port)
    writer.write(GET)
    assert (await reader.readuntil(b"\r\n\r\na")).startswith(b"HTTP/1.1 200")
    app.begin()
    server.should_exit = True
    while server.servers[0].is_serving():
        await asyncio.sleep(0.005)
    async with asyncio.timeout(5):
        yield download, reader, writer
        await serving
    writer.close()


async def test_who_had_begun_to_download_may_ask_once_more() -> None:
    async with downloading() as (download, reader, writer):
        download.may_end.set()
        assert await reader.readexactly(1) == b"z"
        await asyncio.sleep(0.2)
        writer.write(GET)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in head
    assert body == b"az"


async def test_who_asks_nothing_more_is_not_waited_for_long() -> None:
    async with downloading() as (download, reader, _):
        download.may_end.set()
        assert await reader.read() == b"z"
