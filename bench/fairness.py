"""What nine users wait for their pictures while a tenth floods the service."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from bench import machine
from bench.figures import Amount, BenchError, Comparison, Figure, Latency, Measured
from bench.http import Connection
from bench.load import Load
from bench.one_at_a_time import SIZE, warm_service
from bench.servers import Servers
from bench.service import Service
from bench.stores import opened_store
from tests.people import new_key, new_user

ROUNDS = 3
SECONDS = 20.0  # of each round's every part
USERS = 9
PACE = 1.5  # seconds from one request of a user to their next, unless its picture comes later
WORKERS, SLOTS = 2, 8
SKETCH_SECONDS = 0.5
FLOOD, FLOODING = 5000, 128  # requests, connections
BOUND = {"DARKROOM_MOST_IN_FLIGHT_PER_USER": "1000", "DARKROOM_MOST_IN_FLIGHT": "10000"}
CREATED, ACCEPTED, TOO_MANY = 201, 202, 429


@dataclass
class Waits:
    """Milliseconds from request to picture, and which of them began while the flood was sent."""

    milliseconds: list[float] = field(default_factory=list)
    meanwhile: list[float] = field(default_factory=list)
    flood: Load | None = None
    load_average: str = ""

    def flooded(self, status: int) -> float:
        """How many of the flood were answered so."""
        return 0 if self.flood is None else self.flood.answers.get(str(status), 0)


async def take(servers: Servers) -> Figure:
    """Nine users alone, beside a flood that is bounded, and beside one that is all accepted."""
    alone: list[Waits] = []
    bounded: list[Waits] = []
    unbounded: list[Waits] = []
    for _ in range(ROUNDS):
        alone.append(await _waits(servers, {}, flooded=False))
        bounded.append(await _waits(servers, BOUND, flooded=True))
        unbounded.append(await _waits(servers, {}, flooded=True))
    return Figure(
        title="Nine users beside one who floods",
        setting=f"One `darkroom` api and projector, {WORKERS} workers ({SLOTS} slots each),"
        f" PostgreSQL, Redis and both clients share the processors; the sketch of {SIZE} takes"
        f" {SKETCH_SECONDS:g} s. Nine users, each with a key of their own, ask for one picture"
        f" every {PACE:g} s and wait for it. The tenth sends {FLOOD:,} requests as fast as"
        f" {FLOODING} connections carry them, each once. {ROUNDS} rounds of {SECONDS:g} s each way,"
        " in turn, each on an empty database. Load averages at the ends:"
        f" {_loads(alone)} without; {_loads(bounded)} and {_loads(unbounded)} beside the flood.",
        measured=(
            _wait("alone", alone),
            *_beside("a flood of which 1,000 may be in flight", bounded, alone),
            *_beside("a flood that is all accepted", unbounded, alone),
        ),
    )


def _loads(rounds: list[Waits]) -> str:
    return ", ".join(one.load_average for one in rounds)


def _wait(when: str, rounds: list[Waits]) -> Latency:
    return Latency(f"wait for a picture, {when}", tuple(w for r in rounds for w in r.milliseconds))


def _beside(flood: str, rounds: list[Waits], alone: list[Waits]) -> tuple[Measured, ...]:
    return (
        _wait(f"beside {flood}", rounds),
        Latency(
            "of these, asked for while the flood was being sent",
            tuple(w for r in rounds for w in r.meanwhile),
        ),
        Comparison(
            f"median wait beside {flood}",
            "alone",
            tuple(median(r.milliseconds) for r in rounds),
            tuple(median(r.milliseconds) for r in alone),
            at_most=2,
            unit=" ms",
        ),
        Amount(
            f"accepted of {flood}",
            tuple(r.flooded(ACCEPTED) for r in rounds),
            "",
            note="refused: " + ", ".join(f"{r.flooded(TOO_MANY):,}" for r in rounds),
        ),
        Amount(
            f"how long {flood} was sent",
            tuple(r.flood.seconds for r in rounds if r.flood),
            " s",
        ),
    )


async def _waits(servers: Servers, bound: Mapping[str, str], *, flooded: bool) -> Waits:
    names = ("projector", *["worker"] * WORKERS, "api")
    settings = {
        "DARKROOM_WORKER_SLOTS": str(SLOTS),
        "DARKROOM_SKETCH_SECONDS": str(SKETCH_SECONDS),
        **bound,
    }
    async with warm_service(servers, *names, **settings) as service:
        keys = await _keys(service)
        waits, flooding = Waits(), None
        if flooded:
            flooding = asyncio.create_task(_flood(service, keys.pop()))
        await asyncio.gather(
            *(_ask_for(SECONDS, service, key, waits, flooding) for key in keys[:USERS])
        )
        if flooding is not None:
            waits.flood = await flooding
            _refuse_other_answers(waits.flood)
        waits.load_average = machine.load().split()[0]
        return waits


async def _keys(service: Service) -> list[str]:
    async with opened_store(service.database_url) as store:
        return [await new_key(store, await new_user(store), "generate") for _ in range(USERS + 1)]


async def _flood(service: Service, key: str) -> Load:
    request = service.request(size=SIZE, wait=False, key=key)
    return await service.load(request, connections=FLOODING, seconds=SECONDS * 10, most=FLOOD)


def _refuse_other_answers(flood: Load) -> None:
    answers = Counter(flood.answers)
    if answers.total() != FLOOD or set(answers) - {str(ACCEPTED), str(TOO_MANY)}:
        raise BenchError(f"The flood was answered {flood.answers}.")


async def _ask_for(
    seconds: float, service: Service, key: str, waits: Waits, flooding: asyncio.Task[Load] | None
) -> None:
    """One user's requests, one at a time; when each is due is drawn at random in its turn."""
    connection = await Connection.open(service.port)
    request = service.request(size=SIZE, wait=True, key=key)
    began = time.perf_counter()
    for turn in range(int(seconds / PACE)):
        due = began + (turn + random.random()) * PACE
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        is_flooded = flooding is not None and not flooding.done()
        sent = time.perf_counter()
        answer = await connection.ask(request)
        if answer.status != CREATED:
            raise BenchError(f"One of the nine was answered {answer.status}: {answer.body!r}")
        waited = (time.perf_counter() - sent) * 1000
        waits.milliseconds.append(waited)
        if is_flooded:
            waits.meanwhile.append(waited)
    connection.close()
