"""What is held for a client counts for as long as the client has not read it, and no longer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response

from interfaces.openai.room import Room
from interfaces.rest.carried import CarriedResponse, Carrying, TooMuchCarriedError
from interfaces.rest.connection import Connection
from interfaces.rest.serve import server_of
from tests.e2e.stack import Stack, free_port, running, settings_for
from tests.processes import ADMIN_KEY

LARGE = 12 * 2**20  # bytes: more than the machine's own buffers take
ONCE = {"Idempotency-Key": '"once"'}


class Impatient(Connection):
    read_seconds = 1.0


@asynccontextmanager
async def not_reading(port: int, request: bytes, *, until: bytes) -> AsyncIterator[socket.socket]:
    """A client that reads until this comes, and then nothing more."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, request)
        seen = b""
        while until not in seen:
            seen += await loop.sock_recv(client, 1024)
        yield client


def a_request(body: bytes) -> bytes:
    head = (
        "POST /v1/images/generations HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
        f'Authorization: Bearer {ADMIN_KEY}\r\nIdempotency-Key: "once"\r\n'
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def the_picture(stack: Stack) -> httpx.Response:
    asked = {"prompt": "a fox", "size": "64x64"}
    return await stack.client.post("/v1/images/generations", json=asked, headers=ONCE)


@asynccontextmanager
async def with_a_large_picture(
    folder: Path, database_url: str, redis_url: str, room: Room
) -> AsyncIterator[Stack]:
    settings = settings_for(folder, database_url, redis_url)
    async with running(settings, connection=Impatient) as stack, stack.at_work():
        made = await the_picture(stack)
        assert made.status_code == 200, made.text
        [picture] = (folder / "objects" / "images").rglob("*.png")
        picture.chmod(0o600)
        picture.write_bytes(bytes(LARGE))
        stack.app.state.room = room
        yield stack


@pytest.mark.parametrize("stream", [b"", b', "stream": true'], ids=["whole", "stream"])
async def test_room_for_a_picture_is_taken_until_its_client_has_read_it_or_is_given_up(
    stream: bytes, tmp_path: Path, database_url: str, redis_url: str
) -> None:
    room = Room(1, patience=0.05)
    asked = a_request(b'{"prompt": "a fox", "size": "64x64"' + stream + b"}")
    async with (
        with_a_large_picture(tmp_path, database_url, redis_url, room) as stack,
        not_reading(stack.settings.port, asked, until=b'"b64_json"'),
        asyncio.timeout(20),
    ):
        refused = await the_picture(stack)
        assert refused.status_code == 503, "the room was given back, and nothing had been read"

        while (answer := await the_picture(stack)).status_code == 503:
            pass

        assert len(answer.json()["data"][0]["b64_json"]) == LARGE * 4 // 3


async def test_room_for_a_carried_object_is_taken_until_its_client_has_read_it_or_is_given_up() -> (
    None
):
    carrying, app, port = Carrying(1), FastAPI(), free_port()

    @app.get("/")
    async def carried() -> Response:
        carrying.begin("mine")
        return CarriedResponse(
            bytes(LARGE),
            None,
            carrying=carrying,
            whose="mine",
            headers={},
            media_type="image/png",
        )

    def is_taken() -> bool:
        try:
            carrying.begin("mine")
        except TooMuchCarriedError:
            return True
        carrying.end("mine")
        return False

    request = b"GET / HTTP/1.1\r\nHost: d\r\n\r\n"
    async with (
        served(app, port),
        not_reading(port, request, until=b"\r\n\r\n"),
        asyncio.timeout(20),
    ):
        await asyncio.sleep(0.1)  # in which it would be given back at once
        assert is_taken()

        while is_taken():
            await asyncio.sleep(0.01)

        async with httpx.AsyncClient() as reader:
            answer = await reader.get(f"http://127.0.0.1:{port}/")
        assert len(answer.content) == LARGE
        assert not is_taken()


@asynccontextmanager
async def served(app: Any, port: int) -> AsyncIterator[None]:
    server = server_of(app, port=port, connection=Impatient)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        await serving
