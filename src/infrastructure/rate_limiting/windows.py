"""A sliding window, as two counters tell of it: by the arithmetic of `limits`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

from application.rate_limits import Limit, Standing, Tally


@dataclass(frozen=True)
class Window:
    """What was counted in the window that is now, and in the one before it.

    `left` is how many milliseconds the one that is now still lasts. The last so many seconds reach
    into the one before for as long: what it holds counts by that part, as if it had come evenly.
    """

    current: int
    previous: int
    left: int


def tally_of(limits: Sequence[Limit], windows: Sequence[Window], *, take: bool) -> Tally:
    """Whether one more fits into all, and how the limits stand once it was counted."""
    before = [_standing(*pair) for pair in zip(limits, windows, strict=True)]
    fits = all(one.remaining for one in before)
    if not (fits and take):
        return Tally(fits, tuple(before))
    counted = [Window(one.current + 1, one.previous, one.left) for one in windows]
    return Tally(fits, tuple(map(_standing, limits, counted)))


def _standing(limit: Limit, window: Window) -> Standing:
    amount, lasts = limit.rate.amount, limit.rate.seconds * 1000
    counted = floor(window.previous * window.left / lasts) + window.current
    if counted < amount:
        return Standing(limit, amount - counted)
    return Standing(limit, 0, _wait(window, amount, lasts) / 1000)


def _wait(window: Window, amount: int, lasts: int) -> float:
    """Until little enough of the one before counts; or of this one, once it is the one before."""
    if window.current < amount:
        return window.left - (amount - window.current) * lasts / window.previous
    return window.left + lasts - amount * lasts / window.current
