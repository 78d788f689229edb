"""The dispatcher's duty: due work goes to those who can start it, in turn by user."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from application.ports.workers import DueWork, JobQueue, WorkBoard

log = logging.getLogger(__name__)

NOBODY = UUID(int=0)
LONGEST_PAUSE = 1.0


class Dispatcher:
    """Hands over no more work than live workers can start.

    What was handed over and not claimed within `lost_after` was lost on the way and is handed over
    again. All of its memory may be lost: a second hand-over does no harm.
    """

    def __init__(
        self,
        board: WorkBoard,
        queue: JobQueue,
        *,
        lost_after: timedelta = timedelta(seconds=5),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._queue = queue
        self._lost_after = lost_after.total_seconds()
        self._clock = clock
        self._turn = NOBODY
        self._handed_over: dict[DueWork, float] = {}
        self.saturated = False

    async def hand_over(self) -> float:
        """One round; seconds until something may be due without news. Raises QueueUnavailableError.

        Without a free slot it costs one look at the workers, however much is waiting.
        """
        self._forget_lost()
        look = await self._board.look(after_user=self._turn, handed_over=list(self._handed_over))
        self._handed_over = {
            work: since for work, since in self._handed_over.items() if work in look.waiting
        }
        self.saturated = look.free_slots == 0
        if look.due:
            await self._queue.hand_over(look.due)
            self._handed_over.update(dict.fromkeys(look.due, self._clock()))
            self._turn = look.due[-1].user_id
        if len(look.due) == look.free_slots:
            return LONGEST_PAUSE
        return min(look.seconds_to_next or LONGEST_PAUSE, LONGEST_PAUSE)

    def _forget_lost(self) -> None:
        lost_before = self._clock() - self._lost_after
        lost = [work for work, since in self._handed_over.items() if since <= lost_before]
        for work in lost:
            del self._handed_over[work]
        if lost:
            log.warning("handing over again what nobody claimed", extra={"pieces": len(lost)})
