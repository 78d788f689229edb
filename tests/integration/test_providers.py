"""Providers switched off and on over a real log, seen by processes that only listen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from application.ports.event_store import Accepted
from application.ports.health import Admitted, TurnedAway
from application.providers import ProviderChanges, ProviderWish
from application.switches import Switches
from application.tasks import end
from domain.generation import Generation
from infrastructure.event_store.check import check, compare
from infrastructure.event_store.news import PostgresNews
from infrastructure.event_store.repair import repair
from infrastructure.event_store.store import PostgresEventStore
from tests.fakes import FakeClock
from tests.gates import redis_gatekeeper
from tests.generations import new_generation, request_command
from tests.integration.following import rows
from tests.processes import Processes, eventually

BOSS = UUID(int=1)
OFTEN, NEVER = 0.05, 3600.0  # seconds between looks without news


@asynccontextmanager
async def following(
    store: PostgresEventStore, url: str, *, every: float
) -> AsyncIterator[Switches]:
    """What another process knows."""
    news, switches = PostgresNews(url), Switches(store, every=every)
    await news.open()
    task = asyncio.create_task(switches.follow(news))
    yield switches
    await end(task)
    await news.close()


def changes(store: PostgresEventStore) -> ProviderChanges:
    return ProviderChanges(store, Switches(store), configured=("openai", "gemini"))


async def test_switched_off_in_one_process_no_call_begins_in_another(
    stores: Sequence[PostgresEventStore], database_url: str, redis_url: str
) -> None:
    here, there = stores
    async with following(there, database_url, every=NEVER) as switches:
        gate = redis_gatekeeper(redis_url, FakeClock(), switches=switches)
        assert isinstance(await gate.enter("openai", "m"), Admitted)

        await changes(here).change("openai", ProviderWish(enabled=False), by=BOSS)

        async def is_off() -> bool:
            said = await gate.enter("openai", "m")
            return isinstance(said, TurnedAway) and said.why == "switched_off"

        await eventually(is_off, why="the other process never hears of it")
        assert await gate.order(("openai", "gemini")) == ("gemini",)

        await changes(here).change("openai", ProviderWish(enabled=True, place=2), by=BOSS)

        async def is_second() -> bool:
            return tuple(await gate.order(("openai", "gemini"))) == ("gemini", "openai")

        await eventually(is_second, why="the other process never hears of it")
        await gate.close()


async def test_who_hears_nothing_looks_now_and_then(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    here, there = stores

    class Deaf(PostgresNews):
        async def open(self) -> None:
            pass

    switches = Switches(there, every=OFTEN)
    task = asyncio.create_task(switches.follow(Deaf(database_url)))
    await changes(here).change("gemini", ProviderWish(enabled=False), by=BOSS)

    async def is_off() -> bool:
        return not switches.is_on("gemini")

    await eventually(is_off)
    await end(task)


async def test_the_keys_of_these_commands_are_as_the_events_say(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    off = ProviderWish(enabled=False)
    commands = changes(stores[0])
    await commands.change("openai", off, by=BOSS, idempotency_key="decides")
    await commands.change("openai", off, by=BOSS, idempotency_key="finds it decided")
    assert await check(database_url) == []

    await rows(database_url, "DELETE FROM idempotency_keys")
    (lost,) = await check(database_url)
    assert (lost.part, lost.problem) == ("idempotency", "missing")
    assert [one async for one in repair(database_url, await compare(database_url))] == [lost]
    assert await check(database_url) == []


@pytest.mark.slow
async def test_a_worker_process_calls_no_provider_that_was_switched_off_elsewhere(
    one_service: Processes, stores: Sequence[PostgresEventStore]
) -> None:
    here = stores[0]
    commands = ProviderChanges(here, Switches(here), configured=("sketch",))
    worker = one_service.start("worker")
    await _completed(here, await _placed(here))

    await commands.change("sketch", ProviderWish(enabled=False), by=BOSS)
    refs: list[UUID] = []

    async def is_left_alone() -> bool:
        refs.append(await _placed(here))
        await asyncio.sleep(0.1)
        return any("no provider" in entry["event"] for entry in worker.entries())

    await eventually(is_left_alone, why="the worker goes on calling")
    called = len(one_service.calls())
    refs.append(await _placed(here))
    await commands.change("sketch", ProviderWish(enabled=True), by=BOSS)
    for ref in refs:
        await _completed(here, ref)
    assert called < len(one_service.calls()) == len(refs) + 1


async def _placed(store: PostgresEventStore) -> UUID:
    generation = new_generation(store.now(), spec={"size": "64x64"})
    assert isinstance(await store.append(request_command(generation)), Accepted)
    return generation.id


async def _completed(store: PostgresEventStore, ref: UUID) -> None:
    async def is_completed() -> bool:
        generation = await store.get(Generation, ref)
        return generation is not None and generation.status == "completed"

    await eventually(is_completed, within=60, why=f"{ref} is never completed")
