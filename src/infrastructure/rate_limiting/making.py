"""The limits as an operator's settings want them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from application.rate_limits import Counters, Kind, RateLimits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from application.rate import Rate
    from infrastructure.rate_limiting.counters import RedisCounters
    from infrastructure.settings import Settings


def redis_counters(redis_url: str) -> RedisCounters:
    """Through this Redis, as long as it answers."""
    from infrastructure.rate_limiting.counters import RedisCounters  # slow to import

    return RedisCounters(redis_url)


def limits_of(counters: Counters, settings: Settings) -> RateLimits:
    """Of each kind, what is configured."""
    rates: Mapping[Kind, tuple[Rate, ...]] = {
        "key": settings.key_rate.rates,
        "user": settings.user_rate.rates,
        "login": settings.login_rate.rates,
        "guess": settings.guess_rate.rates,
    }
    return RateLimits(counters, rates)
