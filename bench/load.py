"""The load client: one request again and again over many connections, in a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

import uvloop

from bench.http import Connection

LONGEST_IDLE = 1.0  # seconds; servers hang up on idle connections after some more


@dataclass(frozen=True)
class Load:
    """How many answers of each status came in how many seconds, and how long each took.

    At a fixed rate a request's time begins when it was due, whether or not it could be sent then.
    """

    answers: dict[str, int]
    seconds: float
    milliseconds: list[float]
    processor_seconds: float

    def rate(self, status: int) -> float:
        """Answers of this status a second."""
        return self.answers.get(str(status), 0) / self.seconds


@dataclass
class Tally:
    """What is being counted."""

    answers: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)
    began_working: float = field(default_factory=time.process_time)

    async def ask(self, connection: Connection, request: bytes, since: float) -> None:
        """One request, and its answer."""
        answer = await connection.ask(request)
        self.answers[str(answer.status)] += 1
        self.milliseconds.append((time.perf_counter() - since) * 1000)

    def load(self) -> Load:
        """All of it, when it has ended."""
        return Load(
            answers=dict(self.answers),
            seconds=time.perf_counter() - self.began,
            milliseconds=self.milliseconds,
            processor_seconds=time.process_time() - self.began_working,
        )


class Pool:
    """Kept-alive connections, the last used first; none is used that the server may be closing."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[Connection, float]] = []

    async def take(self) -> Connection:
        """One that was just used, or a new one."""
        while self._idle:
            connection, since = self._idle.pop()
            if time.perf_counter() - since < LONGEST_IDLE:
                return connection
            connection.close()
        return await Connection.open(self._port)

    def give_back(self, connection: Connection) -> None:
        """For the next request."""
        self._idle.append((connection, time.perf_counter()))


async def run(
    port: int, request: bytes, *, connections: int, seconds: float, most: int = sys.maxsize
) -> Load:
    """Ask over so many connections at once for so long, or until `most` were sent.

    What is under way then is waited for.
    """
    opened = [await Connection.open(port) for _ in range(connections)]
    tally, sendings = Tally(), iter(range(most))

    async def ask_until_the_end(connection: Connection) -> None:
        for _ in sendings:
            if (now := time.perf_counter()) - tally.began >= seconds:
                break
            await tally.ask(connection, request, now)

    await asyncio.gather(*map(ask_until_the_end, opened))
    return tally.load()


async def run_at(
    port: int, request: bytes, *, rate: float, connections: int, seconds: float
) -> Load:
    """Ask so often a second, whatever the answers take, with so many under way at most.

    When each is due is drawn at random within its own turn, so that it keeps step with nothing.
    """
    pool, free = Pool(port), asyncio.Semaphore(connections)
    tally = Tally()

    async def ask(due: float) -> None:
        async with free:
            connection = await pool.take()
            await tally.ask(connection, request, due)
            pool.give_back(connection)

    async with asyncio.TaskGroup() as group:
        for number in range(round(rate * seconds)):
            due = tally.began + (number + random.random()) / rate
            await asyncio.sleep(due - time.perf_counter())
            group.create_task(ask(due))
    return tally.load()


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--most", type=int, default=sys.maxsize)
    given = parser.parse_args()
    request = sys.stdin.buffer.read()
    how = {"connections": given.connections, "seconds": given.seconds}
    load = uvloop.run(
        run_at(given.port, request, rate=given.rate, **how)
        if given.rate
        else run(given.port, request, most=given.most, **how)
    )
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    _main()
