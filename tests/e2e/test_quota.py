"""The quota under load, through two API processes."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from infrastructure.event_store.check import check
from infrastructure.event_store.follower_tables import ensure_tables
from tests.e2e.stack import free_port
from tests.integration.following import rows
from tests.processes import ADMIN_KEY, Processes, eventually, processes

LIMIT = 500
REQUESTS = 2000
CONCURRENCY = 64
LIMIT_OF_EACH, REQUESTS_OF_THEM = 50, 700
END_USERS = ("jane@example.org", "joe@example.org", "jim@example.org")
UNITS_OF_EACH = "SELECT units FROM quota_counters WHERE window_type = 'end-user-daily'"

UNITS_BY_EVENTS = """
SELECT w ->> 'type', (w ->> 'starts_at')::timestamptz,
       sum((r.event ->> 'units')::int - coalesce((f.event ->> 'units_returned')::int, 0))
  FROM events r
 CROSS JOIN jsonb_array_elements(r.event -> 'windows') w
  LEFT JOIN events f ON f.originator_id = r.originator_id AND f.topic IN
       ('generation.completed@1', 'generation.failed@1', 'generation.cancelled@1')
 WHERE r.topic = 'generation.requested@1'
 GROUP BY 1, 2 ORDER BY 1
"""
COUNTED_UNITS = (
    "SELECT window_type, starts_at, sum(units) FROM quota_counters GROUP BY 1, 2 ORDER BY 1"
)


async def _counted(database_url: str) -> list[tuple[Any, ...]]:
    """Units by the counters, which are those by the events in the same snapshot."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        by_events = await (await connection.execute(UNITS_BY_EVENTS)).fetchall()
        counted = await (await connection.execute(COUNTED_UNITS)).fetchall()
    assert counted == by_events
    return counted


@asynccontextmanager
async def _two_apis(
    folder: Path, database_url: str, redis_url: str, **limits: str
) -> AsyncIterator[tuple[Processes, list[httpx.AsyncClient]]]:
    """Two processes and a client of each; some of what is asked for is refused."""
    await ensure_tables(database_url)
    ports = [free_port(), free_port()]
    with processes(
        folder,
        DATABASE_URL=database_url,
        REDIS_URL=redis_url,
        DARKROOM_ADMIN_KEY=ADMIN_KEY,
        DARKROOM_SKETCH_FAULTS="refuse=0.2",
        **limits,
    ) as running:
        for port in ports:
            running.start("api", DARKROOM_PORT=str(port))
        clients = [await _client(port) for port in ports]
        yield running, clients
        for client in clients:
            await client.aclose()


async def _work_off(running: Processes, database_url: str) -> None:
    running.start("worker", DARKROOM_WORKER_SLOTS="32")
    await eventually(lambda: _nothing_is_due(database_url), within=60, why="work is left")


@pytest.mark.slow
async def test_exactly_the_limit_is_taken_by_two_thousand_requests_through_two_processes(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    limits = {"DARKROOM_DAILY_QUOTA": str(LIMIT)}
    async with _two_apis(tmp_path, database_url, redis_url, **limits) as (running, clients):
        answers = await _flood(clients, REQUESTS)
        counted = await _counted(database_url)
        assert [(row[0], row[2]) for row in counted] == [("daily", LIMIT), ("monthly", LIMIT)]
        assert set(answers) == {202, 429}

        await _work_off(running, database_url)
        counted = await _counted(database_url)
        assert counted[0][2] < LIMIT, "refused pictures gave their units back"


@pytest.mark.slow
async def test_exactly_their_limit_is_taken_for_each_end_user_through_two_processes(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    limits = {
        "DARKROOM_DAILY_QUOTA": "unlimited",
        "DARKROOM_END_USER_DAILY_QUOTA": str(LIMIT_OF_EACH),
    }
    async with _two_apis(tmp_path, database_url, redis_url, **limits) as (running, clients):
        answers = await _flood(clients, REQUESTS_OF_THEM, end_users=END_USERS)
        counted = await _counted(database_url)
        assert {row[0]: row[2] for row in counted} == dict.fromkeys(
            ("daily", "monthly", "end-user-daily", "end-user-monthly"),
            LIMIT_OF_EACH * len(END_USERS),
        )
        assert await rows(database_url, UNITS_OF_EACH) == [(LIMIT_OF_EACH,)] * len(END_USERS)
        assert set(answers) == {202, 429}
        told = await clients[0].get("/api/v1/me/quota", params={"endUser": END_USERS[0]})
        assert [window["used"] for window in told.json()["windows"][2:]] == [LIMIT_OF_EACH] * 2

        await _work_off(running, database_url)
        await _counted(database_url)
        assert all(units < LIMIT_OF_EACH for (units,) in await rows(database_url, UNITS_OF_EACH))
        assert await check(database_url) == []
        for process in running.started:
            assert "example.org" not in process.log.read_text()


async def _client(port: int) -> httpx.AsyncClient:
    client = httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Authorization": f"Bearer {ADMIN_KEY}"},
        timeout=60,
        limits=httpx.Limits(max_connections=CONCURRENCY),
    )

    async def listening() -> bool:
        try:
            return (await client.get("/livez")).status_code == 200
        except httpx.TransportError:
            return False

    await eventually(listening)
    return client


async def _flood(
    clients: list[httpx.AsyncClient], requests: int, *, end_users: Sequence[str | None] = (None,)
) -> Counter[int]:
    """All requests, of one to four pictures, sixty-four at a time; single ones fill the rest."""
    counts = random.Random(7)
    sizes = iter([counts.randint(1, 4) for _ in range(requests // 2)] + [1] * (requests // 2))
    turns, whose, answers = cycle(clients), cycle(end_users), Counter[int]()

    async def send_some() -> None:
        for count in sizes:
            answer = await next(turns).post(
                "/api/v1/generations",
                json={
                    "prompt": "a tree",
                    "size": "64x64",
                    "count": count,
                    "endUser": next(whose),
                },
                headers={"Prefer": "respond-async"},
            )
            answers[answer.status_code] += 1

    await asyncio.gather(*(send_some() for _ in range(CONCURRENCY)))
    return answers


async def _nothing_is_due(database_url: str) -> bool:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        row = await (await connection.execute("SELECT count(*) FROM work")).fetchone()
        return row == (0,)
