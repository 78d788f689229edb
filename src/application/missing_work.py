"""Open generations whose work row is lost: it is opened again."""

from __future__ import annotations

import logging
from collections import deque
from datetime import datetime, timedelta
from uuid import UUID

from application.ports.event_store import Command, EventStore, OpenWork, StoreUnavailableError
from application.ports.workers import WorkBoard
from application.sweeping import Sweep
from domain.generation import Generation

log = logging.getLogger(__name__)

POSITIONS_A_STRETCH = 10_000


class MissingWorkSweep:
    """Recreates work that open generations lack.

    `deadline` is the longest that a generation may stay open.
    """

    def __init__(self, store: EventStore, board: WorkBoard, *, deadline: timedelta) -> None:
        self._store = store
        self._board = board
        self._deadline = deadline
        self._after = 0
        self._pass_began: datetime | None = None
        self._ends: deque[tuple[datetime, int]] = deque()

    def sweep(self) -> Sweep:
        """Its round, and how often."""
        return Sweep("open streams without work", self.round, rest=30.0)

    async def round(self) -> bool:
        """Look through one stretch of the log; whether it was the last for now.

        Each pass begins where generations may still be open: behind what a pass had reached a
        deadline ago.
        """
        now = self._store.now()
        if self._pass_began is None:
            self._pass_began, self._after = now, self._still_open_behind(now)
        stretch = await self._board.open_without_work(after=self._after, span=POSITIONS_A_STRETCH)
        for ref in stretch.refs:
            await self._reopen(ref)
        self._after = stretch.end
        if stretch.is_last:
            self._ends.append((self._pass_began, stretch.end))
            self._pass_began = None
        return stretch.is_last

    def _still_open_behind(self, now: datetime) -> int:
        behind = 0
        while self._ends and self._ends[0][0] <= now - self._deadline:
            behind = self._ends.popleft()[1]
        if behind:
            self._ends.appendleft((now - self._deadline, behind))
        return behind

    async def _reopen(self, ref: UUID) -> None:
        try:
            generation = await self._store.get(Generation, ref)
        except StoreUnavailableError:
            raise
        except Exception:  # an event that cannot be read: the others are not to wait for it
            log.exception("cannot recreate missing work", extra={"generation": str(ref)})
            return
        if generation is None or generation.closed:
            return
        left = max(generation.deadline - self._store.now(), timedelta())
        await self._store.append(Command(work=OpenWork("generate", ref, generation.user_id, left)))
        log.warning("recreated missing work", extra={"generation": str(ref)})
