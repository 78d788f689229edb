"""One command at a time: what the event store adds to the database."""

from __future__ import annotations

import gc
import time
from contextlib import AsyncExitStack, closing
from typing import Any

from psycopg import AsyncConnection

from application.ports.event_store import Accepted
from bench.commands import encoded, supply
from bench.figures import BenchError, Comparison, Figure, side_by_side
from bench.log import Log
from bench.pgbench import pgbench
from bench.servers import Servers
from bench.stores import opened_store
from infrastructure.event_store.store import PostgresEventStore

ROUNDS = 25
SECONDS = 0.2
MOST = 1500  # commands in a round
APPEND = "SELECT append_v1(%b::text[]::jsonb[])"  # as the appender sends it


async def take(servers: Servers) -> Figure:
    """The event store, bare psycopg and pgbench, one connection each, on one function."""
    url = await servers.new_database()
    async with AsyncExitStack() as stack:
        log = stack.enter_context(closing(Log(url)))
        sql = await stack.enter_async_context(pgbench(url, log, servers.new_folder(), clients=1))
        bare = await stack.enter_async_context(await AsyncConnection.connect(url, autocommit=True))
        store = await stack.enter_async_context(opened_store(url))
        ours, psycopg, theirs = await side_by_side(
            lambda: _store_round(store, log),
            lambda: _psycopg_round(bare, log),
            lambda: sql.round(SECONDS),
            rounds=ROUNDS,
        )
    what = "append, one command at a time"
    return Figure(
        title="Append alone",
        setting="One process on uvloop, one connection; psycopg sends commands encoded before the"
        f" clock starts; pgbench with one client. {ROUNDS} rounds of {SECONDS:g} s.",
        measured=(
            Comparison(what, "bare async psycopg", ours, psycopg, at_least=0.9),
            Comparison(what, "pgbench, 1 client", ours, theirs),
        ),
    )


async def _store_round(store: PostgresEventStore, log: Log) -> float:
    commands = supply(MOST)
    gc.collect()
    done, began = 0, time.perf_counter()
    for command in commands:
        if not isinstance(outcome := await store.append(command), Accepted):
            raise BenchError(f"A new request ended as {outcome}.")
        done += 1
        if time.perf_counter() - began > SECONDS:
            break
    reached = done / (time.perf_counter() - began)
    log.expect(done)
    return reached


async def _psycopg_round(connection: AsyncConnection[Any], log: Log) -> float:
    texts = encoded(supply(MOST))
    gc.collect()
    done, began = 0, time.perf_counter()
    for text in texts:
        cursor = await connection.execute(APPEND, ([text],), prepare=True)
        await cursor.fetchall()
        done += 1
        if time.perf_counter() - began > SECONDS:
            break
    reached = done / (time.perf_counter() - began)
    log.expect(done)
    return reached
