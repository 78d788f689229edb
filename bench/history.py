"""Pages of the history of somebody with very many generations."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from statistics import median

from bench.figures import BenchError, Comparison, Figure, side_by_side
from bench.filling import FREQUENT_WORD, RARE_WORD, fill_history
from bench.http import Answer, Connection
from bench.servers import Servers
from bench.service import GENERATIONS, Service, darkroom

FEW, MANY = 10_000, 1_000_000
CURSORS = 1000
PAGE_BEHIND_CURSORS = 5  # so that the smaller history too has so many pages
ROUNDS = 9
TIMES = 20
PAGES = {
    "first page": "limit=20",
    "filtered by status": "status=failed",
    "filtered by provider": "provider=openai",
    "filtered by a word of every second prompt": f"q={FREQUENT_WORD}",
    "filtered by a word of one prompt in two hundred": f"q={RARE_WORD}",
}


class Reader:
    """One kept-alive connection to an api over a history."""

    def __init__(self, service: Service, connection: Connection) -> None:
        self._service = service
        self._connection = connection

    async def cursor_after(self, pages: int) -> str:
        """Where the last of so many pages ends, followed one by one."""
        cursor, limit = "", f"limit={PAGE_BEHIND_CURSORS}"
        for _ in range(pages):
            answer = await self._page(f"{limit}&cursor={cursor}" if cursor else limit)
            cursor = json.loads(answer.body)["nextCursor"]
        return cursor

    async def milliseconds(self, query: str) -> float:
        """The median of a page asked for again and again."""
        times = []
        for _ in range(TIMES):
            began = time.perf_counter()
            await self._page(query)
            times.append((time.perf_counter() - began) * 1000)
        return median(times)

    async def _page(self, query: str) -> Answer:
        answer = await self._connection.ask(self._service.get(f"{GENERATIONS}?{query}"))
        if answer.status != 200 or b'"items":[]' in answer.body:
            raise BenchError(f"A page was not given: {answer.status} {answer.body[:500]!r}")
        return answer


async def take(servers: Servers) -> Figure:
    """Two api processes, one over few generations, one over many, take turns."""
    async with AsyncExitStack() as stack:
        urls = [await _filled(servers, generations) for generations in (MANY, FEW)]
        many, few = [await stack.enter_async_context(_reader(servers, url)) for url in urls]
        measured = [
            await _compare(what, (many, query), (few, query)) for what, query in PAGES.items()
        ]
        deep = [
            f"limit={PAGE_BEHIND_CURSORS}&cursor={await r.cursor_after(CURSORS)}"
            for r in (many, few)
        ]
        measured.insert(
            1,
            await _compare(
                f"page behind the {CURSORS:,}th cursor", (many, deep[0]), (few, deep[1])
            ),
        )
    return Figure(
        title="History",
        setting=f"A `darkroom api` process for each history, of {MANY:,} and {FEW:,} generations,"
        " 60 of 100 the asking user's, the others' of a thousand more; GET over HTTP, one at a"
        " time. The rows are multiplied by SQL from some that a follower made, with words of"
        f" their own; then VACUUM ANALYZE. {ROUNDS} rounds, the median of {TIMES} requests each.",
        measured=tuple(measured),
    )


async def _filled(servers: Servers, generations: int) -> str:
    url = await servers.new_database()
    await fill_history(url, generations)
    return url


@asynccontextmanager
async def _reader(servers: Servers, url: str) -> AsyncIterator[Reader]:
    async with darkroom(servers, url, "api") as service:
        connection = await Connection.open(service.port)
        yield Reader(service, connection)
        connection.close()


async def _compare(what: str, many: tuple[Reader, str], few: tuple[Reader, str]) -> Comparison:
    ours, theirs = await side_by_side(
        *(partial(reader.milliseconds, query) for reader, query in (many, few)), rounds=ROUNDS
    )
    return Comparison(f"{what}, of {MANY:,}", f"of {FEW:,}", ours, theirs, at_most=1.3, unit=" ms")
