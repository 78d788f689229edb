"""How much of what clients send one process holds at once, however many send."""

from __future__ import annotations

import asyncio

from interfaces.rest.errors import TooMuchInFlightError

MOST_BYTES_IN_FLIGHT = 128 * 1024 * 1024
SMALL = 64 * 1024  # bytes: as much as a connection's own buffers hold, and never refused


class BodyBudget:
    """Bytes of bodies that are here, or may be a moment from now, and not yet done with.

    When it is used up, the body that grew large last is given up for those before it: one that
    arrives is never stopped by later ones, and no two wait for each other.
    """

    def __init__(self, most: int = MOST_BYTES_IN_FLIGHT) -> None:
        self._left = most
        self._arriving: dict[Share, None] = {}  # in the order in which they grew large

    def share(self) -> Share:
        """What one request has of it: nothing yet."""
        return Share(self)

    def take(self, size: int, share: Share) -> None:
        """Raises TooMuchInFlightError when the share is the latest of those that arrive."""
        self._arriving.setdefault(share)
        while size > self._left:
            latest = next(reversed(self._arriving))
            if latest is share:
                raise TooMuchInFlightError
            latest.refuse()
        self._left -= size

    def arrived(self, share: Share) -> None:
        """It grows no more, and is not given up for another."""
        self._arriving.pop(share, None)

    def give_back(self, size: int) -> None:
        self._left += size


class Share:
    """One request's part of the budget."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._taken = 0
        self._waiting: asyncio.Timeout | None = None
        self.is_refused = False

    def grow_to(self, size: int) -> None:
        """Hold that much. Raises TooMuchInFlightError."""
        if self.is_refused:
            raise TooMuchInFlightError
        if size > max(SMALL, self._taken):
            self._budget.take(size - self._taken, self)
            self._taken = size

    def waits(self, waiting: asyncio.Timeout | None) -> None:
        """It waits for its sender so long; or no more."""
        self._waiting = waiting

    def refuse(self) -> None:
        """Give it up for others: whoever reads the body is told at once."""
        self.give_back()
        self.is_refused = True
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())

    def arrived(self) -> None:
        """All of the body is here."""
        self._budget.arrived(self)

    def give_back(self) -> None:
        """Hold nothing any more."""
        self._budget.arrived(self)
        self._budget.give_back(self._taken)
        self._taken = 0
