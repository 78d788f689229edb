"""Every process is replaced under load: no call is made twice, and no request fails."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from application.tasks import end
from infrastructure.event_store.follower_tables import ensure_tables
from tests.balancer import Balancer
from tests.e2e.sse import STREAM, told
from tests.e2e.stack import free_port
from tests.processes import ADMIN_KEY, Process, Processes, eventually, processes

URL = "/api/v1/generations"
CALL_SECONDS = float(os.environ.get("DRILL_CALL_SECONDS", "6"))  # `make drill` sets 30
LEAVE_SECONDS = 3.0  # shorter than a call: an api that leaves ends streams
FOLLOWERS, MANY_FOLLOWERS = 12, 60
FINAL = ("generation.completed", "generation.failed", "generation.cancelled")
ASKED = {"prompt": "a lighthouse", "size": "64x64", "count": 2}


@dataclass
class Seen:
    """What all clients together were answered."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    placed: list[str] = field(default_factory=list)
    streams: dict[str, list[str]] = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)


class Client:
    """One of many, with a connection of its own; it repeats nothing."""

    def __init__(self, client: httpx.AsyncClient, seen: Seen) -> None:
        self.client, self.seen = client, seen

    async def ask(self, what: str, method: str, path: str, **rest: Any) -> httpx.Response:
        answer = await self.client.request(method, path, **rest)
        self.seen.answers[what, answer.status_code] += 1
        return answer

    async def place(self, what: str, **headers: str) -> dict[str, Any]:
        answer = await self.ask(what, "POST", URL, json=ASKED, headers=headers)
        generation: dict[str, Any] = answer.json()
        self.seen.placed.append(generation["id"])
        return generation

    async def wait(self) -> None:
        """For pictures, one request after the other."""
        while not self.seen.stopping.is_set():
            await self.place("wait")

    async def come_back(self) -> None:
        """Later, for what was asked for without waiting."""
        while not self.seen.stopping.is_set():
            path = (await self.place("later", Prefer="respond-async"))["links"]["self"]
            while (await self.ask("get", "GET", path)).json()["status"] != "completed":
                await asyncio.sleep(0.1)

    async def read(self) -> None:
        """What there is, and pictures of it."""
        while not self.seen.stopping.is_set():
            page = (await self.ask("history", "GET", URL)).json()["items"]
            for url in [item["imageUrl"] for item in page if item["imageUrl"]][:3]:
                await self.ask("picture", "GET", httpx.URL(url).path)
            await asyncio.sleep(0.2)

    async def follow(self) -> None:
        """A stream to its end, over every restart of who tells it."""
        while not self.seen.stopping.is_set():
            path = (await self.place("followed", Prefer="respond-async"))["links"]["events"]
            self.seen.streams[path] = []
            while not await self._is_told(path, self.seen.streams[path]):
                pass

    async def _is_told(self, path: str, seen: list[str]) -> bool:
        last = {"Last-Event-ID": seen[-1]} if seen else {}
        event = ""
        async with self.client.stream("GET", path, headers=STREAM | last) as answer:
            self.seen.answers["stream", answer.status_code] += 1
            async for one in told(answer):
                if one.id is not None:
                    seen.append(one.id)
                    event = one.event
        return event in FINAL or answer.status_code == 204


@dataclass
class Service:
    """Two of each process, on a database and a Redis."""

    running: Processes
    database_url: str
    ports: tuple[int, int]

    async def start(self, name: str, number: int) -> Process:
        if name != "api":
            return self.running.start(name)
        port = str(self.ports[number])
        return self.running.start(name, DARKROOM_PORT=port)

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        url = self.database_url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            return await (await connection.execute(query.encode())).fetchall()

    async def at_work(self, name: str) -> int:
        """How many of these processes PostgreSQL sees."""
        seen = {"worker": "darkroom dispatcher", "projector": "darkroom follower jobs%"}[name]
        return int(
            (
                await self.rows(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    f" AND application_name LIKE '{seen}'"
                )
            )[0][0]
        )


