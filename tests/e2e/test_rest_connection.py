"""What a client can do to a connection, on a real server, with and without a valid request."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import pytest_asyncio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from interfaces.rest.connection import MOST_HEAD_BYTES, Connection
from interfaces.rest.serve import server_of
from tests.e2e.stack import free_port

GET = b"GET /livez HTTP/1.1\r\nHost: d\r\n\r\n"
POST = b"POST /livez HTTP/1.1\r\nHost: d\r\n"


class Hasty(Connection):
    head_seconds = 0.3


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await Response(f"{len(body)}")(scope, receive, send)


@asynccontextmanager
async def serving(connection: type[Connection]) -> AsyncIterator[int]:
    port = free_port()
    server = server_of(app, port=port, connection=connection)
    server.config.lifespan = "off"
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    yield port
    server.should_exit = True
    await running


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    async with serving(Connection) as free, asyncio.timeout(20):
        yield free


@pytest_asyncio.fixture
async def hasty() -> AsyncIterator[int]:
    async with serving(Hasty) as free, asyncio.timeout(20):
        yield free


async def said(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """All that is answered until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(pause)
    answer = await reader.read()
    writer.close()
    return answer


def assert_problem(answer: bytes, status: int, code: str) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert b"content-type: application/problem+json" in head
    assert b"x-content-type-options: nosniff" in head
    assert b"connection: close" in head
    problem: dict[str, Any] = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, code)
    assert f"x-request-id: {problem['requestId']}".encode() in head
    return problem


# --- the head ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rest",
    [
        b"X: " + b"x" * 10 * MOST_HEAD_BYTES,
        b"X: y\r\n" * MOST_HEAD_BYTES,
        b"X: " + b"x" * MOST_HEAD_BYTES + b"\r\n\r\n",
    ],
    ids=["an endless line", "endless fields", "one field too long"],
)
async def test_a_head_that_is_too_large_is_431(port: int, rest: bytes) -> None:
    assert_problem(await said(port, GET[:-2], rest), 431, "head-too-large")


async def test_an_endless_url_is_431(port: int) -> None:
    answer = await said(port, b"GET /", b"x" * 10 * MOST_HEAD_BYTES)

    assert_problem(answer, 431, "head-too-large")


async def test_trailer_fields_count_too(port: int) -> None:
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n"

    assert b"431" in (await said(port, chunked, b"X: y\r\n" * MOST_HEAD_BYTES))[:20]


async def test_a_large_head_is_no_too_large_one(port: int) -> None:
    head = GET[:-2] + b"Connection: close\r\nX: " + b"x" * (MOST_HEAD_BYTES - 1000) + b"\r\n\r\n"

    assert (await said(port, head[:9000], head[9000:], pause=0.05)).startswith(b"HTTP/1.1 200")


async def test_a_body_is_no_head(port: int) -> None:
    body = b"Connection: close\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000

    assert (await said(port, POST + body)).endswith(b"\r\n\r\n900000")


# --- what is no HTTP -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_400(port: int, sent: bytes) -> None:
    assert_problem(await said(port, sent), 400, "unreadable-request")


async def test_what_is_no_http_is_never_answered_in_anothers_place(port: int) -> None:
    answer = b""
    with suppress(ConnectionResetError):
        answer = await said(port, GET + b"garbage\r\n\r\n")

    assert b"400" not in answer


# --- who holds the line --------------------------------------------------------------------------


async def test_who_says_nothing_is_let_go(hasty: int) -> None:
    assert await said(hasty) == b""


async def test_a_head_that_dribbles_is_408(hasty: int) -> None:
    answer = await said(hasty, *(GET[n : n + 1] for n in range(6)), pause=0.06)

    assert_problem(answer, 408, "request-timeout")


async def test_an_idle_connection_is_kept(hasty: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty)
    for _ in range(2):
        writer.write(GET)
        assert (await reader.readuntil(b"\r\n\r\n0")).startswith(b"HTTP/1.1 200")
        await asyncio.sleep(2 * Hasty.head_seconds)
    writer.write(GET[:5])
    await asyncio.sleep(2 * Hasty.head_seconds)

    assert_problem(await reader.read(), 408, "request-timeout")
    writer.close()


# --- pipelining ----------------------------------------------------------------------------------


async def test_requests_that_do_not_wait_are_answered_in_turn(port: int) -> None:
    last = GET[:-2] + b"Connection: close\r\n\r\n"

    assert (await said(port, GET * 20 + last)).count(b"HTTP/1.1 200") == 21


async def test_who_asks_without_reading_is_cut_off_and_costs_nothing(port: int) -> None:
    requests = GET * 800_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.setblocking(False)
        with pytest.raises(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(client, requests)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


async def test_a_connection_on_which_somebody_waits_is_kept_alive_and_known_to_be() -> None:
    kept: list[int] = []

    class Looked(Connection):
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            its = transport.get_extra_info("socket")
            kept.append(its.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            kept.append(its.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))

    async with serving(Looked) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        while not kept:
            await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()
    assert kept == [1, 30]
