"""How limits against bursts stand, in the headers that also tell of quotas."""

from __future__ import annotations

import math
from collections.abc import Iterable

from application.rate_limits import Standing
from interfaces.rest.rate_limit import parameterized

Header = tuple[bytes, bytes]


def bursts(standings: Iterable[Standing]) -> dict[str, str]:
    """The headers: so many more are admitted in the next `t` seconds, or again after them."""
    told = {one.limit.policy: one for one in standings}
    if not told:
        return {}
    rates = {name: one.limit.rate for name, one in told.items()}
    return {
        "RateLimit-Policy": parameterized(
            {name: {"q": rate.amount, "w": rate.seconds} for name, rate in rates.items()}
        ),
        "RateLimit": parameterized(
            {
                name: {"r": one.remaining, "t": math.ceil(one.wait) or rates[name].seconds}
                for name, one in told.items()
            }
        ),
    }


def with_bursts(headers: Iterable[Header], standings: Iterable[Standing]) -> list[Header]:
    """These headers, and what they tell of bursts behind what they tell of quotas."""
    told = {name.lower().encode(): value.encode() for name, value in bursts(standings).items()}
    both = [(name, b", ".join((v, told.pop(name))) if name in told else v) for name, v in headers]
    return [*both, *told.items()]
