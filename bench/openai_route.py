"""What Darkroom adds to the openai SDK: through its OpenAI route, and straight to the same server.

The server is the tests' own, in a process of its own. Through Darkroom every request is a
generation: recorded, called for, stored, confirmed and answered with its bytes.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median

import httpx

from bench.figures import BenchError, Comparison, Figure, Latency, Measured
from bench.load import Load
from bench.sdk_load import PIXELS, PROMPT
from bench.servers import Servers
from bench.service import ROOT, Service, darkroom, python
from tests.servers.pictures import picture
from tests.servers.running import environment_of, key_of, server_process

AT_ONCE = (1, 16, 64)
SMALL, LARGE = 275, 100_000  # bytes of noise in a picture; a PNG has a hundred more
ROUNDS, ROUNDS_OF_SLOW = 3, 2
SECONDS = 4.0
WORKERS, SLOTS = 2, 64


@dataclass(frozen=True)
class Way:
    """How the server answers, how many ask at once, and how often both ways take turns."""

    seconds: float
    noise: int
    at_once: int
    rounds: int

    @property
    def name(self) -> str:
        size = len(picture(f"{PROMPT} 1", (PIXELS, PIXELS), at_least=self.noise))
        told = f"{size / 1000:.0f} kB" if size > 10_000 else f"{size} bytes"
        when = f"after {self.seconds:g} s" if self.seconds else "at once"
        return f"{self.at_once} at once, {told}, answered {when}"


LOADS = [
    Way(seconds, noise, at_once, rounds)
    for seconds, rounds in ((0.0, ROUNDS), (2.0, ROUNDS_OF_SLOW))
    for noise in (SMALL, LARGE)
    for at_once in AT_ONCE
]


async def take(servers: Servers) -> Figure:
    """Both ways take turns, load by load."""
    measured: list[Measured] = []
    folder = servers.new_folder()
    with server_process("openai", folder / "openai.log") as provider:
        async with _service(servers, provider) as service:
            for load in LOADS:
                measured += await _compared(service, provider, load)
    return Figure(
        title="The OpenAI route beside the provider itself",
        setting=f"The openai SDK in a process of its own asks the tests' OpenAI server straight, or"
        f" through a `darkroom` api, {WORKERS} workers ({SLOTS} slots each), projector, PostgreSQL"
        f" and Redis, which all share the processors with it. {ROUNDS} rounds of {SECONDS:g} s;"
        f" where the server answers late {ROUNDS_OF_SLOW}, and that much longer.",
        measured=tuple(measured),
    )


@asynccontextmanager
async def _service(servers: Servers, provider: str) -> AsyncIterator[Service]:
    url = await servers.new_database()
    settings = {
        **environment_of({"openai": provider}),
        "DARKROOM_PROVIDERS": "openai",
        "DARKROOM_WORKER_SLOTS": str(SLOTS),
    }
    names = ("projector", *["worker"] * WORKERS, "api")
    async with darkroom(servers, url, *names, **settings) as service:
        yield service


async def _compared(service: Service, provider: str, load: Way) -> list[Measured]:
    async with httpx.AsyncClient() as control:
        told = {"delay": load.seconds, "options": {"picture_bytes": load.noise}}
        (await control.post(f"{provider}/_control", json=told)).raise_for_status()
    straight, through = [], []
    for _ in range(load.rounds):
        straight.append(await _asked(f"{provider}/v1", key_of("openai"), load))
        through.append(await _asked(f"http://127.0.0.1:{service.port}/v1", service.key, load))
    return [
        Comparison(
            f"requests through Darkroom, {load.name}",
            "straight",
            tuple(one.rate(200) for one in through),
            tuple(one.rate(200) for one in straight),
        ),
        Latency(
            f"through Darkroom, {load.name}: {_added(through, straight):+.0f} ms in the median",
            tuple(took for one in through for took in one.milliseconds),
            (50, 95, 99),
        ),
    ]


def _added(through: list[Load], straight: list[Load]) -> float:
    return _median(through) - _median(straight)


def _median(loads: list[Load]) -> float:
    return median(took for load in loads for took in load.milliseconds)


async def _asked(address: str, key: str, load: Way) -> Load:
    process = await asyncio.create_subprocess_exec(
        *python("bench.sdk_load"),
        f"--address={address}",
        f"--key={key}",
        f"--at-once={load.at_once}",
        f"--seconds={SECONDS + load.seconds}",
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=sys.stderr,
    )
    said, _ = await process.communicate()
    if process.returncode != 0:
        raise BenchError("The openai SDK failed, for the reason above.")
    return Load(**json.loads(said))
