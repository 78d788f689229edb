"""Generations whose deadline has passed: they are ended, whether or not a worker has time."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from uuid import UUID, uuid4

from application.perform import Performer
from application.ports.workers import WorkBoard
from application.sweeping import Sweep

log = logging.getLogger(__name__)

AT_ONCE = 20
GRACE = timedelta(seconds=1)  # for a free worker to end it first
MARGIN = timedelta(seconds=60)  # for whoever holds it: a call's own timeout, pictures, recording
LEASE = timedelta(minutes=5)  # longer than a round may take


class OverdueSweep:
    """Takes overdue work over, as a worker incarnation without slots, and does what is left of it.

    Past its deadline nothing is called any more: a generation is ended with the images there are,
    calls of whoever held it are recorded as lost. That needs no free worker, no provider and no
    Redis. Whoever held it is fenced, and may record late what its calls came to.

    `performer` is the sweep's own, without providers: what hangs in the worker's is not to keep it
    away, and whatever the clock says it calls nobody.
    """

    def __init__(self, board: WorkBoard, performer: Performer) -> None:
        self._board = board
        self._performer = performer
        self._taker = uuid4()  # until it has retired: what it was given and not told is still its

    def sweep(self) -> Sweep:
        """Its round, and how often."""
        return Sweep("overdue deadlines", self.round, rest=1.0, between=0.05)

    async def round(self) -> bool:
        """End up to AT_ONCE; whether these were all."""
        taker = self._taker
        refs = await self._board.take_overdue(
            taker, lease=LEASE, grace=GRACE, margin=MARGIN, limit=AT_ONCE
        )
        if refs:
            try:
                await asyncio.gather(*(self._end(ref, taker) for ref in refs))
            finally:
                await self._board.retire(taker)
                self._taker = uuid4()
            log.warning("ended what was overdue", extra={"generations": len(refs)})
        return len(refs) < AT_ONCE

    async def _end(self, ref: UUID, taker: UUID) -> None:
        try:
            await self._performer.perform(ref, taker)
        except Exception:  # it was put back for later; the others are not to wait for it
            log.exception("cannot end what is overdue", extra={"generation": str(ref)})
