"""When keys and sessions were used last: for people to see, and to end what nobody uses."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Protocol
from uuid import UUID


class Uses(Protocol):
    """The last use of each, by its id. Each method may raise StoreUnavailableError."""

    async def note(self, uses: Mapping[UUID, datetime]) -> None:
        """These were used then, unless a later use was noted."""
        ...

    async def last(self, ids: Collection[UUID]) -> Mapping[UUID, datetime]:
        """Of those that were noted."""
        ...
