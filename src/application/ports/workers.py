"""Work that is due, who has it, and how a worker hears of it.

What is recorded about work is part of a `Command`: event_store.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from application.ports.event_store import WorkKind


@dataclass(frozen=True)
class DueWork:
    """A piece of work that somebody may start now."""

    kind: WorkKind
    ref: UUID
    user_id: UUID


@dataclass(frozen=True)
class Look:
    """How many pieces may be started now, and which; which of those handed over still wait.

    `seconds_to_next` is until something that waits for its time becomes due, None without any; it
    is not looked for while nothing may be started.
    """

    free_slots: int
    due: Sequence[DueWork]
    waiting: frozenset[DueWork]
    seconds_to_next: float | None


@dataclass(frozen=True)
class AtWork:
    """How many workers are there that take work, and what they can do at once."""

    workers: int
    slots: int
    free_slots: int


@dataclass(frozen=True)
class Stretch:
    """A stretch of the log that was looked through, up to the position `end`.

    `refs` are the open generations without work that were asked for in it; `is_last` says that
    nothing is recorded behind it yet.
    """

    refs: Sequence[UUID]
    end: int
    is_last: bool


@dataclass(frozen=True)
class Outlived:
    """How many idempotency keys and spooled pictures were removed; `is_all` says none are left."""

    keys: int
    pictures: int
    is_all: bool


class WorkBoard(Protocol):
    """What is due, and who is at work. All times are the store's clock."""

    async def register(self, worker: UUID, *, slots: int, lease: timedelta) -> None:
        """A worker incarnation opens, able to do `slots` pieces of work at once."""
        ...

    async def extend(self, worker: UUID, *, lease: timedelta) -> bool:
        """Its heartbeat, also after the lease has ended; False when it was closed, for ever."""
        ...

    async def drain(self, worker: UUID) -> None:
        """The incarnation takes nothing new; it still holds what it has."""
        ...

    async def retire(self, worker: UUID) -> None:
        """The incarnation closes; what it still holds is free at once."""
        ...

    async def moment(self) -> datetime:
        """The store's clock, asked now."""
        ...

    async def sweep(self, expired_by: datetime) -> int:
        """Close incarnations whose lease had ended by then and free their work; how many rows."""
        ...

    async def take_overdue(
        self,
        taker: UUID,
        *,
        lease: timedelta,
        grace: timedelta,
        margin: timedelta,
        limit: int,
    ) -> Sequence[UUID]:
        """Take over up to `limit` generations' work whose deadline has passed; what it has now.

        What waits and is due is taken after `grace`, what somebody holds after `margin`. The taker
        opens with it as a worker incarnation without slots; unless it retires, its lease ends. A
        taker that asks again is also given what it has already: an answer may have been lost.
        """
        ...

    async def forget_outlived(self) -> Outlived:
        """Remove some of what has outlived its use: idempotency keys, forgotten pictures."""
        ...

    async def look(self, *, after_user: UUID, handed_over: Sequence[DueWork]) -> Look:
        """What a dispatcher needs to know, as of one moment.

        Slots that waiting pieces will take are not free. What is due is as much as may be started,
        in turn by user beginning behind `after_user`.
        """
        ...

    async def next_due(
        self, *, after_user: UUID, limit: int, handed_over: Sequence[DueWork]
    ) -> Sequence[DueWork]:
        """Up to `limit` pieces, in turn by user beginning behind `after_user`."""
        ...

    async def put_off(self, *, limit: int) -> Sequence[UUID]:
        """Up to `limit` generations whose work nobody holds and that is due only later."""
        ...

    async def at_work(self) -> AtWork:
        """Who is there to do it, by their leases."""
        ...

    async def open_without_work(self, *, after: int, span: int) -> Stretch:
        """Look for open generations without work among the `span` positions behind `after`."""
        ...


class JobQueue(Protocol):
    """The wake-up of workers. It may lose or repeat anything at any moment."""

    async def hand_over(self, work: Sequence[DueWork]) -> None:
        """Wake somebody for each. Raises QueueUnavailableError."""
        ...


class QueueUnavailableError(Exception):
    """The queue cannot be reached; the work is still due in the event store."""
