"""Units per user, day and month, and per end user of one: one image is one unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from domain.aggregate import Value

UserWindowType = Literal["daily", "monthly"]
WindowType = Literal["daily", "monthly", "end-user-daily", "end-user-monthly"]
USER_WINDOWS: tuple[UserWindowType, ...] = ("daily", "monthly")
END_USERS: tuple[WindowType, ...] = ("end-user-daily", "end-user-monthly")
MOST_UNITS = 2**31 - 1  # that a limit may be


class Window(Value):
    """A span of time in UTC, from `starts_at` up to but without `ends_at`, in which units count.

    They count for a user, or for one of the end users whom a user's backend serves.
    """

    type: WindowType
    starts_at: datetime
    ends_at: datetime

    @property
    def is_end_users(self) -> bool:
        """Whether the units that count in it are an end user's."""
        return self.type in END_USERS


def windows_at(now: datetime, *, end_user: bool = False) -> tuple[Window, ...]:
    """The day and the month, in UTC, that `now` lies in: the user's, then the end user's."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    month = day.replace(day=1)
    next_month = (month + timedelta(days=32)).replace(day=1)
    tomorrow = day + timedelta(days=1)
    users = (
        Window(type="daily", starts_at=day, ends_at=tomorrow),
        Window(type="monthly", starts_at=month, ends_at=next_month),
    )
    if not end_user:
        return users
    return (
        *users,
        Window(type="end-user-daily", starts_at=day, ends_at=tomorrow),
        Window(type="end-user-monthly", starts_at=month, ends_at=next_month),
    )


@dataclass(frozen=True)
class Allowance:
    """How many units a window may hold, None for any number, and how many are used of them."""

    window: Window
    limit: int | None
    used: int

    @property
    def remaining(self) -> int | None:
        """Units that are left; none where the limit was lowered below what is used."""
        return None if self.limit is None else max(self.limit - self.used, 0)

    def has_room_for(self, units: int) -> bool:
        """Whether so many more fit into the window."""
        return self.limit is None or self.used + units <= self.limit

    def ever_has_room_for(self, units: int) -> bool:
        """Whether so many would fit into it if nothing of it were used."""
        return self.limit is None or units <= self.limit


class LimitRefusedError(Exception):
    """A limit that means nothing."""

    def __init__(self) -> None:
        super().__init__(
            f"A limit is a number of units from 0 to {MOST_UNITS:,}, or none at all: choose one."
        )


class QuotaExceededError(Exception):
    """The units asked for do not fit into some of the windows that they are taken from."""

    def __init__(self, allowances: Sequence[Allowance], *, asked: int) -> None:
        self.allowances, self.asked = tuple(allowances), asked
        self.exceeded = tuple(one for one in allowances if not one.has_room_for(asked))
        self.told = max(self.exceeded, key=self._wait)
        super().__init__(self._remedy())

    @property
    def never_fits(self) -> bool:
        """Whether more was asked for than a window holds when nothing of it is used."""
        return not self.told.ever_has_room_for(self.asked)

    def _wait(self, exceeded: Allowance) -> tuple[bool, datetime, bool]:
        """The longer, the more; of two that end at once the user is told of their own."""
        window = exceeded.window
        forever = not exceeded.ever_has_room_for(self.asked)
        return forever, window.ends_at, not window.is_end_users

    def _remedy(self) -> str:
        window, limit = self.told.window, self.told.limit
        span = window.type.removeprefix("end-user-")
        whose = "the end user's " if window.is_end_users else ""
        if self.never_fits:
            return (
                f"{self.asked} units were asked for, and {whose or 'the '}{span} limit is "
                f"{limit}: waiting does not help. Ask for fewer images, or for a higher limit."
            )
        asked = "unit was asked for" if self.asked == 1 else "units were asked for"
        return (
            f"{self.asked} {asked}, and {self.told.remaining} of {whose}"
            f"{limit} {span} units are left. Ask for fewer images, or wait until the quota "
            f"resets at {window.ends_at.isoformat()}."
        )
