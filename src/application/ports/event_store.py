"""The log of all decisions: what is recorded together, and how it is read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeVar
from uuid import UUID

from eventsourcing.domain import BaseAggregate

from domain.aggregate import Event
from domain.quota import Allowance, UserWindowType, Window, WindowType

A = TypeVar("A", bound=BaseAggregate[UUID])
WorkKind = Literal["generate", "delete"]

KEEP_KEYS = timedelta(hours=24)
MOST_SENDINGS = 1000  # as SDKs count
MOST_LATER = 500  # events of one stream that are read at once


@dataclass(frozen=True)
class Units:
    """Units taken from (positive) or given back to (negative) windows, of all or of none.

    The windows are a user's, and those of an end user `end_user_id`'s. Only taking is checked
    against `limits`, by window type; None and absent are unlimited. A limit of whose window it is,
    recorded in the store, wins over the one given here.
    """

    user_id: UUID
    units: int
    windows: tuple[Window, ...]
    limits: Mapping[WindowType, int | None] = field(default_factory=dict)
    end_user_id: UUID | None = None

    def owner_of(self, window: Window) -> UUID:
        """Whose units count in it."""
        if not window.is_end_users:
            return self.user_id
        if self.end_user_id is None:
            raise ValueError(f"{window.type} units are an end user's, and none is named.")
        return self.end_user_id


@dataclass(frozen=True)
class OwnLimits:
    """All limits of a user's own, for whatever is recorded behind this command.

    None is no limit; where a type of window is absent the configured one holds.
    """

    user_id: UUID
    limits: Mapping[UserWindowType, int | None]


@dataclass(frozen=True)
class Sending:
    """One of several times that a client sends the same request, by itself and without a key.

    `number` is from 0 (the first) to MOST_SENDINGS, `arrived_at` is by the store's clock.
    """

    number: int
    arrived_at: datetime


@dataclass(frozen=True)
class IdempotencyKey:
    """Makes repeats of a command one: `ref` is what the first one made.

    Events of the command carry the same in their metadata, so that the key can be rebuilt. With a
    `sending` the key is nobody's: the command repeats the latest one of the same fingerprint of
    which no sending of this number came yet, and a first sending only what was made after it had
    arrived, when a later one overtook it. One that is `only_a_repeat` conflicts when it repeats
    nothing: then nothing is recorded.
    """

    user_id: UUID
    key: str
    fingerprint: str
    ref: UUID
    keep: timedelta = KEEP_KEYS
    sending: Sending | None = None
    only_a_repeat: bool = False


@dataclass(frozen=True)
class UsedKey:
    """What a client's key was used for: `ref` is what that command made or changed."""

    ref: UUID
    fingerprint: str


@dataclass(frozen=True)
class MostInFlight:
    """How many generations may have open work at once: of one user, and of all users together."""

    of_user: int
    of_all: int


@dataclass(frozen=True)
class OpenWork:
    """Something is due from now on, until `deadline`; opening what is open changes nothing.

    With `most` it is refused when as many generations are in flight; without, as for work that was
    lost, never.
    """

    kind: WorkKind
    ref: UUID
    user_id: UUID
    deadline: timedelta
    most: MostInFlight | None = None


@dataclass(frozen=True)
class ClaimWork:
    """This worker incarnation does it, if it is due and free, or its own, and it is open."""

    kind: WorkKind
    ref: UUID
    worker: UUID


@dataclass(frozen=True)
class HoldWork:
    """It is still this worker incarnation's."""

    kind: WorkKind
    ref: UUID
    worker: UUID


@dataclass(frozen=True)
class ReleaseWork:
    """It is no longer this worker's, and due again at `due_at`."""

    kind: WorkKind
    ref: UUID
    worker: UUID
    due_at: datetime


@dataclass(frozen=True)
class CloseWork:
    """Nothing is due any more. Without a worker it is closed whoever holds it."""

    kind: WorkKind
    ref: UUID
    worker: UUID | None = None


Work = OpenWork | ClaimWork | HoldWork | ReleaseWork | CloseWork


