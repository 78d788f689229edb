"""How much of what clients send one process holds at once, however many send."""

from __future__ import annotations

import asyncio
from collections import Counter
from uuid import UUID

from interfaces.rest.errors import TooMuchInFlightError

MOST_BYTES_IN_FLIGHT = 128 * 1024 * 1024
MOST_BYTES_OF_A_USER = 64 * 1024 * 1024
SMALL = 64 * 1024  # bytes: as much as a connection's own buffers hold, and never refused


class BodyBudget:
    """Bytes of bodies that are here, or may be a moment from now, and not yet done with.

    When it is used up, the body that grew large last is given up for those before it: one that
    arrives is never stopped by later ones, and no two wait for each other. One user has a part
    of it, and only bodies of theirs are given up for that.
    """

    def __init__(
        self, most: int = MOST_BYTES_IN_FLIGHT, *, most_of_a_user: int = MOST_BYTES_OF_A_USER
    ) -> None:
        self._left, self._most_of_a_user = most, most_of_a_user
        self._taken: Counter[UUID | None] = Counter()
        self._arriving: dict[Share, None] = {}  # in the order in which they grew large

    def share(self, user_id: UUID | None = None) -> Share:
        """What one request of this user's, or of a stranger's, has of it: nothing yet."""
        return Share(self, user_id)

    def take(self, size: int, share: Share) -> None:
        """Raises TooMuchInFlightError when the share is the latest of those that arrive."""
        self._arriving.setdefault(share)
        user_id = share.user_id
        while size > self._most_of_a_user - self._taken[user_id]:
            theirs = (one for one in reversed(self._arriving) if one.user_id == user_id)
            _give_up(next(theirs), share)
        while size > self._left:
            _give_up(next(reversed(self._arriving)), share)
        self._left -= size
        self._taken[user_id] += size

    def arrived(self, share: Share) -> None:
        """It grows no more, and is not given up for another."""
        self._arriving.pop(share, None)

    def give_back(self, size: int, share: Share) -> None:
        self._left += size
        self._taken[share.user_id] -= size
        self._taken += Counter()  # forgets who has nothing


class Share:
    """One request's part of the budget."""

    def __init__(self, budget: BodyBudget, user_id: UUID | None) -> None:
        self._budget = budget
        self.user_id = user_id
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
        self._budget.give_back(self._taken, self)
        self._taken = 0


def _give_up(latest: Share, share: Share) -> None:
    """Raises TooMuchInFlightError when it is the one that wants more."""
    if latest is share:
        raise TooMuchInFlightError
    latest.refuse()
