"""The dispatcher's duty: due work goes to those who can start it, in turn by user."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from uuid import UUID

from application.ports import (
    Command,
    DueWork,
    EventStore,
    JobQueue,
    OpenWork,
    StoreUnavailableError,
    WorkBoard,
)
from application.sweeping import Sweep
from domain.generation import Generation

log = logging.getLogger(__name__)

NOBODY = UUID(int=0)
POSITIONS_A_STRETCH = 10_000
LONGEST_GAP = timedelta(seconds=3)
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


class Sweeper:
    """Frees what dead workers held, and recreates work that open generations lack.

    `lease` is how long a worker may be silent, `deadline` the longest that a generation may stay
    open.
    """

    def __init__(
        self, store: EventStore, board: WorkBoard, *, lease: timedelta, deadline: timedelta
    ) -> None:
        self._store = store
        self._board = board
        self._lease = lease
        self._deadline = deadline
        self._looked_at: datetime | None = None
        self._steady_since: datetime | None = None
        self._after = 0
        self._pass_began: datetime | None = None
        self._ends: deque[tuple[datetime, int]] = deque()

    def sweeps(self) -> tuple[Sweep, ...]:
        """Its rounds, and how often."""
        return (
            Sweep("expired leases", self.free_abandoned, rest=1.0),
            Sweep("open streams without work", self.recreate_missing, rest=30.0),
            Sweep("what has outlived its use", self.tidy, rest=60.0),
        )

    async def free_abandoned(self) -> bool:
        """Close incarnations whose lease has ended; their work is due again.

        Nobody is closed before the store was seen to answer without a gap for a whole lease: as
        long as it did not, no worker could extend its lease either.
        """
        moment = await self._board.moment()
        if self._looked_at is None or moment - self._looked_at > LONGEST_GAP:
            self._steady_since = moment
        self._looked_at = moment
        if self._steady_since is None or moment - self._steady_since < self._lease:
            return True
        freed = await self._board.sweep(moment)
        if freed:
            log.warning("freed the work of workers that are gone", extra={"pieces": freed})
        return True

    async def recreate_missing(self) -> bool:
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

    async def tidy(self) -> bool:
        """Let go of some of what has outlived its use; whether that was all."""
        gone = await self._board.tidy()
        if gone.keys or gone.pictures:
            log.info("let go of what had outlived its use", extra=asdict(gone))
        return gone.is_all

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
