"""Many commands at once through one event store, which sends them together."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing

from application.ports import Accepted, Command
from bench.commands import supply
from bench.figures import BenchError, Comparison, Figure, side_by_side
from bench.log import Log
from bench.pgbench import pgbench
from bench.servers import Servers
from bench.stores import opened_store
from infrastructure.event_store.store import PostgresEventStore

ROUNDS = 7
SECONDS = 0.5
CLIENTS = 64
MOST = 6000  # commands in a round
DELAYS = {0: 2.0, 1: 5.0, 4: 8.0}  # milliseconds added to a commit: the ratio to reach


async def take(servers: Servers) -> Figure:
    """One store with 64 callers beside 64 clients of pgbench that send one command a call."""
    measured = [await _beside_pgbench(servers, delay) for delay in DELAYS]
    return Figure(
        title="Append, 64 commands at once",
        setting=f"One process with {CLIENTS} callers, one connection; pgbench with {CLIENTS}"
        f" clients, one command a call. {ROUNDS} rounds of {SECONDS:g} s. Commit latency is added"
        " by PostgreSQL's commit_delay, to both.",
        measured=tuple(measured),
    )


async def _beside_pgbench(servers: Servers, delay: int) -> Comparison:
    url = await servers.new_database(commit_delay=delay * 1000)
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
        f"append, {CLIENTS} at once, {f'{delay} ms added to a commit' if delay else 'as is'}",
        f"pgbench, {CLIENTS} clients",
        ours,
        theirs,
        at_least=DELAYS[delay],
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
