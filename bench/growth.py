"""Whether what was looked at again and again stays as it is, or grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Tolerance:
    """By how much something may grow over the second half: a share of it, or a fixed amount."""

    percent: float
    at_least: float


@dataclass(frozen=True)
class Growth:
    """What one thing did over the second half of the looks.

    `added` is what its trend comes to over that time; the trend is the median of the slopes
    between any two looks, which a few strange looks do not move (Theil and Sen).
    """

    what: str
    middle: float
    added: float
    tolerated: float

    @property
    def grows(self) -> bool:
        """Whether by more than is tolerated."""
        return self.added > self.tolerated


def growth(
    what: str, seconds: Sequence[float], values: Sequence[float], tolerance: Tolerance
) -> Growth:
    """Of the second half of the looks, that the first half has warmed up for."""
    half = len(values) // 2
    times, seen = seconds[half:], values[half:]
    middle = median(seen)
    return Growth(
        what=what,
        middle=middle,
        added=slope(times, seen) * (times[-1] - times[0]),
        tolerated=max(abs(middle) * tolerance.percent / 100, tolerance.at_least),
    )


def slope(times: Sequence[float], values: Sequence[float]) -> float:
    """The median of the slopes between any two points, a second."""
    points = list(zip(times, values, strict=True))
    slopes = [
        (later - earlier) / (then - before)
        for place, (before, earlier) in enumerate(points)
        for then, later in points[place + 1 :]
        if then > before
    ]
    return median(slopes) if slopes else 0.0
