"""Where a queued generation stands, and why it waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from application.ports.event_store import StoreUnavailableError
from application.ports.workers import AtWork, WorkBoard
from domain.generation import Generation

WaitReason = Literal["workers-busy", "no-workers", "starting", "not-handed-over", "put-off"]

FIRST_USER = UUID(int=0)
FAR_AWAY = 1000  # places are told up to here
GOOD_FOR = 1.0  # seconds
USUAL_HAND_OVER = timedelta(seconds=5)


@dataclass(frozen=True)
class QueuePlace:
    """`place` counts from 1, None if it is far away, already with a worker or put off.

    `detail` is a sentence for the user.
    """

    place: int | None
    reason: WaitReason
    detail: str


WITH_A_WORKER = QueuePlace(None, "starting", "A worker has it and starts it at any moment.")
PUT_OFF = QueuePlace(
    None, "put-off", "What it needs could not be reached: it is tried again within a minute."
)


@dataclass(frozen=True)
class _Queue:
    """The first pieces in the order in which they will be started, and who can start them."""

    places: Mapping[UUID, int]
    put_off: Collection[UUID]
    at_work: AtWork
    seen_on: datetime

    @property
    def is_whole(self) -> bool:
        """Whether all that waits is among them."""
        return len(self.places) < FAR_AWAY


class QueuePlaces:
    """Tells places from one look at the queue a second, however many ask.

    The turn goes round by user, so a place moves by as many as there are users.
    """

    def __init__(
        self,
        board: WorkBoard,
        now: Callable[[], datetime],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._now = now
        self._clock = clock
        self._looking = asyncio.Lock()
        self._queue = _Queue({}, (), AtWork(0, 0, 0), now())
        self._seen_at: float | None = None
        self._failures = 0
        self._why = ""

    async def of(self, queued: Generation) -> QueuePlace:
        """Its place, at most a second old. Raises StoreUnavailableError."""
        queue = await self._look()
        place = queue.places.get(queued.id)
        if queued.id in queue.put_off:
            return PUT_OFF
        if place is None and queue.is_whole:
            if queued.created_on < queue.seen_on:
                return WITH_A_WORKER
            place = len(queue.places) + 1  # it came after the look
        waited = self._now() - queued.created_on
        reason = _reason(queue.at_work, waited)
        return QueuePlace(place, reason, f"{_ahead(place)} {_sentence(reason, queue.at_work)}")

    async def _look(self) -> _Queue:
        """Whoever waits for a look that fails has the failure, and does not look again itself."""
        failures = self._failures
        async with self._looking:
            if self._failures > failures:
                raise StoreUnavailableError(self._why)
            if self._seen_at is None or self._clock() - self._seen_at >= GOOD_FOR:
                try:
                    self._queue = await self._look_anew()
                except StoreUnavailableError as error:
                    self._failures, self._why = self._failures + 1, str(error)
                    raise
                self._seen_at = self._clock()
            return self._queue

    async def _look_anew(self) -> _Queue:
        seen_on = self._now()
        due = await self._board.next_due(after_user=FIRST_USER, limit=FAR_AWAY, handed_over=())
        places = {work.ref: place for place, work in enumerate(due, 1)}
        put_off = frozenset(await self._board.put_off(limit=FAR_AWAY))
        return _Queue(places, put_off, await self._board.at_work(), seen_on)


def _reason(at_work: AtWork, waited: timedelta) -> WaitReason:
    if not at_work.workers:
        return "no-workers"
    if not at_work.free_slots:
        return "workers-busy"
    return "starting" if waited < USUAL_HAND_OVER else "not-handed-over"


def _ahead(place: int | None) -> str:
    if place is None:
        return f"More than {FAR_AWAY} others are before it."
    if place == 1:
        return "It is the next one."
    return f"About {place - 1} others are before it." if place > 2 else "One other is before it."


def _sentence(reason: WaitReason, at_work: AtWork) -> str:
    return {
        "workers-busy": f"All {at_work.slots} places of the workers are taken.",
        "no-workers": "No worker is running: it starts as soon as the operator starts one.",
        "starting": "It starts at any moment.",
        "not-handed-over": "A worker is free but was not told yet, which the operator should see.",
    }[reason]
