"""What happened in a round, as seen from outside: answers, outages, silences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tests.chaos.rounds.plan import Order


def now() -> datetime:
    """The machine's clock, which PostgreSQL on the same machine reads too."""
    return datetime.now(UTC)


@dataclass
class Span:
    """From when until when, with an end once there is one."""

    what: str
    since: datetime
    until: datetime | None = None

    def touches(self, since: datetime, until: datetime) -> bool:
        return self.since <= until and (self.until is None or self.until >= since)


@dataclass
class Silence(Span):
    """A process was killed, stopped, or cut off: its lease may have ended meanwhile."""

    process: int = 0


@dataclass(frozen=True)
class Answer:
    """What a client was told; `status` 0 where the connection was lost."""

    order: int
    api: int
    request: str
    status: int
    code: str | None
    generation: UUID | None
    sent: datetime
    came: datetime
    request_id: str | None = None
    uploads: bool = False


@dataclass
class Followed:
    """The positions and kinds that an event stream told, over all its reconnects."""

    generation: UUID
    told: list[tuple[int, str]] = field(default_factory=list)
    ended: bool = False


@dataclass
class Happened:
    """All of it."""

    answers: list[Answer] = field(default_factory=list)
    accepted: dict[UUID, Order] = field(default_factory=dict)
    by_key: dict[str, set[UUID]] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)
    followed: list[Followed] = field(default_factory=list)
    deleted: set[UUID] = field(default_factory=set)
    silences: list[Silence] = field(default_factory=list)
    outages: list[Span] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)  # of processes, otherwise than they should
    final_after: float | None = None
    not_final: list[str] = field(default_factory=list)

    @contextmanager
    def outage(self, what: str) -> Iterator[None]:
        """Something is down inside the block."""
        span = Span(what, now())
        self.outages.append(span)
        try:
            yield
        finally:
            span.until = now()

    @contextmanager
    def silence(self, what: str, *processes: int) -> Iterator[None]:
        """These processes cannot be heard inside the block."""
        spans = [Silence(what, now(), process=process) for process in processes]
        self.silences += spans
        try:
            yield
        finally:
            for span in spans:
                span.until = now()

    def was_killed(self, process: int) -> None:
        """From now on nothing is heard of it; what it had under way is lost.

        That has no end: a PostgreSQL that stood may commit what it sent long after.
        """
        self.silences.append(Silence("killed", now(), process=process))
