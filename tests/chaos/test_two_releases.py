"""Two releases side by side, as during an upgrade: readers learn before writers write."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.read_models import discover
from tests.e2e.sse import STREAM
from tests.e2e.stack import free_port
from tests.next_release import EXPAND, MIGRATION, NEXT
from tests.processes import ADMIN_KEY, DARKROOM, Process, Processes, eventually, processes

pytestmark = pytest.mark.slow

URL = "/api/v1/generations"
ASKED = {"prompt": "a lighthouse", "size": "64x64"}
LATER = {"Prefer": "respond-async"}
LIMIT, TRIES = 60, 80


class Releases:
    """Processes of several releases on one database, whose schema is the newest one's."""

    def __init__(self, running: Processes, database_url: str) -> None:
        self.running, self._url = running, database_url
        self.clients: list[httpx.AsyncClient] = []

    async def api(self, program: tuple[str, ...]) -> httpx.AsyncClient:
        """One more of this release, and its client."""
        port = free_port()
        process = self.running.start("api", program=program, DARKROOM_PORT=str(port))
        client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
            timeout=60,
        )
        self.clients.append(client)

        async def is_there() -> bool:
            with suppress(httpx.TransportError):
                return (await client.get("/readyz")).status_code == 200
            return False

        await eventually(is_there, why=process.log.read_text()[-2000:])
        return client

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
            return await (await connection.execute(query.encode())).fetchall()

    async def topics(self) -> Counter[str]:
        """How often each event of each version was recorded."""
        return Counter(
            dict(await self.rows("SELECT topic, count(*) FROM stored_events GROUP BY topic"))
        )


@pytest.fixture
async def releases(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Releases]:
    await ensure_tables(database_url)
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(MIGRATION.encode())
    settings = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DARKROOM_ADMIN_KEY": ADMIN_KEY,
        "DARKROOM_PUBLIC_URL": "http://pictures.example",
        "DARKROOM_DAILY_QUOTA": str(LIMIT),
        "DARKROOM_WORKER_SLOTS": "2",
    }
    with processes(tmp_path, **settings) as running:
        started = Releases(running, database_url)
        yield started
        for client in started.clients:
            await client.aclose()


async def test_one_release_writes_what_the_other_has_learned_to_read_under_one_lock(
    releases: Releases,
) -> None:
    both = [await releases.api(program) for program in (EXPAND, NEXT)]
    for program in (EXPAND, NEXT):
        releases.running.start("worker", program=program, DARKROOM_SKETCH_SECONDS="0.1")
        releases.running.start("projector", program=program)

    async def both_at_work() -> bool:
        return await releases.rows("SELECT count(*) FROM workers WHERE slots > 0") == [(2,)]

    await eventually(both_at_work, why="not both releases have a worker")
    asking = [both[n % 2].post(URL, json=ASKED, headers=LATER) for n in range(TRIES)]
    answers = await asyncio.gather(*asking)
    accepted = [answer.headers["location"] for answer in answers if answer.status_code == 202]

    async def all_completed() -> bool:
        topics = await releases.topics()
        return topics["generation.completed@1"] + topics["generation.completed@2"] == LIMIT

    await eventually(all_completed, within=60, why="not all are completed")

    async def all_shown() -> bool:
        query = {"status": "completed", "limit": 100}
        pages = [(await client.get(URL, params=query)).json()["items"] for client in both]
        return [len(page) for page in pages] == [LIMIT, LIMIT]

    await eventually(all_shown, why="not all are shown")
    shown = [[(await client.get(path)).json() for path in accepted] for client in both]
    topics = await releases.topics()
    [(in_order,)] = await releases.rows(
        "SELECT bool_and(recorded_at >= before) FROM (SELECT recorded_at, lag(recorded_at)"
        " OVER (ORDER BY notification_id) AS before FROM stored_events) AS log"
    )
    [(taken,)] = await releases.rows("SELECT max(units) FROM quota_counters")
    palettes = await releases.rows(
        "SELECT DISTINCT topic, event ->> 'palette' FROM events"
        " WHERE topic LIKE 'generation.completed@%' ORDER BY topic"
    )
    [(by_v2,)] = await releases.rows("SELECT commands FROM appended_by_v2")

    assert Counter(a.status_code for a in answers) == {202: LIMIT, 429: TRIES - LIMIT}
    assert taken == LIMIT
    assert in_order
    assert topics["generation.completed@1"] > 0, "the release that reads both wrote nothing"
    assert topics["generation.completed@2"] > 0, "the newer release wrote nothing"
    assert palettes == [("generation.completed@1", None), ("generation.completed@2", "warm")]
    assert by_v2 > TRIES / 2
    assert shown[0] == shown[1]
    assert {generation["status"] for generation in shown[0]} == {"completed"}
    assert len(releases.running.calls()) == LIMIT


async def test_a_release_that_does_not_know_an_event_gives_way_and_says_so(
    releases: Releases,
) -> None:
    old = await releases.api(DARKROOM)
    projector = releases.running.start("projector")
    await eventually(lambda: leads(projector), why="the old one does not lead")
    new = await releases.api(NEXT)
    releases.running.start("projector", program=NEXT)

    waiting = asyncio.create_task(old.post(URL, json=ASKED))
    followed = (await old.post(URL, json=ASKED, headers=LATER)).json()
    following = asyncio.create_task(events_of(old, followed["links"]["events"]))
    await asyncio.sleep(0)
    releases.running.start("worker", program=NEXT)
    waited, told = await waiting, await following

    async def all_shown() -> bool:
        items = (await new.get(URL, params={"status": "completed"})).json()["items"]
        return len(items) == 2

    await eventually(all_shown, why="nobody took over from the old projector")
    path = followed["links"]["self"]
    refused, told_by_new = await old.get(path), await new.get(path)
    page = (await old.get(URL)).json()["items"]
    again = await old.post(URL, json=ASKED, headers=LATER)
    old_worker = releases.running.start("worker")
    await eventually(lambda: is_final(new, again.headers["location"]), why="it is not performed")

    assert (waited.status_code, waited.json()["code"]) == (503, "temporary-reduced-capacity")
    assert waited.headers["location"].endswith(waited.json()["generationId"])
    assert told[0] == "generation.requested"
    assert "generation.completed" not in told
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert "newer release" in refused.json()["detail"]
    assert told_by_new.json()["status"] == "completed"
    assert {item["status"] for item in page} == {"completed"}, "lists are read models'"
    assert again.status_code == 202
    gave_way = [e for e in projector.entries() if e["event"].startswith("not following")]
    assert any("generation.completed@2" in entry["event"] for entry in gave_way)
    for process in (projector, old_worker):
        assert not process.ended()
        assert not [e for e in process.entries() if e["level"] == "error"]


async def leads(projector: Process) -> bool:
    leading = [entry for entry in projector.entries() if entry["event"] == "leading"]
    return {entry["read_model"] for entry in leading} >= {model.schema for model in discover()}


async def is_final(client: httpx.AsyncClient, path: str) -> bool:
    return bool((await client.get(path)).json()["status"] == "completed")


async def events_of(client: httpx.AsyncClient, path: str) -> list[str]:
    """The names of what a stream tells until it ends."""
    async with client.stream("GET", path, headers=STREAM) as answer:
        lines = [line async for line in answer.aiter_lines()]
    named = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    return [name for name in named if name != "queue"]
