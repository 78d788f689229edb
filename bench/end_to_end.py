"""Generations a second, from request to permanent URL, all processes on this machine."""

from __future__ import annotations

from bench.figures import BenchError, Figure, Rate
from bench.one_at_a_time import SIZE, idle_service
from bench.servers import Servers
from bench.service import Service

ROUNDS = 3
SECONDS = 4.0
CONNECTIONS = 32
CREATED = 201


async def take(servers: Servers) -> Figure:
    """So many clients that each wait for their picture and ask for the next one."""
    async with idle_service(servers) as service:
        rates = [await _round(service) for _ in range(ROUNDS)]
    return Figure(
        title="Generations end to end",
        setting="One `darkroom` api, worker (8 slots) and projector each, PostgreSQL, Redis and the"
        f" load client ({CONNECTIONS} connections that each wait for a 201) share the processors."
        f" {ROUNDS} rounds of {SECONDS:g} s.",
        measured=(Rate(f"generations of one sketch of {SIZE}", tuple(rates), at_least=100.0),),
    )


async def _round(service: Service) -> float:
    request = service.request(size=SIZE, wait=True)
    load = await service.load(request, connections=CONNECTIONS, seconds=SECONDS)
    if set(load.answers) != {str(CREATED)}:
        raise BenchError(f"Not all requests got their picture: {load.answers}")
    return load.rate(CREATED)
