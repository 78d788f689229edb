"""Counts of this process alone, for while Redis is away: the windows of `limits`, in memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from application.rate_limits import Kind, Limit, Tally
from infrastructure.rate_limiting.windows import Window, tally_of

MOST_WINDOWS = 50_000  # whose last request is longest ago is forgotten first

Whose = tuple[Kind, str, int]


class OwnCounters:
    """What this process counts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: OrderedDict[Whose, tuple[int, int, int]] = OrderedDict()

    def tally(self, limits: Sequence[Limit], *, take: bool) -> Tally:
        """Count one in all of them if it fits and is to be taken; how they stand then."""
        now = int(self._clock() * 1000)
        windows = [self._window(limit, now) for limit in limits]
        tally = tally_of(limits, windows, take=take)
        if take and tally.fits:
            for limit, window in zip(limits, windows, strict=True):
                self._keep(limit, window.current + 1, window.previous, now + window.left)
        return tally

    def _window(self, limit: Limit, now: int) -> Window:
        """As it is now: once it is over it is the one before, and then it is forgotten."""
        lasts = limit.rate.seconds * 1000
        current, previous, ends = self._windows.get(_whose(limit), (0, 0, now - lasts))
        if now < ends:
            return Window(current, previous, ends - now)
        if now < ends + lasts:
            return Window(0, current, ends + lasts - now)
        return Window(0, 0, lasts)

    def _keep(self, limit: Limit, current: int, previous: int, ends: int) -> None:
        whose = _whose(limit)
        self._windows[whose] = (current, previous, ends)
        self._windows.move_to_end(whose)
        if len(self._windows) > MOST_WINDOWS:
            self._windows.popitem(last=False)


def _whose(limit: Limit) -> Whose:
    return limit.kind, limit.whose, limit.rate.seconds
