"""Workers that died: when their lease has ended, their work is due again."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from application.ports.workers import WorkBoard
from application.sweeping import Sweep

log = logging.getLogger(__name__)

LONGEST_GAP = timedelta(seconds=3)


class LeaseSweep:
    """Frees what dead workers held; `lease` is how long a worker may be silent."""

    def __init__(self, board: WorkBoard, *, lease: timedelta) -> None:
        self._board = board
        self._lease = lease
        self._looked_at: datetime | None = None
        self._steady_since: datetime | None = None

    def sweep(self) -> Sweep:
        """Its round, and how often."""
        return Sweep("expired leases", self.round, rest=1.0)

    async def round(self) -> None:
        """Close incarnations whose lease has ended; their work is due again.

        Nobody is closed before the store was seen to answer without a gap for a whole lease: as
        long as it did not, no worker could extend its lease either.
        """
        moment = await self._board.moment()
        if self._looked_at is None or moment - self._looked_at > LONGEST_GAP:
            self._steady_since = moment
        self._looked_at = moment
        if self._steady_since is None or moment - self._steady_since < self._lease:
            return
        freed = await self._board.sweep(moment)
        if freed:
            log.warning("freed the work of workers that are gone", extra={"pieces": freed})
