"""A process that is told to stop: who stands in front of it notices before it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx

from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.readiness import LEAVING
from interfaces.rest.serve import serve
from tests.e2e.sse import STREAM
from tests.e2e.stack import ADMIN_KEY, settings_for
from tests.e2e.test_rest_operate import queued, reachable

URL = "/api/v1/generations"


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
    async with an_api(tmp_path, database_url, redis_url, "0.5") as api:
        waiting = asyncio.create_task(api.client.post(URL, json={"prompt": "a"}, timeout=30))
        while not await queued(database_url):
            await asyncio.sleep(0.01)
        await api.is_told_to_stop()
        assert (await api.client.get("/readyz")).status_code == 503
        assert not waiting.done()
        answer = await waiting
        await until_nobody_listens(api.client)
    assert (answer.status_code, answer.headers["connection"]) == (202, "close")


async def test_no_request_follows_on_the_connection_of_a_stream_that_ends_because_it_goes(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with an_api(tmp_path, database_url, redis_url, "0.1") as api:
        placed = await api.client.post(
            URL, json={"prompt": "a"}, headers={"Prefer": "respond-async"}
        )
        path = placed.json()["links"]["events"]
        async with api.client.stream("GET", path, headers=STREAM) as stream:
            await api.is_told_to_stop()
            told = await stream.aread()
    assert stream.headers["connection"] == "close"
    assert b"generation.requested" in told
