"""Events a second of a rebuild, each read by the service's own mapper, and the memory it takes."""

from __future__ import annotations

import asyncio
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench import processes
from bench.figures import Amount, BenchError, Figure, Measured, Rate
from bench.filling import fill_log, project
from bench.servers import Servers
from bench.service import Service, python, running
from infrastructure.read_models import discover

GENERATIONS = 50_000
READ_MODELS = {"image_generations": 40_000.0, "jobs": None}  # at least so many events a second
BETWEEN_LOOKS = 0.1
POINTS = 8
MOST_GROWTH = 10.0  # percent, from a third of the way to the end
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Rebuild:
    """How long it took, and how much memory was resident, look by look."""

    seconds: float
    megabytes: list[float]

    def growth(self) -> float:
        """Percent, from what there was a third of the way to the most there was later."""
        after_start = self.megabytes[len(self.megabytes) // 3 :]
        return (max(after_start) / after_start[0] - 1) * 100

    def points(self) -> str:
        """Some of the looks, evenly spread."""
        step = max(1, len(self.megabytes) // POINTS)
        return ", ".join(f"{megabytes:.0f}" for megabytes in self.megabytes[::step]) + " MB"


async def take(servers: Servers) -> Figure:
    """One read model at a time, nobody else at work."""
    url = await servers.new_database()
    events = await fill_log(url, GENERATIONS)
    service = Service(servers, url)
    measured: list[Measured] = []
    for read_model in discover():
        await project(url, read_model)  # a rebuild goes to where the live one is
    for name, goal in READ_MODELS.items():
        rebuild = await _rebuild(service, name)
        what = f"rebuild of {name}"
        measured += [
            Rate(f"{what}, events", (events / rebuild.seconds,), at_least=goal),
            Amount(
                f"{what}, growth of its memory",
                (rebuild.growth(),),
                " %",
                at_most=MOST_GROWTH,
                note=rebuild.points(),
            ),
        ]
    return Figure(
        title="Rebuild",
        setting="`darkroom replay`, in a process of its own, and PostgreSQL; nothing else"
        f" runs. {events:,} events of {GENERATIONS:,} generations. The process's whole"
        f" time, its start included; resident memory every {BETWEEN_LOOKS:g} s.",
        measured=tuple(measured),
    )


@asynccontextmanager
async def rebuilding(service: Service, name: str) -> AsyncIterator[Process]:
    """The process that rebuilds a read model."""
    command = [*python("interfaces.cli.main"), "replay", name]
    async with running("rebuild", command, service) as process:
        yield process


async def _rebuild(service: Service, name: str) -> Rebuild:
    megabytes, began = [], time.monotonic()
    async with rebuilding(service, name) as process:
        while process.returncode is None:
            await asyncio.sleep(BETWEEN_LOOKS)
            if process.returncode is None:
                megabytes.append(processes.memory(process.pid).rss / MEGABYTE)
    seconds = time.monotonic() - began
    if process.returncode != 0:
        raise BenchError(f"The rebuild of {name} failed; it last said:\n{service.last_words()}")
    return Rebuild(seconds, megabytes)
