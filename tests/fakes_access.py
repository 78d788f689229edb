"""Last uses, in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID


class MemoryUses:
    """The port, and how often it was told something."""

    def __init__(self) -> None:
        self.noted: dict[UUID, datetime] = {}
        self.fail_next: list[Exception] = []

    async def note(self, uses: Mapping[UUID, datetime]) -> None:
        if self.fail_next:
            raise self.fail_next.pop()
        for id_, at in uses.items():
            self.noted[id_] = max(at, self.noted.get(id_, at))

    async def last(self, ids: Collection[UUID]) -> Mapping[UUID, datetime]:
        return {id_: at for id_, at in self.noted.items() if id_ in ids}
