"""What it costs a user to have a limit."""

from __future__ import annotations

from contextlib import AsyncExitStack, closing
from functools import partial

from bench.accepting import round_of
from bench.figures import Comparison, Figure, side_by_side
from bench.log import Log
from bench.servers import Servers
from bench.service import darkroom

ROUNDS = 10
CLIENTS = 16
LIMIT = "1000000000"  # compared with, never reached


async def take(servers: Servers) -> Figure:
    """Two api processes on one log: one has limits for the day and the month, one has none."""
    url = await servers.new_database()
    limits = {"DARKROOM_DAILY_QUOTA": LIMIT, "DARKROOM_MONTHLY_QUOTA": LIMIT}
    async with AsyncExitStack() as stack:
        log = stack.enter_context(closing(Log(url)))
        limited = await stack.enter_async_context(darkroom(servers, url, "api", **limits))
        free = await stack.enter_async_context(darkroom(servers, url, "api"))
        ours, theirs = await side_by_side(
            partial(round_of, limited, CLIENTS, log),
            partial(round_of, free, CLIENTS, log),
            rounds=ROUNDS,
        )
    return Figure(
        title="A user with a limit",
        setting="Two `darkroom api` processes on one database take turns: in one the user has a"
        " limit for the day and for the month, which is compared with and never reached, in the"
        f" other none. All requests are one user's. {CLIENTS} connections, {ROUNDS} rounds of 1 s.",
        measured=(Comparison("202 on POST with a limit", "without", ours, theirs, at_least=0.9),),
    )
