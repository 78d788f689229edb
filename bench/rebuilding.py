"""Events a second of a rebuild, each read by the service's own mapper, and the memory it takes."""

from __future__ import annotations

import asyncio
import json
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from bench import processes
from bench.figures import Amount, BenchError, Figure, Measured, Rate
from bench.filling import fill_log
from bench.servers import Servers
from bench.service import Service, python, running
from infrastructure.event_store.connections import connect

GENERATIONS = 100_000
READ_MODELS = {"image_generations": 40_000.0, "jobs": None}  # at least so many events a second
BETWEEN_LOOKS = 0.1
POINTS = 8
MOST_GROWTH = 10.0  # percent, from a third of the way to the end
MEGABYTE = 1_000_000
# A rebuild goes as far as the live one is: so the first one fills tables that are empty.
AT_THE_END = """
UPDATE follower_positions SET position = (SELECT max(notification_id) FROM stored_events)
 WHERE name = %s
"""


@dataclass(frozen=True)
class Rebuild:
    """How long it took, by the clock and as it says itself; resident memory, look by look."""

    seconds: float
    own_seconds: float
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
    """One read model at a time, nobody else at work; each has all of the log already."""
    url = await servers.new_database()
    events = await fill_log(url, GENERATIONS)
    service = Service(servers, url)
    measured: list[Measured] = []
    for name, goal in READ_MODELS.items():
        await fill_read_model(service, name)
        rebuild = await _rebuild(service, name, events)
        what = f"rebuild of {name}"
        measured += [
            Rate(f"{what}, events", (events / rebuild.seconds,), at_least=goal),
            Rate(f"{what}, events, the process's start left out", (events / rebuild.own_seconds,)),
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
        f" runs. {events:,} events of {GENERATIONS:,} generations, compared with the live tables,"
        " which have all of them, and swapped. The process's whole time, its start included;"
        f" resident memory every {BETWEEN_LOOKS:g} s.",
        measured=tuple(measured),
    )


async def fill_read_model(service: Service, name: str) -> None:
    """Bring a read model to the end of the log, as fast as a rebuild does."""
    async with await connect(service.database_url, "bench fill") as connection:
        await connection.execute(AT_THE_END, (name,))
    async with rebuilding(service, name) as process:
        await process.wait()
    _said(service)


@asynccontextmanager
async def rebuilding(service: Service, name: str) -> AsyncIterator[Process]:
    """The process that rebuilds a read model."""
    command = [*python("interfaces.cli.main"), "replay", name, "--json"]
    async with running("rebuild", command, service) as process:
        yield process


async def _rebuild(service: Service, name: str, events: int) -> Rebuild:
    megabytes, began = [], time.monotonic()
    async with rebuilding(service, name) as process:
        while process.returncode is None:
            await asyncio.sleep(BETWEEN_LOOKS)
            with suppress(ProcessLookupError, FileNotFoundError):  # it has ended
                megabytes.append(processes.memory(process.pid).rss / MEGABYTE)
    seconds = time.monotonic() - began
    said = _said(service)
    if said["events"] != events or said["differences"]:
        raise BenchError(f"The rebuild of {name} was not one of all {events} events: {said}")
    return Rebuild(seconds, said["seconds"], megabytes)


def _said(service: Service) -> dict[str, Any]:
    """What the last rebuild said of itself. Raises BenchError."""
    last = (service.folder / "rebuild.log").read_text().splitlines()[-1:]
    if not last or not last[0].startswith('{"readModels"'):
        raise BenchError(f"A rebuild failed; it last said:\n{service.last_words()}")
    said: dict[str, Any] = json.loads(last[0])["readModels"][0]
    return said
