"""The load client: one request again and again over many connections, in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass

import uvloop

from bench.http import Connection


@dataclass(frozen=True)
class Load:
    """How many answers of each status came in how many seconds, and what counting them took."""

    answers: dict[str, int]
    seconds: float
    processor_seconds: float

    def rate(self, status: int) -> float:
        """Answers of this status a second."""
        return self.answers.get(str(status), 0) / self.seconds


async def run(port: int, request: bytes, *, connections: int, seconds: float) -> Load:
    """Ask over so many connections at once for so long; what is under way then is waited for."""
    opened = [await Connection.open(port) for _ in range(connections)]
    statuses: Counter[str] = Counter()
    began, began_working = time.perf_counter(), time.process_time()

    async def ask_until_the_end(connection: Connection) -> None:
        while time.perf_counter() - began < seconds:
            answer = await connection.ask(request)
            statuses[str(answer.status)] += 1

    await asyncio.gather(*map(ask_until_the_end, opened))
    return Load(
        answers=dict(statuses),
        seconds=time.perf_counter() - began,
        processor_seconds=time.process_time() - began_working,
    )


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    request = sys.stdin.buffer.read()
    load = uvloop.run(
        run(given.port, request, connections=given.connections, seconds=given.seconds)
    )
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    _main()
