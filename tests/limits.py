"""Limits for tests, and counters of requests whose time passes when told to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import count

from redis import Redis

from application.rate import Rate
from application.rate_limits import Counters, Kind, Limit, RateLimits, Tally
from infrastructure.rate_limiting.counters import RedisCounters
from infrastructure.rate_limiting.own import OwnCounters
from infrastructure.rate_limiting.shared import PREFIX
from infrastructure.redis_line import Line
from tests.gates import PATIENT

HOUR = 3600
NO_RATES: Mapping[Kind, Sequence[Rate]] = {"key": (), "user": (), "login": (), "guess": ()}


class Moments:
    """A clock that goes on when told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class OwnOnly:
    """The counters port over what one process counts."""

    def __init__(self, clock: Moments | None = None) -> None:
        self.own = OwnCounters(clock or Moments())
        self.asked = 0

    async def take(self, limits: Sequence[Limit]) -> Tally:
        self.asked += 1
        return self.own.tally(limits, take=True)

    async def look(self, limits: Sequence[Limit]) -> Tally:
        self.asked += 1
        return self.own.tally(limits, take=False)


def rates(**rates: tuple[int, int]) -> dict[Kind, Sequence[Rate]]:
    """Of these kinds an amount and seconds, of the others none."""
    given = {kind: (Rate(*rate),) for kind, rate in rates.items()}
    return {kind: given.get(kind, ()) for kind in NO_RATES}


def rate_limits(counters: Counters | None = None, **given: tuple[int, int]) -> RateLimits:
    """With one rate of each kind that is named."""
    return RateLimits(counters or OwnOnly(), rates(**given))


def limit(amount: int, seconds: int = HOUR, *, kind: Kind = "key", whose: str = "a") -> Limit:
    return Limit(kind, whose, Rate(amount, seconds))


def redis_counters(redis_url: str, *, line: Line | None = None) -> RedisCounters:
    """As an api process has them; it hears Redis on however busy a machine."""
    return RedisCounters(redis_url, line=line or Line(patience=PATIENT), own=OwnCounters(Moments()))


async def admitted(counters: Counters, *limits: Limit, times: int) -> int:
    """Of so many at once."""
    tallies = await asyncio.gather(*(counters.take(limits) for _ in range(times)))
    return sum(tally.fits for tally in tallies)


async def until_refused(counters: Counters, *limits: Limit) -> int:
    """How many fit, one after another."""
    for number in count():
        if not (await counters.take(limits)).fits:
            return number
    raise AssertionError


def let_pass(redis_url: str, seconds: float) -> None:
    """In Redis: whatever is kept there is kept for so much less."""
    with Redis.from_url(redis_url) as redis:
        for name in redis.scan_iter(f"{PREFIX}*"):
            redis.pexpire(name, redis.pttl(name) - int(seconds * 1000))
