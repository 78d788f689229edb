"""How much of what clients send one process holds at once, however many send."""

from __future__ import annotations

from interfaces.rest.errors import TooMuchInFlightError

MOST_BYTES_IN_FLIGHT = 128 * 1024 * 1024
SMALL = 64 * 1024  # bytes: as much as a connection's own buffers hold, and never refused


class BodyBudget:
    """Bytes of bodies in flight: announced or already here, and not yet done with."""

    def __init__(self, most: int = MOST_BYTES_IN_FLIGHT) -> None:
        self._left = most

    def share(self) -> Share:
        """What one request has of it: nothing yet."""
        return Share(self)

    def take(self, size: int) -> None:
        """Raises TooMuchInFlightError."""
        if size > self._left:
            raise TooMuchInFlightError
        self._left -= size

    def give_back(self, size: int) -> None:
        self._left += size


class Share:
    """One request's part of the budget."""

    def __init__(self, budget: BodyBudget) -> None:
        self._budget = budget
        self._taken = 0

    def grow_to(self, size: int) -> None:
        """Hold that much. Raises TooMuchInFlightError."""
        if size > max(SMALL, self._taken):
            self._budget.take(size - self._taken)
            self._taken = size

    def give_back(self) -> None:
        """Hold nothing any more."""
        self._budget.give_back(self._taken)
        self._taken = 0