@pytest.fixture
async def service(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Service]:
    await ensure_tables(database_url)
    settings = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DARKROOM_ADMIN_KEY": ADMIN_KEY,
        "DARKROOM_PUBLIC_URL": "http://pictures.example",
        "DARKROOM_SKETCH_SECONDS": str(CALL_SECONDS),
        "DARKROOM_WAIT_SECONDS": str(CALL_SECONDS * 2),
        "DARKROOM_LEAVE_SECONDS": str(LEAVE_SECONDS),
        "DARKROOM_DAILY_QUOTA": "unlimited",
    }
    with processes(tmp_path, **settings) as running:
        yield Service(running, database_url, (free_port(), free_port()))


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * CALL_SECONDS)
async def test_a_rolling_restart_under_load_fails_no_request_and_repeats_no_call(
    service: Service,
) -> None:
    names = ("api", "worker", "projector")
    at_work = {name: [await service.start(name, number) for number in (0, 1)] for name in names}
    async with Balancer(service.ports) as balancer:
        await all_are_there(service, balancer)
        async with loaded(balancer) as seen:
            statuses = []
            for name in names:
                for number in (0, 1):
                    await some_more_answers(seen)
                    statuses.append(await asyncio.to_thread(at_work[name][number].stop, 90))
                    await service.start(name, number)
                    await all_are_there(service, balancer)
            await some_more_answers(seen)
        await eventually(lambda: all_are_final(service), within=30 + 3 * CALL_SECONDS)
        async with a_client(balancer) as client:
            trails = {path: await trail(client, path) for path in seen.streams}

    assert statuses == [0] * 6
    assert balancer.refused == 0
    assert {status for _, status in seen.answers} <= {200, 201, 202, 204}, seen.answers
    assert seen.streams == trails, "nothing was missed, nothing was told twice"
    cut = seen.answers["stream", 200] - len(seen.streams)
    assert cut > 0 or CALL_SECONDS <= LEAVE_SECONDS, "no api had a stream to end"
    completed = "SELECT count(*) FROM stored_events WHERE topic LIKE 'generation.completed@%'"
    assert await service.rows(completed) == [(len(seen.placed),)]
    assert await service.rows("SELECT FROM stored_events WHERE topic LIKE '%lost@%'") == []
    calls = service.running.calls()
    assert len(calls) == 2 * len(seen.placed)
    print(f"{len(seen.placed)} generations, {len(calls)} calls, {dict(seen.answers)}")


@pytest.mark.slow
async def test_who_is_let_go_by_an_api_that_leaves_asks_the_next_at_once(service: Service) -> None:
    leaving, _ = [await service.start("api", number) for number in (0, 1)]
    await service.start("projector", 0)
    async with Balancer(service.ports) as balancer, AsyncExitStack() as clients:
        await eventually(lambda: both_are_ready(balancer))
        following: set[str] = set()
        asking = []
        for _ in range(MANY_FOLLOWERS):
            client = await clients.enter_async_context(a_client(balancer))
            asking.append(asyncio.create_task(ask_when_let_go(client, following)))
        await eventually(lambda: are_as_many(following, MANY_FOLLOWERS))
        assert await asyncio.to_thread(leaving.stop, 90) == 0
        await eventually(lambda: are_as_many(answered(asking), MANY_FOLLOWERS // 2))
        assert {task.result() for task in answered(asking)} == {200}
        await end(*asking)


async def ask_when_let_go(client: httpx.AsyncClient, following: set[str]) -> int:
    """Follow what never ends here; the status of what is asked as soon as the stream has ended."""
    later = {"Prefer": "respond-async"}
    path = (await client.post(URL, json=ASKED, headers=later)).json()["links"]["events"]
    async with client.stream("GET", path, headers=STREAM) as stream:
        following.add(path)
        await stream.aread()
    return (await client.get(path)).status_code


@asynccontextmanager
async def loaded(balancer: Balancer) -> AsyncIterator[Seen]:
    """Two clients of each kind, and the followers, at it until the block ends."""
    seen = Seen()
    kinds = (Client.wait, Client.come_back, Client.read) * 2 + (Client.follow,) * FOLLOWERS
    async with AsyncExitStack() as clients, asyncio.TaskGroup() as group:
        for kind in kinds:
            client = await clients.enter_async_context(a_client(balancer))
            group.create_task(kind(Client(client, seen)))
        yield seen
        seen.stopping.set()


def a_client(balancer: Balancer) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=balancer.url,
        headers={"Authorization": f"Bearer {ADMIN_KEY}"},
        timeout=CALL_SECONDS + 30,
    )


def answered(asking: Collection[asyncio.Task[int]]) -> list[asyncio.Task[int]]:
    return [task for task in asking if task.done()]


async def both_are_ready(balancer: Balancer) -> bool:
    return len(balancer.ready) == 2


async def are_as_many(these: Collection[object], count: int) -> bool:
    return len(these) == count


async def all_are_there(service: Service, balancer: Balancer) -> None:
    async def are_there() -> bool:
        return await both_are_ready(balancer) and all(
            [await service.at_work(name) == 2 for name in ("worker", "projector")]
        )

    await eventually(are_there)


async def some_more_answers(seen: Seen) -> None:
    """So that every kind of request is under way when the next process goes."""
    before = seen.answers.total()

    async def more_came() -> bool:
        return seen.answers.total() >= before + 20

    await eventually(more_came)


async def all_are_final(service: Service) -> bool:
    return await service.rows("SELECT FROM work") == []


async def trail(client: httpx.AsyncClient, path: str) -> list[str]:
    return [str(item["position"]) for item in (await client.get(path)).json()["items"]]
