"""What is left of the quota, in the headers RateLimit and RateLimit-Policy.

They are those of draft-ietf-httpapi-ratelimit-headers-11: each window with a limit is a policy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime

from domain.quota import Allowance

Parameters = Mapping[str, int | str]

# No registered unit of a quota (`qu`) says images, so a parameter of our own does.
UNIT = {"darkroom-unit": "images"}


def rate_limit(allowances: Iterable[Allowance], now: datetime) -> dict[str, str]:
    """The headers, of the windows that have a limit and are not over; of none there are none."""
    policies: dict[str, Parameters] = {}
    left: dict[str, Parameters] = {}
    for one in allowances:
        window, limit, remaining = one.window, one.limit, one.remaining
        if limit is not None and remaining is not None and window.ends_at > now:
            span = int((window.ends_at - window.starts_at).total_seconds())
            policies[window.type] = {"q": limit, "w": span, **UNIT}
            left[window.type] = {"r": remaining, "t": seconds_until(window.ends_at, now)}
    if not policies:
        return {}
    return {"RateLimit-Policy": parameterized(policies), "RateLimit": parameterized(left)}


def seconds_until(moment: datetime, now: datetime) -> int:
    """Whole seconds, never too few."""
    return max(1, math.ceil((moment - now).total_seconds()))


def parameterized(members: Mapping[str, Parameters]) -> str:
    """A structured field (RFC 9651): a list of strings, each with its parameters."""
    return ", ".join(
        ";".join((_item(name), *(f"{key}={_item(value)}" for key, value in parameters.items())))
        for name, parameters in members.items()
    )


def _item(value: int | str) -> str:
    """A number, or a string of printable ASCII."""
    if isinstance(value, int):
        return f"{value}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
