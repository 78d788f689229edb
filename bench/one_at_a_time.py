"""An idle service, which is asked for one small picture after the other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bench.figures import BenchError
from bench.http import Answer, Connection
from bench.servers import Servers
from bench.service import Service, darkroom

TIMES = 100
WARM_UP = 10
SIZE = "128x128"
SETTING = (
    f"One `darkroom` api, worker (8 slots) and projector each, PostgreSQL and Redis; {TIMES}"
    f" requests for a sketch of {SIZE} after {WARM_UP} that are not counted, one at a time over one"
    " kept-alive connection, a random pause of up to 0.1 s before each."
)


@asynccontextmanager
async def idle_service(servers: Servers) -> AsyncIterator[Service]:
    """All of it, warm, and nobody else using it."""
    async with warm_service(servers, "projector", "worker", "api") as service:
        yield service


@asynccontextmanager
async def warm_service(servers: Servers, *names: str, **settings: str) -> AsyncIterator[Service]:
    """These processes, once they have made some pictures."""
    url = await servers.new_database()
    async with darkroom(servers, url, *names, **settings) as service:
        connection = await Connection.open(service.port)
        for _ in range(WARM_UP):
            await finished(connection, service)
        connection.close()
        yield service


async def finished(connection: Connection, service: Service) -> Answer:
    """One generation, waited for."""
    answer = await connection.ask(service.request(size=SIZE, wait=True))
    if answer.status != 201:
        raise BenchError(f"A request was answered {answer.status}: {answer.body.decode()}")
    return answer


async def pause() -> None:
    """Random, so that nothing keeps step with what polls inside the service."""
    await asyncio.sleep(random.uniform(0.02, 0.1))