@dataclass(frozen=True)
class Command:
    """What is recorded together or not at all.

    The first event of each stream must be the one after its last. A command whose events are
    recorded already, to the byte, is accepted again without effect: after a lost connection one
    sends it again.
    """

    events: Sequence[Event] = ()
    units: Units | None = None
    idempotency: IdempotencyKey | None = None
    work: Work | None = None
    limits: OwnLimits | None = None


@dataclass(frozen=True)
class Accepted:
    """Recorded; `position` is the last event's, None without events.

    `allowances` are of the windows that units were taken from, as these leave them: of nothing
    else, and not of a command that was recorded before (`repeated`).
    """

    position: int | None
    recorded_at: datetime
    repeated: bool = False
    allowances: tuple[Allowance, ...] = ()


@dataclass(frozen=True)
class Conflict:
    """Somebody else recorded the next event of the stream first."""


@dataclass(frozen=True)
class OverLimit:
    """The units do not fit into one or more of these windows, from which they were to be taken."""

    allowances: tuple[Allowance, ...]


@dataclass(frozen=True)
class WindowClosed:
    """A window to take from does not hold `now`: choose the windows again."""

    now: datetime


@dataclass(frozen=True)
class Duplicate:
    """The idempotency key was used before, for `ref`, by the same or another request."""

    ref: UUID
    same_fingerprint: bool


@dataclass(frozen=True)
class TooManyInFlight:
    """As many generations are in flight as may be: `whose` says of the user, or of all users."""

    whose: Literal["user", "all"]
    most: int
    in_flight: int


@dataclass(frozen=True)
class Fenced:
    """The work is not (or no longer) this worker's, or not due."""


Outcome = Accepted | Conflict | OverLimit | WindowClosed | TooManyInFlight | Duplicate | Fenced


class StoreUnavailableError(Exception):
    """The event store did not answer in time; the command may or may not be recorded."""


class StoreBusyError(StoreUnavailableError):
    """More commands wait than the store takes; nothing of this one was recorded."""


class UnknownEventError(Exception):
    """An event of a topic or version that this release does not know: a newer one wrote it.

    Whoever meets it leaves the rest to somebody newer.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        super().__init__(
            f"This release does not know the event {topic!r}. Run the release that wrote it."
        )


@dataclass(frozen=True)
class Recorded:
    """An event in the log."""

    position: int
    recorded_at: datetime
    event: Event


class EventStore(Protocol):
    """The log of all decisions, and what is decided together with them."""

    def now(self) -> datetime:
        """The store's own clock (UTC), which windows, leases and deadlines go by."""
        ...

    async def append(self, command: Command) -> Outcome:
        """Record one command. Raises StoreUnavailableError; everything expected is an Outcome."""
        ...

    async def used_key(self, user_id: UUID, key: str) -> UsedKey | None:
        """What a client's key was used for before; None while it is free.

        Only a look: the append decides. Raises StoreUnavailableError.
        """
        ...

    async def get(self, aggregate: type[A], stream: UUID) -> A | None:
        """The aggregate folded from all its events, None when it has none."""
        ...

    async def history(self, stream: UUID, *, after: int, limit: int) -> Sequence[Recorded]:
        """Up to `limit` events of one stream with positions greater than `after`, in order."""
        ...

    async def later(self, behind: Mapping[UUID, int]) -> Sequence[Recorded]:
        """Of each of these streams up to MOST_LATER events, in order, with greater numbers."""
        ...

    async def read(self, *, after: int, limit: int) -> Sequence[Recorded]:
        """Up to `limit` events of the whole log with positions greater than `after`, in order."""
        ...


class EventNews(Protocol):
    """Says, as it happens, in which streams something was recorded."""

    def watch(
        self,
        stream: UUID,
        *,
        kinds: Sequence[type[Event]] = (),
        after: int | None = None,
        every: float | None = None,
    ) -> AsyncGenerator[bool]:
        """Yields True at once, and then each time after something was recorded; close it when done.

        Events of these `kinds` matter, all of them unless said. Who has seen the stream up to the
        position `after` is told nothing at once, unless there may be something behind it. Yields
        False whenever `every` seconds have passed without news.
        """
        ...
