"""Rates as settings write them: `20/second,600/minute`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from application.rate import TIMES, Rate
from infrastructure.gatekeeping.rules import RATE

NONE = "none"
SECONDS = {name: seconds for seconds, name in TIMES.items()}
LONGEST = 86_400  # seconds


@dataclass(frozen=True)
class RateList:
    """Rates that hold together; without any there is no limit."""

    rates: tuple[Rate, ...] = ()

    @classmethod
    def read(cls, text: str) -> Self:
        """Read `20/second,600/minute`, or `none`. Raises ValueError."""
        if text.lower() == NONE:
            return cls()
        rates = tuple(_rate(part.strip(), text) for part in text.split(","))
        if len({rate.seconds for rate in rates}) < len(rates):
            raise ValueError(f"has two rates for the same time: {text!r}")
        return cls(tuple(sorted(rates, key=lambda rate: rate.seconds)))

    def __str__(self) -> str:
        return ",".join(f"{rate.amount}/{rate.time}" for rate in self.rates) or NONE


def rate_list(text: object) -> object:
    """Return the rates that hold together."""
    return RateList.read(text) if isinstance(text, str) else text


def _rate(said: str, text: str) -> Rate:
    found = RATE.fullmatch(said.lower())
    if found is None:
        raise ValueError(f"must look like 20/second,600/minute, or be {NONE}, not {text!r}")
    amount, multiples, unit = found.groups()
    seconds = int(multiples or 1) * SECONDS[unit]
    if seconds > LONGEST:
        raise ValueError(f"must be for a day at most, and {said} is not")
    return Rate(int(amount), seconds)
