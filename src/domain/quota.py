"""Units per user, day and month, and per end user of one: one image is one unit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

from domain.aggregate import Value

UserWindowType = Literal["daily", "monthly"]
WindowType = Literal["daily", "monthly", "end-user-daily", "end-user-monthly"]
END_USERS: tuple[WindowType, ...] = ("end-user-daily", "end-user-monthly")


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


class QuotaExceededError(Exception):
    """The units asked for do not fit into a window."""

    def __init__(self, window: Window, *, limit: int, used: int, asked: int) -> None:
        self.window, self.limit, self.used, self.asked = window, limit, used, asked
        super().__init__(self._remedy())

    @property
    def never_fits(self) -> bool:
        """Whether more was asked for than the window holds when nothing of it is used."""
        return self.asked > self.limit

    def _remedy(self) -> str:
        span = self.window.type.removeprefix("end-user-")
        whose = "the end user's " if self.window.is_end_users else ""
        if self.never_fits:
            return (
                f"{self.asked} units were asked for, and {whose or 'the '}{span} limit is "
                f"{self.limit}: waiting does not help. Ask for fewer images, or for a higher limit."
            )
        asked = "unit was asked for" if self.asked == 1 else "units were asked for"
        return (
            f"{self.asked} {asked}, and {max(self.limit - self.used, 0)} of {whose}"
            f"{self.limit} {span} units are left. Ask for fewer images, or wait until the quota "
            f"resets at {self.window.ends_at.isoformat()}."
        )
