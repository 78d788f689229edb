"""Deliveries that are due go to those who send, in turn by user, a few of each at a time."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from application.dispatch import NOBODY
from application.ports.webhooks import DeliveryBoard, DeliveryQueue, DueDelivery

log = logging.getLogger(__name__)

MOST_OF_A_USER = 8
MOST_UNDER_WAY = 64
LOST_AFTER = timedelta(seconds=45)  # a try, and recording it, take less
# How long what was lost once, twice ... rests before it is handed over again, in times of that.
RESTS = (0, 2, 6, 20)


@dataclass(frozen=True)
class _HandedOver:
    delivery: DueDelivery
    at: float


@dataclass(frozen=True)
class _Lost:
    """Handed over in vain, so many times; it rests until then."""

    delivery: DueDelivery
    times: int
    until: float


class DeliveryTurns:
    """Hands over no more than a few deliveries of one user, and no more than that in all.

    So a receiver that hangs takes what its user may have, and delays nobody else. A delivery is
    under way until something is recorded of it; after `lost_after` it is handed over again, and
    rests longer each time, so that what can never be sent leaves its place to others. All of its
    memory may be lost: a try that is handed over twice is made once, or harmlessly twice.
    """

    def __init__(
        self,
        board: DeliveryBoard,
        queue: DeliveryQueue,
        *,
        of_a_user: int = MOST_OF_A_USER,
        under_way: int = MOST_UNDER_WAY,
        lost_after: timedelta = LOST_AFTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board, self._queue = board, queue
        self._of_a_user, self._most = of_a_user, under_way
        self._lost_after = lost_after.total_seconds()
        self._clock = clock
        self._name = uuid4().hex[:8]
        self._turn = NOBODY
        self._under_way: dict[UUID, _HandedOver] = {}
        self._lost: dict[UUID, _Lost] = {}

    async def hand_over(self, new: Sequence[DueDelivery] = ()) -> None:
        """One round; what is `new` may not be on the board yet.

        Raises StoreUnavailableError, QueueUnavailableError.
        """
        await self._look_who_is_done()
        if len(self._under_way) >= self._most:
            return
        due = await self._board.due(
            per_user=self._of_a_user, but=self._under_way.keys() | self._resting()
        )
        chosen = self._in_turn([*new, *due])
        if chosen:
            again = {id_: lost.times for id_, lost in self._lost.items()}
            await self._queue.deliver(chosen, by=self._name, again=again)
            now = self._clock()
            self._under_way |= {one.id: _HandedOver(one, now) for one in chosen}
            self._turn = chosen[-1].user_id

    def _resting(self) -> set[UUID]:
        now = self._clock()
        return {id_ for id_, lost in self._lost.items() if now < lost.until}

    async def _look_who_is_done(self) -> None:
        known = {id_: lost.delivery for id_, lost in self._lost.items()}
        known |= {id_: handed.delivery for id_, handed in self._under_way.items()}
        if known:
            for done in await self._board.settled(list(known.values())):
                self._under_way.pop(done, None)
                self._lost.pop(done, None)
        self._give_up_what_is_lost()

    def _give_up_what_is_lost(self) -> None:
        now = self._clock()
        lost = [one for one in self._under_way.values() if one.at + self._lost_after <= now]
        for handed in lost:
            id_ = handed.delivery.id
            del self._under_way[id_]
            times = self._lost[id_].times + 1 if id_ in self._lost else 1
            rest = self._lost_after * RESTS[min(times, len(RESTS)) - 1]
            self._lost[id_] = _Lost(handed.delivery, times, now + rest)
        if lost:
            log.warning("handing over again what nobody sent", extra={"deliveries": len(lost)})

    def _in_turn(self, due: Iterable[DueDelivery]) -> list[DueDelivery]:
        """One of each user and round, as long as there is room for that user, and for any."""
        waiting: defaultdict[UUID, dict[UUID, DueDelivery]] = defaultdict(dict)
        for one in due:
            waiting[one.user_id].setdefault(one.id, one)
        busy = Counter(handed.delivery.user_id for handed in self._under_way.values())
        free = self._most - len(self._under_way)
        users = sorted(waiting, key=lambda user: (user <= self._turn, user))
        rounds = [list(waiting[user].values())[: self._of_a_user - busy[user]] for user in users]
        longest = max(map(len, rounds), default=0)
        return [one[n] for n in range(longest) for one in rounds if n < len(one)][:free]
