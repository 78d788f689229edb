"""Accepted requests a second: what recording a request costs over understanding it."""

from __future__ import annotations

from contextlib import AsyncExitStack, closing
from functools import partial

from bench.figures import BenchError, Comparison, Figure, side_by_side
from bench.log import Log
from bench.servers import Servers
from bench.service import Service, darkroom, plain_route

ROUNDS = 6
SECONDS = 1.0
CONCURRENCY = (16, 64)
ACCEPTED = 202


async def take(servers: Servers) -> Figure:
    """The api without workers beside a route that only authenticates and validates."""
    url = await servers.new_database()
    async with AsyncExitStack() as stack:
        log = stack.enter_context(closing(Log(url)))
        api = await stack.enter_async_context(darkroom(servers, url, "api"))
        plain = await stack.enter_async_context(plain_route(servers, url))
        measured = [await _compare(api, plain, log, clients) for clients in CONCURRENCY]
    return Figure(
        title="Accepted requests",
        setting="One `darkroom api` process (one appending connection, a pool of 4 for reading, one"
        " listening), PostgreSQL and the load client (one process, kept-alive connections) share"
        f" the processors; no worker, no limit. {ROUNDS} rounds of {SECONDS:g} s.",
        measured=tuple(measured),
    )


async def _compare(api: Service, plain: Service, log: Log, clients: int) -> Comparison:
    ours, theirs = await side_by_side(
        partial(round_of, api, clients, log), partial(round_of, plain, clients), rounds=ROUNDS
    )
    what = f"202 on POST, concurrency {clients}"
    return Comparison(what, "only authenticates and validates", ours, theirs, at_least=0.3)


async def round_of(service: Service, clients: int, log: Log | None = None) -> float:
    """Accepted requests a second. Raises BenchError when one is not, or is not in the log."""
    request = service.request(size="1024x1024", wait=False)
    load = await service.load(request, connections=clients, seconds=SECONDS)
    if set(load.answers) != {str(ACCEPTED)}:
        raise BenchError(f"Not all requests were accepted: {load.answers}")
    if log is not None:
        log.expect(load.answers[str(ACCEPTED)])
    return load.rate(ACCEPTED)
