"""What a figure is, and how it is taken: side by side within one run, or as a distribution."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

Contender = Callable[[], Awaitable[float]]  # one round; what it reached

REACHED, MISSED = "✓", "✗ missed"


class BenchError(Exception):
    """A figure cannot be taken, or what was taken would not be true; the message says why."""


@dataclass(frozen=True)
class Line:
    """One line of a figure's table; the names are its columns."""

    what: str
    measured: str
    beside: str = ""
    ratio: str = ""
    limit: str = ""
    reached: str = ""


@dataclass(frozen=True)
class Goal:
    """What was measured beside its limit, in `unit`: at least that much, or at most."""

    what: str
    measured: float
    limit: float
    unit: str
    at_least: bool

    @property
    def times_better(self) -> float:
        """1 when it is just reached, less when it is missed."""
        if self.at_least:
            return self.measured / self.limit
        return self.limit / self.measured if self.measured > 0 else math.inf

    @property
    def reached(self) -> bool:
        """Whether it is."""
        return self.times_better >= 1

    def sentence(self) -> str:
        """The limit, for a reader."""
        return f"at {'least' if self.at_least else 'most'} {self.limit:,g}{self.unit}"


@dataclass(frozen=True)
class Comparison:
    """Two contenders that took turns: their medians, and the median of the rounds' ratios."""

    what: str
    beside: str
    values: tuple[float, ...]
    values_beside: tuple[float, ...]
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "/s"

    @property
    def ratios(self) -> list[float]:
        """Of each round, in which both ran one after the other."""
        return [a / b for a, b in zip(self.values, self.values_beside, strict=True)]

    def goals(self) -> tuple[Goal, ...]:
        """The ratio's limit, if it has one."""
        limit = self.at_least if self.at_most is None else self.at_most
        if limit is None:
            return ()
        what = f"{self.what} / {self.beside}"
        return (Goal(what, median(self.ratios), limit, " times", self.at_most is None),)

    def line(self) -> Line:
        """The median, and between which ratios the middle half of the rounds lay."""
        lower, _, upper = quantiles(self.ratios, n=4)
        return Line(
            what=self.what,
            measured=self._median(self.values),
            beside=f"{self.beside}: {self._median(self.values_beside)}",
            ratio=f"{median(self.ratios):.2f} ({lower:.2f} to {upper:.2f})",
            **_against(self.goals()),
        )

    def _median(self, values: Sequence[float]) -> str:
        middle = median(values)
        return f"{middle:,.{0 if middle >= 100 else 1}f}{self.unit}"


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

    def goals(self) -> tuple[Goal, ...]:
        """One for each percentile that has a limit."""
        return tuple(
            Goal(f"{self.what}, p{p}", self.percentile(p), most, " ms", at_least=False)
            for p, most in (self.at_most or {}).items()
        )

    def line(self) -> Line:
        """The percentiles, each beside its limit."""
        reached = [f"p{p} {self.percentile(p):.1f} ms" for p in self.percentiles]
        limits = [f"p{p} {most:g} ms" for p, most in (self.at_most or {}).items()]
        against = _against(self.goals())
        if limits:
            against["limit"] = f"at most {', '.join(limits)}"
        return Line(
            what=f"{self.what} ({len(self.milliseconds):,} times)",
            measured=", ".join(reached),
            **against,
        )


@dataclass(frozen=True)
class Rate:
    """The median of the rounds, a second."""

    what: str
    rates: tuple[float, ...]
    at_least: float | None = None

    def goals(self) -> tuple[Goal, ...]:
        """Its limit, if it has one."""
        if self.at_least is None:
            return ()
        return (Goal(self.what, median(self.rates), self.at_least, "/s", at_least=True),)

    def line(self) -> Line:
        """The median, and between which rates the rounds lay."""
        lowest, highest = min(self.rates), max(self.rates)
        return Line(
            what=self.what,
            measured=f"{median(self.rates):,.1f}/s ({lowest:,.1f} to {highest:,.1f})",
            **_against(self.goals()),
        )


@dataclass(frozen=True)
class Amount:
    """How much of something there was; `at_most` is for the largest of the values."""

    what: str
    values: tuple[float, ...]
    unit: str
    at_most: float | None = None
    note: str = ""

    def goals(self) -> tuple[Goal, ...]:
        """Its limit, if it has one."""
        if self.at_most is None:
            return ()
        return (Goal(self.what, max(self.values), self.at_most, self.unit, at_least=False),)

    def line(self) -> Line:
        """Every value, in the order in which they were taken."""
        return Line(
            what=self.what,
            measured=", ".join(f"{value:,.1f}" for value in self.values) + self.unit,
            beside=self.note,
            **_against(self.goals()),
        )


@dataclass(frozen=True)
class Parts:
    """What a whole consists of, in milliseconds, by part; a mapping for each round."""

    what: str
    rounds: tuple[Mapping[str, float], ...]

    def goals(self) -> tuple[Goal, ...]:
        """None: it explains another figure."""
        return ()

    def line(self) -> Line:
        """The medians of the parts, the largest first."""
        medians = {part: median(r[part] for r in self.rounds) for part in self.rounds[0]}
        ordered = sorted(medians.items(), key=lambda item: -item[1])
        return Line(
            what=self.what,
            measured=f"{sum(medians.values()):.1f} ms: "
            + ", ".join(f"{part} {milliseconds:.1f}" for part, milliseconds in ordered),
        )


Measured = Comparison | Latency | Rate | Amount | Parts


@dataclass(frozen=True)
class Figure:
    """What was measured, and on what: `setting` names processes, pool and client."""

    title: str
    setting: str
    measured: tuple[Measured, ...]

    def goals(self) -> tuple[Goal, ...]:
        """All that it was measured for."""
        return tuple(goal for measured in self.measured for goal in measured.goals())


async def side_by_side(*contenders: Contender, rounds: int) -> list[tuple[float, ...]]:
    """What each reached in each round, in which they take turns in a random order.

    A first round warms caches, plans and connections, and is not counted.
    """
    reached: list[list[float]] = [[] for _ in contenders]
    chance = random.Random(rounds)
    for _ in range(rounds + 1):
        turns = list(zip(contenders, reached, strict=True))
        chance.shuffle(turns)
        for contender, values in turns:
            values.append(await contender())
    return [tuple(values[1:]) for values in reached]


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent do not exceed."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def _against(goals: Sequence[Goal]) -> dict[str, str]:
    """The columns that say what was wanted, and whether it was reached: all of it, or not."""
    if not goals:
        return {}
    return {
        "limit": ", ".join(goal.sentence() for goal in goals),
        "reached": REACHED if all(goal.reached for goal in goals) else MISSED,
    }
