"""From the commit of a request to its row in the history."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from application.ports import Accepted
from bench.commands import new_request
from bench.figures import BenchError, Figure, Latency
from bench.one_at_a_time import SETTING, SIZE, TIMES, idle_service, pause
from bench.servers import Servers
from bench.stores import opened_store
from infrastructure.event_store.store import PostgresEventStore

BETWEEN_LOOKS = 0.0005  # seconds; a row may have been there for so long when it is seen
LOOKS = 10_000
LOOK = "SELECT clock_timestamp() FROM image_generations WHERE id = %s"


async def take(servers: Servers) -> Figure:
    """By PostgreSQL's clock at both ends."""
    async with idle_service(servers) as service:
        url = service.database_url
        async with (
            opened_store(url) as store,
            await AsyncConnection.connect(url, autocommit=True) as history,
        ):
            lags = [await _lag(store, history) for _ in range(TIMES)]
    return Figure(
        title="View lag",
        setting=f"{SETTING} Here each is recorded by the load client itself, which then looks for"
        " its row every 0.5 ms.",
        measured=(Latency("from recorded_at to the row in image_generations", tuple(lags)),),
    )


async def _lag(store: PostgresEventStore, history: AsyncConnection[Any]) -> float:
    await pause()
    request = new_request(SIZE)
    outcome = await store.append(request.command)
    if not isinstance(outcome, Accepted):
        raise BenchError(f"A new request ended as {outcome}.")
    seen = await _seen(history, request.generation)
    return (seen - outcome.recorded_at).total_seconds() * 1000


async def _seen(history: AsyncConnection[Any], generation: UUID) -> datetime:
    for _ in range(LOOKS):
        cursor = await history.execute(LOOK, (generation,), prepare=True)
        if row := await cursor.fetchone():
            seen: datetime = row[0]
            return seen
        await asyncio.sleep(BETWEEN_LOOKS)
    raise BenchError("The projector did not get to see a request.")
