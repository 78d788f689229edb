"""From the commit of a request to its row in the history, while requests keep coming."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import psycopg

from bench.figures import BenchError, Figure, Latency
from bench.postgres import ConfiguredPostgres
from bench.servers import Servers
from bench.service import Service, darkroom
from infrastructure.read_models.image_generations import READ_MODEL

RATES = {10: None, 200: {95: 20.0}}  # requests a second, and the limits
SECONDS = {10: 10.0, 200: 10.0}
WARM_UP = 2.0
CONNECTIONS = 64
ACCEPTED = 202
SECONDS_TO_CATCH_UP = 30
# A row's own transaction is the one that put it there: without a worker nothing changes it later.
LAGS = f"""
SELECT extract(epoch FROM pg_xact_commit_timestamp(g.xmin) - e.recorded_at)::float * 1000
  FROM {READ_MODEL.schema}.image_generations g JOIN stored_events e ON e.originator_id = g.id
 WHERE e.originator_version = 1 AND g.position > %s
"""  # the table itself, not the view of its name
BEHIND = """
SELECT max(notification_id) - (SELECT position FROM follower_positions
                                WHERE name = 'image_generations') FROM stored_events
"""


async def take(servers: Servers) -> Figure:
    """By PostgreSQL's own record of when each transaction was committed: nobody looks meanwhile."""
    folder = servers.new_folder()
    postgres = ConfiguredPostgres(folder / "postgres", {"track_commit_timestamp": "on"})
    with Servers(folder, postgres) as timed:
        url = await timed.new_database()
        async with darkroom(timed, url, "projector", "api") as service:
            await _load(service, max(RATES), WARM_UP)
            lags = {rate: await _lags(service, rate) for rate in RATES}
    return Figure(
        title="View lag",
        setting="One `darkroom` api and one projector with every read model, PostgreSQL and the"
        " load client, no worker; requests arrive at a fixed rate, each at a random moment of its"
        " turn, whatever the answers take. From `recorded_at` to the commit of the transaction that"
        " made the row, as PostgreSQL notes it (track_commit_timestamp): no query looks for rows"
        " while they are made.",
        measured=tuple(
            Latency(
                f"recorded_at to the row in image_generations, {rate} requests a second",
                tuple(measured),
                (50, 95, 99),
                at_most=RATES[rate],
            )
            for rate, measured in lags.items()
        ),
    )


async def _lags(service: Service, rate: int) -> Sequence[float]:
    with psycopg.connect(service.database_url, autocommit=True) as connection:
        before = _value(connection, "SELECT coalesce(max(notification_id), 0) FROM stored_events")
        accepted = await _load(service, rate, SECONDS[rate])
        for _ in range(SECONDS_TO_CATCH_UP * 10):
            if _value(connection, BEHIND) == 0:
                break
            await asyncio.sleep(0.1)
        lags = [float(lag) for (lag,) in connection.execute(LAGS, (before,)).fetchall()]
    if len(lags) != accepted:
        raise BenchError(f"{accepted} requests were accepted, {len(lags)} have a row.")
    return lags


async def _load(service: Service, rate: float, seconds: float) -> int:
    request = service.request(size="1024x1024", wait=False)
    load = await service.load(request, connections=CONNECTIONS, seconds=seconds, rate=rate)
    if set(load.answers) != {str(ACCEPTED)}:
        raise BenchError(f"Not all requests were accepted: {load.answers}")
    return load.answers[str(ACCEPTED)]


def _value(connection: psycopg.Connection, query: str) -> int:
    (value,) = connection.execute(query).fetchone() or (0,)
    return int(value)
