"""What a process of the service needs of the machine's memory when it has nothing to do."""

from __future__ import annotations

import asyncio

from bench import processes
from bench.figures import Amount, Figure
from bench.http import Connection
from bench.one_at_a_time import SIZE, finished
from bench.servers import Servers
from bench.service import Service, darkroom

REQUESTS = 100
MOST = 120.0  # MB
SECONDS_OF_REST = 3.0
MEGABYTE = 1_000_000


async def take(servers: Servers) -> Figure:
    """After the start, and after some requests."""
    url = await servers.new_database()
    async with darkroom(servers, url, "projector", "worker", "api") as service:
        after_start = await _rested(service)
        connection = await Connection.open(service.port)
        for _ in range(REQUESTS):
            await finished(connection, service)
        connection.close()
        after_requests = await _rested(service)
    return Figure(
        title="Memory at rest",
        setting=f"`darkroom` api, worker and projector, {SECONDS_OF_REST:g} s after the start and"
        f" {SECONDS_OF_REST:g} s after {REQUESTS} sketches of {SIZE}, by /proc: resident pages, and"
        " beside them the process's share of those that others use too (PSS).",
        measured=tuple(
            Amount(
                f"{name}, after the start, after {REQUESTS} requests",
                tuple(memory.rss / MEGABYTE for memory in memories),
                " MB",
                at_most=MOST,
                note="PSS " + ", ".join(f"{memory.pss / MEGABYTE:.1f}" for memory in memories),
            )
            for name in after_start
            for memories in [(after_start[name], after_requests[name])]
        ),
    )


async def _rested(service: Service) -> dict[str, processes.Memory]:
    await asyncio.sleep(SECONDS_OF_REST)
    return {name: processes.memory(pid) for name, pid in service.pids.items()}
