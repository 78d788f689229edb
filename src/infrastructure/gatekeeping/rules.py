"""When circuits open, and what limits there are: settings, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Self

from infrastructure.settings_values import PROVIDERS

RATE = re.compile(r"([1-9][0-9]{0,6})/(?:([1-9][0-9]{0,4}) ?)?(second|minute|hour|day)s?")
_THERE_ARE = ", ".join(PROVIDERS)
LONGEST = 3600.0  # seconds
MOST_FAILURES = 100


@dataclass(frozen=True)
class CircuitRules:
    """When a circuit opens, and for how long; times in seconds.

    It opens after `failures` in a row within `window`, for `open`; for want of funds or a right
    key at once, for `cool_down`. `pause` is for a provider that accepts no more requests for now
    and does not say for how long.
    """

    failures: int = 5
    window: float = 60.0
    open: float = 30.0
    cool_down: float = 60.0
    pause: float = 10.0

    def __post_init__(self) -> None:
        times = (self.window, self.open, self.cool_down, self.pause)
        if not (1 <= self.failures <= MOST_FAILURES and all(0 < one <= LONGEST for one in times)):
            raise ValueError(
                f"must have failures from 1 to {MOST_FAILURES} and seconds of more than 0 and at"
                f" most {LONGEST:g}, not {self}"
            )

    @classmethod
    def read(cls, text: str) -> Self:
        """Read `failures=5,open=30`; what is left out is as usual. Raises ValueError."""
        known = {field.name for field in fields(cls)}
        told: dict[str, float] = {}
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, _, number = (word.strip() for word in part.partition("="))
            if (
                name not in known
                or name in told
                or not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", number)
            ):
                raise ValueError(f"must look like {cls()}, or a part of it, not {text!r}")
            told[name] = float(number)
        failures = told.pop("failures", float(cls.failures))
        if failures != int(failures):
            raise ValueError(f"must have a whole number of failures, not {failures:g}")
        return cls(failures=int(failures), **told)

    def __str__(self) -> str:
        return ",".join(f"{field.name}={getattr(self, field.name):g}" for field in fields(self))


@dataclass(frozen=True)
class Rates:
    """How often each provider may be called, as `limits` reads it; one that is missing: always."""

    by_provider: Mapping[str, str]

    def __str__(self) -> str:
        return ",".join(f"{name}={rate}" for name, rate in self.by_provider.items())


@dataclass(frozen=True)
class Concurrency:
    """How many calls may be under way to each provider; one that is missing: any number."""

    by_provider: Mapping[str, int]

    def __str__(self) -> str:
        return ",".join(f"{name}={most}" for name, most in self.by_provider.items())


def circuit(text: object) -> object:
    """Return when circuits open, and for how long."""
    return CircuitRules.read(text) if isinstance(text, str) else text


def rates(text: object) -> object:
    """Return the providers' rates."""
    if not isinstance(text, str):
        return text
    written = {name: _rate(said) for name, said in _by_provider(text)}
    if None in written.values():
        raise ValueError(f"must look like openai=50/minute,stability=150/10 seconds, not {text!r}")
    return Rates({name: rate for name, rate in written.items() if rate})


def concurrency(text: object) -> object:
    """Return how many calls of each provider may be under way."""
    if not isinstance(text, str):
        return text
    written = dict(_by_provider(text))
    if not all(re.fullmatch("[1-9][0-9]{0,4}", most) for most in written.values()):
        raise ValueError(f"must look like openai=8,gemini=4, at least 1 each, not {text!r}")
    return Concurrency({name: int(most) for name, most in written.items()})


def _rate(said: str) -> str | None:
    found = RATE.fullmatch(said.lower())
    if found is None:
        return None
    amount, multiples, unit = found.groups()
    return f"{amount}/{multiples} {unit}" if multiples else f"{amount}/{unit}"


def _by_provider(text: str) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in PROVIDERS:
            raise ValueError(f"names {name!r}, which is no provider: there are {_THERE_ARE}")
        if name in seen:
            raise ValueError(f"names {name} twice")
        seen.add(name)
        yield name, value
