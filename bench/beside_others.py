"""Accepting while an operator's heavy work goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from psycopg import AsyncConnection

from bench.figures import BenchError, Comparison, Figure, percentile, side_by_side
from bench.filling import fill_log
from bench.rebuilding import fill_read_model, rebuilding
from bench.servers import Servers
from bench.service import Service, darkroom, python, running
from infrastructure.read_models import image_generations
from tests.meanwhile import meanwhile

GENERATIONS = 50_000
RATE = 100  # requests a second
CONNECTIONS = 64
ROUNDS = 6
SECONDS = 3.0
SECONDS_BEFORE = 2.0  # of requests that are not counted: until all of the others are at work
ACCEPTED = 202
READ_MODEL = image_generations.READ_MODEL
VACUUMED = ("stored_events", "work", "quota_counters", f"{READ_MODEL.schema}.image_generations")


async def take(servers: Servers) -> Figure:
    """Rounds with a rebuild, an export's reading and VACUUM take turns with rounds without."""
    url = await servers.new_database()
    events = await fill_log(url, GENERATIONS)
    await fill_read_model(Service(servers, url), READ_MODEL.name)
    async with darkroom(servers, url, "projector", "api") as service:
        busy, quiet = await side_by_side(
            partial(_busy_round, service), partial(_round, service), rounds=ROUNDS
        )
    return Figure(
        title="Accepting beside heavy work",
        setting=f"One `darkroom` projector and one api on a log of {events:,} events; {RATE}"
        " requests a second, each at a random moment of its turn, whatever the answers take, and"
        " timed from when it was due, but for those of the first"
        f" {SECONDS_BEFORE:g} s. Beside it, all at once and in processes of their own: a"
        f" rebuild of image_generations (`darkroom replay`), the whole log read page by page"
        f" through the event store, VACUUM of {', '.join(VACUUMED)} again and again. {ROUNDS}"
        f" rounds of {SECONDS:g} s each way.",
        measured=(
            Comparison(
                "p99 of 202 on POST beside them", "without", busy, quiet, at_most=2, unit=" ms"
            ),
        ),
    )


async def _round(service: Service) -> float:
    await _accepted(service, SECONDS_BEFORE)
    return percentile(await _accepted(service, SECONDS), 99)


async def _accepted(service: Service, seconds: float) -> Sequence[float]:
    """Milliseconds that each took. Raises BenchError when one was not accepted."""
    load = await service.load(
        service.request(size="1024x1024", wait=False),
        connections=CONNECTIONS,
        seconds=seconds,
        rate=RATE,
    )
    if set(load.answers) != {str(ACCEPTED)}:
        raise BenchError(f"Not all requests were accepted: {load.answers}")
    return load.milliseconds


async def _busy_round(service: Service) -> float:
    async with _heavy_work(service):
        return await _round(service)


@asynccontextmanager
async def _heavy_work(service: Service) -> AsyncIterator[None]:
    """All of it, until the block ends. Raises BenchError when some of it ended before."""
    url = service.database_url
    async with AsyncExitStack() as stack:
        reading = running("read-all", [*python("bench.read_all"), url], service)
        reader = await stack.enter_async_context(reading)
        beside = meanwhile(_vacuum_for_ever(url), _rebuild_for_ever(service))
        await stack.enter_async_context(beside)
        yield
        if reader.returncode is not None:
            raise BenchError(f"The work beside ended:\n{service.last_words()}")


async def _vacuum_for_ever(database_url: str) -> None:
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        while True:
            await connection.execute(f"VACUUM (ANALYZE) {', '.join(VACUUMED)}")


async def _rebuild_for_ever(service: Service) -> None:
    while True:
        async with rebuilding(service, READ_MODEL.name) as process:
            if await process.wait() != 0:
                raise BenchError("The rebuild failed.")
