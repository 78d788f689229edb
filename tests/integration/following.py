"""A read model that only remembers what it was told, and what the tests of followers share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import psycopg

from application.ports.event_store import Accepted, Command, EventStore
from application.tasks import end
from domain.aggregate import Aggregate
from domain.generation import Generation
from infrastructure.event_store.follower import Follower
from infrastructure.event_store.follower_tables import FollowerState, follower_states
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.read_models.read_model import ReadModel, Statement
from tests.generations import new_generation

RECORDING = ReadModel(
    name="recording",
    version=1,
    create="""
        CREATE TABLE recording (
            place bigserial PRIMARY KEY, position bigint NOT NULL, id uuid NOT NULL,
            topic text NOT NULL CONSTRAINT not_forbidden CHECK (topic <> 'generation.cancelled'),
            backend integer NOT NULL DEFAULT pg_backend_pid())""",
    statements=(
        Statement(
            Generation.Event,
            """INSERT INTO recording (position, id, topic)
               SELECT position, id, topic
                 FROM jsonb_to_recordset(%s::jsonb) AS r(position bigint, id uuid, topic text)
                ORDER BY position""",
            lambda event: {"topic": event.topic},
        ),
    ),
)


async def rows(database_url: str, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """What the database says now."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        cursor = await connection.execute(query, parameters or None)
        return await cursor.fetchall() if cursor.description else []


async def recorded(database_url: str) -> list[int]:
    """The positions that the recording read model was told, in the order it was told them."""
    if not (await rows(database_url, "SELECT to_regclass('recording') IS NOT NULL"))[0][0]:
        return []
    return [
        row[0] for row in await rows(database_url, "SELECT position FROM recording ORDER BY place")
    ]


async def logged(database_url: str) -> list[int]:
    """The positions of the log."""
    query = "SELECT notification_id FROM stored_events ORDER BY 1"
    return [row[0] for row in await rows(database_url, query)]


async def eventually(
    condition: Callable[[], Awaitable[bool]], *, within: float = 30.0, what: str = "it"
) -> None:
    """Wait until the condition holds; fail when it does not within that many seconds."""
    deadline = asyncio.get_running_loop().time() + within
    while not await condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{what} did not become true within {within} s")
        await asyncio.sleep(0.02)


async def recorded_all(database_url: str, *, within: float = 30.0) -> None:
    """Wait until the read model has been told the whole log, in order, once."""

    async def complete() -> bool:
        return await recorded(database_url) == await logged(database_url)

    await eventually(complete, within=within, what="every event's being recorded, in order, once")


@asynccontextmanager
async def running(*followers: Follower) -> AsyncIterator[None]:
    """Let followers follow meanwhile."""
    tasks = [asyncio.create_task(follower.run()) for follower in followers]
    try:
        yield
    finally:
        outcomes = await end(*tasks)
    assert all(isinstance(one, asyncio.CancelledError) for one in outcomes), outcomes


async def append(store: EventStore, *decided: Aggregate) -> None:
    """Record what these aggregates decided, each in a command of its own."""
    commands = [Command(events=one.collect_events()) for one in decided]
    outcomes: Sequence[Any] = await asyncio.gather(*map(store.append, commands))
    assert all(isinstance(outcome, Accepted) for outcome in outcomes), outcomes


async def write(stores: Sequence[PostgresEventStore], *, writers: int = 8, each: int = 20) -> None:
    """Writers that write at once, each generation in two commands of three events in all."""

    async def one(store: PostgresEventStore) -> None:
        for _ in range(each):
            generation = new_generation(store.now(), count=2)
            await append(store, generation)
            generation.start_call(provider="sketch", model="sketch-1", images=(1,))
            generation.start_call(provider="sketch", model="sketch-1", images=(2,))
            await append(store, generation)

    await asyncio.gather(*(one(stores[n % len(stores)]) for n in range(writers)))


async def has_position(database_url: str, position: int) -> bool:
    """Whether the recording read model was told this event."""
    return position in await recorded(database_url)


async def write_raw(database_url: str, topic: str, state: str) -> None:
    """Put into the log what no append of this release would."""
    await rows(
        database_url,
        "INSERT INTO stored_events (originator_id, originator_version, topic, state, recorded_at)"
        " VALUES (%s, 1, %s, convert_to(%s, 'UTF8'), now())",
        uuid4(),
        topic,
        state,
    )


async def state(store: PostgresEventStore) -> FollowerState:
    """The recording read model's, as an operator sees it."""
    states = await follower_states(store.fetch)
    return next(state for state in states if state.name == RECORDING.name)


async def goes_on(store: PostgresEventStore) -> bool:
    """Whether all is well and done."""
    now = await state(store)
    return (now.behind, now.parked, now.error) == (0, 0, None)


def follower(
    database_url: str, read_model: ReadModel = RECORDING, *, batch: int = 1000
) -> Follower:
    """One that follows into the recording read model."""
    return Follower(database_url, read_model, batch=batch)
