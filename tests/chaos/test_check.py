"""The check, again and again under load and kills: what is right is never named, nor mended."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from application.tasks import end
from infrastructure.event_store.check import Difference, check, compare
from infrastructure.event_store.repair import repair
from tests.e2e.stack import Stack, running, settings_for
from tests.processes import Processes, eventually, processes

URL = "/api/v1/generations"
OPEN = """
SELECT count(*) FROM stored_events r WHERE topic = 'generation.requested@1' AND NOT EXISTS
 (SELECT FROM stored_events c WHERE c.originator_id = r.originator_id AND c.topic = ANY
  ('{generation.completed@1,generation.failed@1,generation.cancelled@1}'))
"""
NOTHING_OF = (
    "INSERT INTO work VALUES ('generate', '{ref}', '{user}', now() + '1 day', 0, NULL, now())"
)
SPOIL = """
UPDATE quota_counters SET units = units + 5, requests = requests - 1;
INSERT INTO quota_limits SELECT DISTINCT user_id, 'daily', NULL::bigint FROM quota_counters;
DELETE FROM idempotency_keys WHERE key IN (SELECT key FROM idempotency_keys LIMIT 3);
"""
FAULTS = "refuse=0.1,fail=0.2,hang=0.1"


class Load:
    """Clients that ask, cancel, delete and retry, with keys, and workers that are killed."""

    def __init__(self, stack: Stack, workers: Processes, seed: int) -> None:
        self.stack, self.workers = stack, workers
        self.random = random.Random(seed)
        self.asked: list[str] = []

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._ask()) for _ in range(6)]
        tasks.append(asyncio.create_task(self._kill()))
        try:
            yield
        finally:
            outcomes = await end(*tasks)
        assert all(isinstance(one, asyncio.CancelledError) for one in outcomes), outcomes

    async def _ask(self) -> None:
        headers = {"Prefer": "respond-async"}
        while True:
            body = {"prompt": "a fox", "size": "64x64", "count": self.random.randint(1, 4)}
            headers["Idempotency-Key"] = str(uuid4())
            answer = await self.stack.client.post(URL, json=body, headers=headers)
            assert answer.status_code == 202, answer.text
            self.asked.append(answer.json()["id"])
            await self._act(f"{URL}/{self.random.choice(self.asked)}")

    async def _act(self, url: str) -> None:
        headers = {"Prefer": "respond-async", "Idempotency-Key": str(uuid4())}
        match self.random.choice(("cancel", "delete", "retry", "wait")):
            case "wait":
                await asyncio.sleep(0.05)
                return
            case "delete":
                answer = await self.stack.client.delete(url, headers=headers)
            case act:
                answer = await self.stack.client.post(f"{url}/{act}", headers=headers)
        assert answer.status_code < 500, answer.text

    async def _kill(self) -> None:
        workers = deque([self.workers.start("worker")])
        while True:
            workers.append(self.workers.start("worker"))
            await asyncio.sleep(self.random.uniform(2, 4))
            workers.popleft().kill()

    async def until_all_is_final(self) -> None:
        self.workers.start("worker")

        async def none_is_open() -> bool:
            return (await self.stack.rows(OPEN))[0][0] == 0

        await eventually(none_is_open, within=60, why="generations are not final")


@pytest.fixture
async def load(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[Load]:
    settings = settings_for(
        tmp_path,
        database_url,
        redis_url,
        sketch_faults=FAULTS,
        call_seconds="2",
        lease_seconds="2",
        deadline_seconds="20",
        daily_quota="unlimited",
        monthly_quota="unlimited",
        most_in_flight_per_user="10000",  # one user's load
    )
    async with running(settings) as stack:
        with processes(tmp_path, **settings.environ()) as workers:
            yield Load(stack, workers, seed=7)


@pytest.mark.slow
async def test_what_is_spoilt_under_load_is_named_and_mended_and_nothing_else(load: Load) -> None:
    url = load.stack.container.database_url()
    async with load.going_on():
        for _ in range(12):
            assert await check(url) == []
            await asyncio.sleep(0.5)
        ((user,),) = await load.stack.rows("SELECT DISTINCT user_id FROM quota_counters")
        await load.stack.rows(SPOIL + NOTHING_OF.format(ref=uuid4(), user=user))
        found = await compare(url)
        assert _named(found.differences) == [
            *[("idempotency", "missing")] * 3,
            ("limits", "unexplained"),
            ("quota", "differs"),
            ("quota", "differs"),
            ("work", "unexplained"),
        ]
        await asyncio.sleep(1)  # the load goes on
        mended = [difference async for difference in repair(url, found)]
        assert _named(mended) == _named(found.differences)
        for _ in range(12):
            assert await check(url) == []
            assert [d async for d in repair(url, found)] == []
            await asyncio.sleep(0.5)
    await load.until_all_is_final()
    assert await check(url) == []
    assert len(load.asked) > 100


def _named(differences: list[Difference]) -> list[tuple[str, str]]:
    return sorted((difference.part, difference.problem) for difference in differences)
