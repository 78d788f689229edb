"""What a figure is, and how it is taken: side by side within one run, or as a distribution."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

Contender = Callable[[], Awaitable[float]]  # one round; what it reached a second


class BenchError(Exception):
    """A figure cannot be taken, or what was taken would not be true; the message says why."""


@dataclass(frozen=True)
class Line:
    """One line of a figure's table; the names are its columns."""

    what: str
    measured: str
    beside: str = ""
    ratio: str = ""
    goal: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two contenders that took turns: medians a second, and the median of the rounds' ratios."""

    what: str
    beside: str
    rates: tuple[float, ...]
    rates_beside: tuple[float, ...]
    at_least: float | None = None

    @property
    def ratios(self) -> list[float]:
        """Of each round, in which both ran one after the other."""
        return [a / b for a, b in zip(self.rates, self.rates_beside, strict=True)]

    def line(self) -> Line:
        """The median, and between which ratios the middle half of the rounds lay."""
        lower, _, upper = quantiles(self.ratios, n=4)
        return Line(
            what=self.what,
            measured=f"{median(self.rates):,.0f}/s",
            beside=f"{self.beside}: {median(self.rates_beside):,.0f}/s",
            ratio=f"{median(self.ratios):.2f} ({lower:.2f} to {upper:.2f})",
            goal="" if self.at_least is None else f"at least {self.at_least:g}",
        )


@dataclass(frozen=True)
class Latency:
    """A distribution of times in milliseconds; `at_most` has limits by percentile."""

    what: str
    milliseconds: tuple[float, ...]
    percentiles: tuple[int, ...] = (50, 95)
    at_most: Mapping[int, float] | None = None

    def percentile(self, percent: int) -> float:
        """The smallest time that so many percent do not exceed."""
        return percentile(self.milliseconds, percent)

    def line(self) -> Line:
        """The percentiles, each beside its limit."""
        reached = [f"p{p} {self.percentile(p):.1f} ms" for p in self.percentiles]
        limits = [f"p{p} {most:g} ms" for p, most in (self.at_most or {}).items()]
        return Line(
            what=f"{self.what} ({len(self.milliseconds)} times)",
            measured=", ".join(reached),
            goal=f"at most {', '.join(limits)}" if limits else "",
        )


@dataclass(frozen=True)
class Rate:
    """The median of the rounds, a second."""

    what: str
    rates: tuple[float, ...]
    at_least: float | None = None

    def line(self) -> Line:
        """The median, and between which rates the rounds lay."""
        lowest, highest = min(self.rates), max(self.rates)
        return Line(
            what=self.what,
            measured=f"{median(self.rates):,.1f}/s ({lowest:,.1f} to {highest:,.1f})",
            goal="" if self.at_least is None else f"at least {self.at_least:g}/s",
        )


@dataclass(frozen=True)
class Parts:
    """What a whole consists of, in milliseconds, by part; a mapping for each round."""

    what: str
    rounds: tuple[Mapping[str, float], ...]

    def line(self) -> Line:
        """The medians of the parts, the largest first."""
        medians = {part: median(r[part] for r in self.rounds) for part in self.rounds[0]}
        ordered = sorted(medians.items(), key=lambda item: -item[1])
        return Line(
            what=self.what,
            measured=f"{sum(medians.values()):.1f} ms: "
            + ", ".join(f"{part} {milliseconds:.1f}" for part, milliseconds in ordered),
        )


Measured = Comparison | Latency | Rate | Parts


@dataclass(frozen=True)
class Figure:
    """What was measured, and on what: `setting` names processes, pool and client."""

    title: str
    setting: str
    measured: tuple[Measured, ...]


async def side_by_side(*contenders: Contender, rounds: int) -> list[tuple[float, ...]]:
    """What each reached in each round, in which they take turns in a random order.

    A first round warms caches, plans and connections, and is not counted.
    """
    reached: list[list[float]] = [[] for _ in contenders]
    chance = random.Random(rounds)
    for _ in range(rounds + 1):
        turns = list(zip(contenders, reached, strict=True))
        chance.shuffle(turns)
        for contender, rates in turns:
            rates.append(await contender())
    return [tuple(rates[1:]) for rates in reached]


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]
