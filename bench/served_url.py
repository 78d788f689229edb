"""From a request to the bytes of its picture, as a client sees it."""

from __future__ import annotations

import hashlib
import json
import time
from urllib.parse import urlsplit

from bench.figures import BenchError, Figure, Latency
from bench.http import Connection, written
from bench.one_at_a_time import SETTING, TIMES, finished, idle_service, pause
from bench.servers import Servers
from bench.service import Service


async def take(servers: Servers) -> Figure:
    """POST until 201, then GET of its imageUrl."""
    async with idle_service(servers) as service:
        connection = await Connection.open(service.port)
        times = [await _post_and_get(connection, service) for _ in range(TIMES)]
        connection.close()
    return Figure(
        title="Request to served URL",
        setting=SETTING,
        measured=(
            Latency(
                "POST (201) and GET of imageUrl",
                tuple(times),
                (50, 95, 99),
                at_most={50: 80.0, 99: 200.0},
            ),
        ),
    )


async def _post_and_get(connection: Connection, service: Service) -> float:
    await pause()
    began = time.perf_counter()
    posted = await finished(connection, service)
    generation = json.loads(posted.body)
    picture = await connection.ask(written("GET", urlsplit(generation["imageUrl"]).path, {}))
    milliseconds = (time.perf_counter() - began) * 1000
    if hashlib.sha256(picture.body).hexdigest() != generation["images"][0]["sha256"]:
        raise BenchError("The URL did not serve the picture that was recorded.")
    return milliseconds
