"""What a client sends never makes a process large."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from infrastructure.event_store.follower_tables import ensure_tables
from interfaces.rest.app import MOST_BODY_BYTES
from tests.e2e.stack import encoded, free_port
from tests.processes import ADMIN_KEY, Process, eventually, processes

URL = "/api/v1/generations"
MEBIBYTE = 2**20
SENT = 200 * MEBIBYTE
FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="referenceImages"; filename="a.png"\r\n\r\n'
PICTURE = encoded("PNG", (64, 64))


def peak(process: Process) -> int:
    """The most memory that it ever had, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


async def one_large_file() -> AsyncIterator[bytes]:
    yield PART
    for _ in range(SENT // MEBIBYTE):
        yield bytes(MEBIBYTE)


async def many_large_files() -> AsyncIterator[bytes]:
    for _ in range(SENT // (8 * MEBIBYTE)):
        yield PART + PICTURE + bytes(8 * MEBIBYTE) + b"\r\n"


async def one_large_text() -> AsyncIterator[bytes]:
    yield b'{"prompt": "a fox", "referenceImages": ["'
    for _ in range(SENT // MEBIBYTE):
        yield b"A" * MEBIBYTE


@pytest.mark.slow
async def test_two_hundred_megabytes_of_references_are_refused_while_they_come(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    await ensure_tables(database_url)
    port = free_port()
    settings = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DARKROOM_ADMIN_KEY": ADMIN_KEY,
        "DARKROOM_PORT": str(port),
    }
    with processes(tmp_path, **settings) as running:
        api = running.start("api")
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
            timeout=60,
        ) as client:
            await eventually(lambda: is_ready(client))
            before = peak(api)

            for _ in range(3):
                for body in (one_large_file(), many_large_files()):
                    await refused(client, body, FORM)
            after_forms = peak(api)
            for _ in range(3):
                await refused(client, one_large_text(), "application/json")

            assert after_forms - before < 16 * MEBIBYTE
            assert peak(api) - before < 2.5 * MOST_BODY_BYTES
        assert not [*(running.data / "objects").rglob("*.*")]


async def is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def refused(client: httpx.AsyncClient, body: AsyncIterator[bytes], content_type: str) -> None:
    """Answered while the client is still sending."""
    answer = await client.post(URL, content=body, headers={"Content-Type": content_type})

    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
