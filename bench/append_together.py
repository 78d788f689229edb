"""Many commands at once through one event store, which sends them together."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from statistics import median

import psycopg

from application.ports.event_store import Accepted, Command
from bench.commands import supply
from bench.figures import Amount, BenchError, Comparison, Figure, Measured, side_by_side
from bench.log import Log
from bench.pgbench import pgbench
from bench.postgres import SlowPostgres
from bench.servers import Servers
from bench.stores import opened_store
from infrastructure.event_store.store import PostgresEventStore

ROUNDS = 7
SECONDS = 0.5
CLIENTS = 64
MOST = 6000  # commands in a round
DELAYS = {1: 5.0, 4: 8.0}  # milliseconds added to a commit: the ratio to reach
COMMITS = 50


async def take(servers: Servers) -> Figure:
    """One store with 64 callers beside 64 clients of pgbench that send one command a call."""
    measured: list[Measured] = [await _beside_pgbench(servers, "as is", 2.0)]
    folder = servers.new_folder()
    postgres = SlowPostgres(folder / "postgres")
    with Servers(folder, postgres) as slow:
        waits = [commit_latency(slow.url)]
        for delay, goal in DELAYS.items():
            postgres.add(delay)
            waits.append(commit_latency(slow.url, at_least=delay))
            what = f"{delay} ms added to a commit"
            measured.append(await _beside_pgbench(slow, what, goal))
    return Figure(
        title="Append, 64 commands at once",
        setting=f"One process with {CLIENTS} callers, one connection; pgbench with {CLIENTS}"
        f" clients, one command a call. {ROUNDS} rounds of {SECONDS:g} s. Commit latency is added"
        " by a library in PostgreSQL's processes that waits in fdatasync, for both.",
        measured=(
            *measured,
            Amount("a commit alone, with 0, 1 and 4 ms added", tuple(waits), " ms"),
        ),
    )


def commit_latency(database_url: str, *, at_least: float = 0) -> float:
    """The median milliseconds of a commit of one session. Raises BenchError for less than that."""
    times = []
    with psycopg.connect(database_url, autocommit=True) as connection:
        for _ in range(COMMITS):
            began = time.perf_counter()
            connection.execute("SELECT pg_logical_emit_message(true, 'bench', 'a commit')")
            times.append((time.perf_counter() - began) * 1000)
    middle = median(times)
    if middle < at_least:
        raise BenchError(f"A commit takes {middle:.1f} ms, and {at_least} ms were added to it.")
    return middle


async def _beside_pgbench(servers: Servers, what: str, goal: float) -> Comparison:
    url = await servers.new_database()
    async with AsyncExitStack() as stack:
        log = stack.enter_context(closing(Log(url)))
        sql = await stack.enter_async_context(
            pgbench(url, log, servers.new_folder(), clients=CLIENTS)
        )
        store = await stack.enter_async_context(opened_store(url))
        ours, theirs = await side_by_side(
            lambda: _store_round(store, log), lambda: sql.round(SECONDS), rounds=ROUNDS
        )
    return Comparison(
        f"append, {CLIENTS} at once, {what}",
        f"pgbench, {CLIENTS} clients",
        ours,
        theirs,
        at_least=goal,
    )


async def _store_round(store: PostgresEventStore, log: Log) -> float:
    commands = supply(MOST)
    gc.collect()
    began = time.perf_counter()
    done = await asyncio.gather(
        *(_append(store, commands, until=began + SECONDS) for _ in range(CLIENTS))
    )
    reached = sum(done) / (time.perf_counter() - began)
    log.expect(sum(done))
    return reached


async def _append(store: PostgresEventStore, commands: Iterator[Command], *, until: float) -> int:
    done = 0
    while time.perf_counter() < until and (command := next(commands, None)):
        if not isinstance(outcome := await store.append(command), Accepted):
            raise BenchError(f"A new request ended as {outcome}.")
        done += 1
    return done
