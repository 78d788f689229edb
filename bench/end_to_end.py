"""Generations a second, from request to permanent URL, all processes on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench import processes
from bench.figures import BenchError, Figure, Measured, Parts, Rate
from bench.one_at_a_time import warm_service
from bench.servers import Servers
from bench.service import Service

SIZES = {"128x128": 100.0, "1024x1024": None}  # at least so many a second
WORKERS, SLOTS = 2, 8
ROUNDS = 3
SECONDS = 4.0
CONNECTIONS = 32
CREATED = 201


@dataclass(frozen=True)
class Round:
    """Generations a second, and the milliseconds of processor time that each took, by process."""

    rate: float
    milliseconds: Mapping[str, float]


async def take(servers: Servers) -> Figure:
    """So many clients that each wait for their picture and ask for the next one."""
    names = ("projector", *["worker"] * WORKERS, "api")
    async with warm_service(servers, *names, DARKROOM_WORKER_SLOTS=str(SLOTS)) as service:
        measured: list[Measured] = []
        for size, goal in SIZES.items():
            measured += _measured(size, goal, [await _round(service, size) for _ in range(ROUNDS)])
        connections = _connections(service)
    return Figure(
        title="Generations end to end",
        setting=f"One `darkroom` api, {WORKERS} worker ({SLOTS} slots each), one projector,"
        f" PostgreSQL, Redis and the load client ({CONNECTIONS} connections that each wait for a"
        f" 201) share the processors. {ROUNDS} rounds of {SECONDS:g} s. Connections to PostgreSQL"
        f" and Redis: {connections}.",
        measured=tuple(measured),
    )


def _measured(size: str, goal: float | None, rounds: list[Round]) -> tuple[Measured, Measured]:
    return (
        Rate(f"generations of one sketch of {size}", tuple(r.rate for r in rounds), goal),
        Parts(f"processor time of a generation of {size}", tuple(r.milliseconds for r in rounds)),
    )


async def _round(service: Service, size: str) -> Round:
    request = service.request(size=size, wait=True)
    before = _processor_seconds(service)
    load = await service.load(request, connections=CONNECTIONS, seconds=SECONDS)
    after = _processor_seconds(service)
    if set(load.answers) != {str(CREATED)}:
        raise BenchError(f"Not all requests got their picture: {load.answers}")
    seconds = {name: after[name] - before[name] for name in before}
    seconds["load client"] = load.processor_seconds
    generations = load.answers[str(CREATED)]
    return Round(
        rate=load.rate(CREATED),
        milliseconds={name: spent * 1000 / generations for name, spent in seconds.items()},
    )


def _processor_seconds(service: Service) -> dict[str, float]:
    pids = service.pids | service.servers.pids()
    return {name: processes.processor_seconds(pid) for name, pid in pids.items()}


def _connections(service: Service) -> str:
    ports = service.servers.ports()
    counted = {name: processes.connections(pid, ports) for name, pid in service.pids.items()}
    return ", ".join(f"{name} {of['PostgreSQL']} and {of['Redis']}" for name, of in counted.items())
