"""The dispatcher's duty: due work goes to those who can start it, in turn by user."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from application.ports import (
    Command,
    EventStore,
    JobQueue,
    OpenWork,
    StoreUnavailableError,
    WorkBoard,
)
from domain.generation import Generation

log = logging.getLogger(__name__)

NOBODY = UUID(int=0)
POSITIONS_A_STRETCH = 10_000
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
        self._handed_over: dict[UUID, float] = {}
        self.saturated = False

    async def hand_over(self) -> float:
        """One round; seconds until something may be due without news. Raises QueueUnavailableError.

        Without a free slot it costs one look at the workers, however much is waiting.
        """
        self._forget_lost()
        free, waiting = await self._board.credits(list(self._handed_over))
        self._handed_over = {
            ref: since for ref, since in self._handed_over.items() if ref in waiting
        }
        self.saturated = free == 0
        if self.saturated:
            return LONGEST_PAUSE
        due = await self._board.next_due(
            after_user=self._turn, limit=free, handed_over=list(self._handed_over)
        )
        if due:
            await self._queue.hand_over(due)
            self._handed_over.update((work.ref, self._clock()) for work in due)
            self._turn = due[-1].user_id
        if len(due) == free:
            return LONGEST_PAUSE
        return min(await self._board.seconds_to_next() or LONGEST_PAUSE, LONGEST_PAUSE)

    def _forget_lost(self) -> None:
        lost_before = self._clock() - self._lost_after
        lost = [ref for ref, since in self._handed_over.items() if since <= lost_before]
        for ref in lost:
            del self._handed_over[ref]
        if lost:
            log.warning("handing over again what nobody claimed", extra={"pieces": len(lost)})


class Sweeper:
    """Frees what dead workers held, and recreates work that open generations lack.

    `deadline` is the longest that a generation may stay open.
    """

    def __init__(
        self,
        store: EventStore,
        board: WorkBoard,
        *,
        deadline: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._board = board
        self._deadline = deadline.total_seconds()
        self._clock = clock
        self._ends: deque[tuple[float, int]] = deque([(float("-inf"), 0)])

    async def free_abandoned(self) -> None:
        """Close incarnations whose lease has ended; their work is due again."""
        freed = await self._board.sweep()
        if freed:
            log.warning("freed the work of workers that are gone", extra={"pieces": freed})

    async def recreate_missing(self) -> None:
        """Look through the log, a stretch at a time, from where generations may still be open."""
        began = self._clock()
        while len(self._ends) > 1 and self._ends[1][0] <= began - self._deadline:
            self._ends.popleft()
        after, is_last = self._ends[0][1], False
        while not is_last:
            stretch = await self._board.open_without_work(after=after, span=POSITIONS_A_STRETCH)
            for ref in stretch.refs:
                await self._reopen(ref)
            after, is_last = stretch.end, stretch.is_last
        self._ends.append((began, after))

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
