"""How often something may happen."""

from __future__ import annotations

from dataclasses import dataclass

TIMES = {1: "second", 60: "minute", 3600: "hour", 86_400: "day"}


@dataclass(frozen=True)
class Rate:
    """So many in so many seconds, whenever those begin."""

    amount: int
    seconds: int

    @property
    def time(self) -> str:
        """A second, or 10 seconds."""
        return TIMES.get(self.seconds, f"{self.seconds} seconds")
