"""What does not come, does not answer, or goes away in the middle."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from infrastructure.embedded import EmbeddedPostgres
from infrastructure.event_store.migrate import migrate
from infrastructure.readiness import PATIENCE, SILENT
from tests.e2e.stack import Stack, running, settings_for
from tests.processes import ADMIN_KEY

URL = "/api/v1/generations"
HEAD = (
    f"POST {URL} HTTP/1.1\r\nHost: d\r\nAuthorization: Bearer {ADMIN_KEY}\r\n"
    "Content-Type: application/json\r\n"
)


# --- a body that stalls --------------------------------------------------------------------------


async def test_a_body_that_stalls_is_408(tmp_path: Path, database_url: str, redis_url: str) -> None:
    settings = settings_for(tmp_path, database_url, redis_url)
    async with running(settings, stalled_after=0.3) as stack, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", settings.port)
        writer.write(f"{HEAD}Content-Length: 99\r\n\r\n".encode())
        for _ in range(2):  # it is still read then; who writes later may be cut off
            writer.write(b" ")
            await asyncio.sleep(0.15)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()

        assert head.startswith(b"HTTP/1.1 408")
        assert json.loads(body)["code"] == "request-timeout"
        assert await stack.recorded() == 0


async def test_a_body_that_dribbles_is_408(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    settings = settings_for(tmp_path, database_url, redis_url)
    async with running(settings, stalled_after=0.15) as stack, asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", settings.port)
        writer.write(f"{HEAD}Content-Length: 999\r\n\r\n".encode())

        async def dribble() -> None:
            while True:
                writer.write(b" ")
                await asyncio.sleep(0.05)

        dribbling = asyncio.create_task(dribble())
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readuntil(b"}")
        dribbling.cancel()
        writer.close()

        assert head.startswith(b"HTTP/1.1 408")
        assert "less than 131072 bytes a second" in json.loads(body)["detail"]
        assert await stack.recorded() == 0


async def test_who_waits_for_a_picture_does_not_stall(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    settings = settings_for(tmp_path, database_url, redis_url)
    async with running(settings, stalled_after=0.2) as stack:
        headers = {"Prefer": "wait=1"}
        answer = await stack.client.post(URL, json={"prompt": "a"}, headers=headers)

    assert answer.status_code == 202


# --- a database that hangs -----------------------------------------------------------------------


@contextmanager
def stopped(server: EmbeddedPostgres) -> Iterator[None]:
    """PostgreSQL accepts connections and says nothing."""
    [lock] = server.folder.rglob("postmaster.pid")
    postmaster = int(lock.read_text().splitlines()[0])
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    processes = [postmaster, *map(int, children)]
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in reversed(processes):
            os.kill(process, signal.SIGCONT)


@asynccontextmanager
async def with_a_server_of_its_own(tmp_path: Path, redis_url: str) -> AsyncIterator[Any]:
    with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:
        migrate(server.url)
        settings = settings_for(tmp_path, server.url, redis_url)
        async with running(settings, patience=PATIENCE) as stack:
            yield server, stack


async def test_with_a_database_that_hangs_it_is_soon_not_ready(
    tmp_path: Path, redis_url: str
) -> None:
    async with with_a_server_of_its_own(tmp_path, redis_url) as (server, stack):
        with stopped(server):
            async with asyncio.timeout(10 * PATIENCE):  # if they waited in turn, 20 times it
                answers = await asyncio.gather(*(stack.client.get("/readyz") for _ in range(20)))
        async with asyncio.timeout(20):
            while (await stack.client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.1)

    assert {answer.status_code for answer in answers} == {503}
    assert answers[0].json()["reasons"] == [SILENT.reason]


# --- a caller who goes away ----------------------------------------------------------------------


async def test_a_caller_who_went_away_is_logged_as_such(stack: Stack, lines: io.StringIO) -> None:
    body = b'{"prompt":"a"}'
    _, writer = await asyncio.open_connection("127.0.0.1", stack.settings.port)
    writer.write(f"{HEAD}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    while not await stack.recorded():
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    writer.close()

    async with asyncio.timeout(5):
        while not (told := requests(lines)):
            await asyncio.sleep(0.01)
    assert [line["status"] for line in told] == [499]


def requests(lines: io.StringIO) -> list[dict[str, Any]]:
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    return [line for line in told if line["event"] == "request"]


# --- what goes on in the background --------------------------------------------------------------


async def test_what_goes_on_in_the_background_is_nobodys_request(
    stack: Stack, lines: io.StringIO
) -> None:
    headers = {"X-Request-Id": "r-1"}
    for _ in range(3):
        await asyncio.gather(*(stack.client.get(URL, headers=headers) for _ in range(8)))
        await stack.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await asyncio.sleep(0.3)

    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert {line["correlation_id"] for line in told if line["event"] == "request"} == {"r-1"}
    listening = [line for line in told if "cannot listen" in line["event"]]
    assert listening
    assert not any("correlation_id" in line for line in listening)


async def test_a_kept_connection_carries_nothing_from_one_request_to_the_next(
    stack: Stack, lines: io.StringIO
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.settings.port)
    writer.write(b"GET /livez HTTP/1.1\r\nHost: d\r\nX-Request-Id: r-1\r\n\r\n")
    await reader.readuntil(b"}")
    writer.write(b"nonsense\r\n\r\n")
    await reader.read()
    writer.close()

    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    [refused] = [line for line in told if line["event"] == "a request could not be read"]
    assert (refused["status"], refused["problem"]) == (400, "unreadable-request")
    assert refused["correlation_id"] != "r-1"
