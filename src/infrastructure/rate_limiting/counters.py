"""The counters port: shared as long as Redis answers, this process's own while it does not."""

from __future__ import annotations

from collections.abc import Sequence

from application.rate_limits import Limit, Tally
from infrastructure.rate_limiting.own import OwnCounters
from infrastructure.rate_limiting.shared import SharedCounters
from infrastructure.redis_line import AwayError, Line

SHARED = "counts of requests"


class RedisCounters:
    """Counts begin anew, in each process, when Redis goes; when it is back its own go on."""

    def __init__(
        self, redis_url: str, *, line: Line | None = None, own: OwnCounters | None = None
    ) -> None:
        self._shared = SharedCounters(redis_url)
        self._line = line or Line(shared=SHARED)
        self._own = own or OwnCounters()

    async def close(self) -> None:
        """Disconnect from Redis."""
        await self._shared.close()

    async def take(self, limits: Sequence[Limit]) -> Tally:
        return await self._tally(limits, take=True)

    async def look(self, limits: Sequence[Limit]) -> Tally:
        return await self._tally(limits, take=False)

    async def _tally(self, limits: Sequence[Limit], *, take: bool) -> Tally:
        try:
            return await self._line.ask(lambda: self._shared.tally(limits, take=take))
        except AwayError:
            return self._own.tally(limits, take=take)
