"""API processes, killed and restarted while clients wait, repeat and follow."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any

import httpx
import psycopg
import pytest

from tests.e2e.sse import STREAM, told
from tests.e2e.stack import free_port
from tests.processes import ADMIN_KEY, Process, Processes, eventually

URL = "/api/v1/generations"
REPEATS = 100
GENERATIONS, FOLLOWERS_OF_EACH = 100, 5
LOST = (httpx.TransportError, httpx.StreamError)


@asynccontextmanager
async def client_of(port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Authorization": f"Bearer {ADMIN_KEY}"},
        timeout=60,
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
    ) as client:
        yield client


async def start_api(one_service: Processes, port: int) -> Process:
    process = one_service.start("api", DARKROOM_PORT=str(port))

    async def is_ready() -> bool:
        async with client_of(port) as client:
            try:
                return (await client.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

    await eventually(is_ready, why=process.log.read_text()[-2000:])
    return process


async def rows(database_url: str, query: str) -> list[tuple[Any, ...]]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        return await (await connection.execute(query)).fetchall()


@pytest.mark.slow
async def test_a_hundred_equal_requests_through_two_processes_are_one_although_one_is_killed(
    one_service: Processes, database_url: str
) -> None:
    ports = free_port(), free_port()
    doomed, _ = [await start_api(one_service, port) for port in ports]

    async def ask(client: httpx.AsyncClient, other: httpx.AsyncClient) -> httpx.Response:
        """As a careful client does: when the connection is lost, again, with the same key."""
        request = {"prompt": "a lighthouse", "size": "64x64"}
        key = {"Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}
        try:
            return await client.post(URL, json=request, headers=key)
        except httpx.TransportError:
            return await other.post(URL, json=request, headers=key)

    async with client_of(ports[0]) as first, client_of(ports[1]) as second:
        turns = cycle([(first, second), (second, second)])
        asking = [asyncio.create_task(ask(*next(turns))) for _ in range(REPEATS)]
        await eventually(lambda: rows(database_url, "SELECT ref FROM work"))
        doomed.kill()
        one_service.start("worker")
        answers = await asyncio.gather(*asking)

        restarted = await start_api(one_service, ports[0])
        late = await ask(first, first)

    assert not restarted.ended()
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in [*answers, late]}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) <= 1
    assert late.headers["idempotent-replayed"] == "true"
    requested = "SELECT count(*) FROM stored_events WHERE topic LIKE 'generation.requested@%'"
    assert await rows(database_url, requested) == [(1,)]
    assert await rows(database_url, "SELECT DISTINCT units, requests FROM quota_counters") == [
        (1, 1)
    ]
    assert len(one_service.calls()) == 1


class Listener:
    """Follows one generation to its end, however often the connection is lost."""

    def __init__(self, client: httpx.AsyncClient, path: str) -> None:
        self._client, self._path = client, path
        self.ids: list[str] = []
        self.reconnects = 0

    async def listen(self) -> None:
        while not await self._is_at_the_end():
            self.reconnects += 1
            await asyncio.sleep(random.uniform(0.05, 0.5))  # as `retry` asks of browsers

    async def _is_at_the_end(self) -> bool:
        seen = {"Last-Event-ID": self.ids[-1]} if self.ids else {}
        event = ""
        try:
            async with self._client.stream("GET", self._path, headers=STREAM | seen) as answer:
                if answer.status_code == 204:
                    return True
                assert answer.status_code in (200, 503), answer.status_code
                async for one in told(answer):
                    if one.id is not None:
                        self.ids.append(one.id)
                        event = one.event
        except LOST:
            return False
        return event in ("generation.completed", "generation.failed")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["deployed", "killed"])
async def test_five_hundred_followers_miss_nothing_over_a_restart_of_their_process(
    one_service: Processes, database_url: str, how: signal.Signals
) -> None:
    port = free_port()
    process = await start_api(one_service, port)
    async with client_of(port) as client:
        request = {"prompt": "a lighthouse", "size": "64x64"}
        headers = {"Prefer": "respond-async"}
        posts = [client.post(URL, json=request, headers=headers) for _ in range(GENERATIONS)]
        made = [answer.json() for answer in await asyncio.gather(*posts)]
        listeners = [
            Listener(client, generation["links"]["events"])
            for generation in made
            for _ in range(FOLLOWERS_OF_EACH)
        ]
        listening = [asyncio.create_task(listener.listen()) for listener in listeners]

        async def all_are_following() -> bool:
            return all(listener.ids for listener in listeners)

        await eventually(all_are_following, why="not all follow")
        connections = await rows(
            database_url,
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name IN ('darkroom news', 'darkroom read', 'darkroom append')",
        )
        assert connections[0][0] <= 6, "one listens for all; the others are the API's own"

        worker = one_service.start("worker", DARKROOM_SKETCH_SECONDS="0.5")
        completed = "SELECT count(*) FROM stored_events WHERE topic LIKE 'generation.completed@%'"

        async def some_are_completed() -> bool:
            return bool((await rows(database_url, completed))[0][0] >= GENERATIONS // 5)

        await eventually(some_are_completed, why="nothing is completed")
        process.send(how)
        await asyncio.to_thread(worker.stop)  # or it might have done all before the api is gone
        await asyncio.to_thread(process.wait)
        still_going = GENERATIONS - (await rows(database_url, completed))[0][0]
        one_service.start("worker", DARKROOM_SKETCH_SECONDS="0.5")

        async def more_are_completed() -> bool:
            return (await rows(database_url, completed))[0][0] > GENERATIONS - still_going

        await eventually(more_are_completed, why="nothing happens while there is no api")
        await start_api(one_service, port)
        async with asyncio.timeout(60):
            await asyncio.gather(*listening)

        trails = {
            generation["links"]["events"]: [
                str(item["position"])
                for item in (await client.get(generation["links"]["events"])).json()["items"]
            ]
            for generation in made
        }
    assert still_going > 0, "the restart came too late to prove anything"
    assert sum(listener.reconnects > 0 for listener in listeners) >= still_going
    for listener in listeners:
        assert listener.ids == trails[listener._path]
