"""Counts that all processes share: however many limits there are, one round trip to Redis."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from limits.storage import RedisStorage
from redis.asyncio import Redis

from application.rate_limits import Limit, Tally
from infrastructure.rate_limiting.windows import Window, tally_of
from infrastructure.redis_line import disconnect, pool_of

PREFIX = "darkroom:rate:"
CONNECTIONS = 4


def _script() -> str:
    """Ours behind those of the library, each of which becomes a function."""
    look = RedisStorage.SCRIPT_SLIDING_WINDOW.decode()
    take = RedisStorage.SCRIPT_ACQUIRE_SLIDING_WINDOW.decode()
    return "\n".join(
        (
            *("local function look(KEYS, ARGV)", look, "end"),
            *("local function take(KEYS, ARGV)", take, "end"),
            (files("infrastructure.rate_limiting") / "take.lua").read_text(),
        )
    )


class SharedCounters:
    """What all processes count together. Any method raises what is in LOST."""

    def __init__(self, redis_url: str) -> None:
        self._redis: Redis = Redis(connection_pool=pool_of(redis_url, most=CONNECTIONS))
        self._take = self._redis.register_script(_script())

    async def close(self) -> None:
        """Disconnect."""
        await disconnect(self._redis)

    async def tally(self, limits: Sequence[Limit], *, take: bool) -> Tally:
        """Count one in all of them if it fits and is to be taken; how they stand then."""
        arguments = [n for limit in limits for n in (limit.rate.amount, limit.rate.seconds)]
        found = await self._take(
            keys=[key for limit in limits for key in _keys(limit)], args=[int(take), *arguments]
        )
        return tally_of(limits, [Window(*map(int, window)) for window in found], take=take)


def _keys(limit: Limit) -> tuple[str, str]:
    """The window before, and the one that is now."""
    now = f"{PREFIX}{limit.kind}:{limit.whose}:{limit.rate.seconds}"
    return f"{now}:before", now
