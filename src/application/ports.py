"""What the use cases need of the outside world. Adapters and fakes pass the same contract tests."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeVar
from uuid import UUID

from eventsourcing.domain import BaseAggregate

from domain.aggregate import Event
from domain.failure import Failure
from domain.image import ContentType, Cost, Format
from domain.quota import Window, WindowType

A = TypeVar("A", bound=BaseAggregate[UUID])
WorkKind = Literal["generate", "delete"]

KEEP_KEYS = timedelta(hours=24)

# --- the event store -------------------------------------------------------------------------


@dataclass(frozen=True)
class Units:
    """Units taken from (positive) or given back to (negative) a user's windows.

    Only taking is checked against `limits`, by window type; None and absent are unlimited. A limit
    of the user's own, recorded in the store, wins over the one given here.
    """

    user_id: UUID
    units: int
    windows: tuple[Window, ...]
    limits: Mapping[WindowType, int | None] = field(default_factory=dict)


@dataclass(frozen=True)
class IdempotencyKey:
    """Makes repeats of a command one: `ref` is what the first one made.

    Events of the command carry the same in their metadata, so that the key can be rebuilt.
    """

    user_id: UUID
    key: str
    fingerprint: str
    ref: UUID
    keep: timedelta = KEEP_KEYS


@dataclass(frozen=True)
class UsedKey:
    """What a client's key was used for: `ref` is what that command made or changed."""

    ref: UUID
    fingerprint: str


@dataclass(frozen=True)
class OpenWork:
    """Something is due from now on, until `deadline`; opening what is open changes nothing."""

    kind: WorkKind
    ref: UUID
    user_id: UUID
    deadline: timedelta


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


@dataclass(frozen=True)
class Accepted:
    """Recorded; `position` is the last event's, None without events."""

    position: int | None
    recorded_at: datetime
    repeated: bool = False


@dataclass(frozen=True)
class Conflict:
    """Somebody else recorded the next event of the stream first."""


@dataclass(frozen=True)
class OverLimit:
    """The units do not fit into this window."""

    window: Window
    limit: int
    used: int


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
class Fenced:
    """The work is not (or no longer) this worker's, or not due."""


Outcome = Accepted | Conflict | OverLimit | WindowClosed | Duplicate | Fenced


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


# --- workers ---------------------------------------------------------------------------------


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


# --- providers -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Picture:
    """Bytes of an image as they arrived."""

    data: bytes
    content_type: ContentType


@dataclass(frozen=True)
class CallRequest:
    """One paid request: `images` are the numbers (from 1) of the pictures wanted.

    `correlation_id` goes to the provider where it takes one.
    """

    generation: UUID
    call: int
    images: tuple[int, ...]
    prompt: str
    model: str
    negative_prompt: str | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    quality: str | None = None
    format: Format | None = None
    seed: int | None = None
    references: tuple[Picture, ...] = ()
    correlation_id: str | None = None


@dataclass(frozen=True)
class Answer:
    """What a provider made: at least one picture, at most as many as asked for, in their order."""

    pictures: tuple[Picture, ...]
    cost: Cost
    provider_request_id: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)


class CallFailedError(Exception):
    """The provider said no, or could not: nothing else will come of this call."""

    def __init__(
        self,
        failure: Failure,
        *,
        provider_request_id: str | None = None,
        cost: Cost | None = None,
    ) -> None:
        self.failure, self.provider_request_id, self.cost = failure, provider_request_id, cost
        super().__init__(f"{failure.kind}: {failure.message}")


class OutcomeUnknownError(Exception):
    """The connection was lost or the time was up after the request was sent."""


@dataclass(frozen=True)
class Capabilities:
    """What a provider can do, as data: requests are checked and routed by it before anything costs.

    `max_steepness` is the longest side over the shortest. `repeat_costs` says whether asking again
    after an unknown outcome may be billed twice.
    """

    models: tuple[str, ...]
    formats: tuple[Format, ...]
    qualities: tuple[str, ...]
    images_per_call: int
    max_pixels: int
    max_steepness: int
    max_references: int
    negative_prompt: bool
    seed: bool
    repeat_costs: bool
    price_list: str


class Provider(Protocol):
    """Somebody who makes pictures."""

    name: str
    capabilities: Capabilities

    async def call(self, request: CallRequest) -> Answer:
        """Make one paid request.

        Raises CallFailedError or OutcomeUnknownError, nothing else. May be cancelled at any time:
        the outcome is then unknown.
        """
        ...


# --- images ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageFacts:
    """What an image is by its content: size in pixels, provenance marks found in it."""

    content_type: ContentType
    width: int
    height: int
    sha256: str
    provenance: tuple[str, ...] = ()


class NotAnImageError(Exception):
    """The bytes are no complete PNG, JPEG or WebP image of a sane size; the message says why."""


class ImageInspector(Protocol):
    """Looks into images, outside the event loop."""

    async def inspect(self, data: bytes) -> ImageFacts:
        """Decode all of it. Raises NotAnImageError."""
        ...

    async def inspect_all(self, images: Sequence[bytes]) -> list[ImageFacts | NotAnImageError]:
        """Decode images that belong together; why not, in the place of a refused one."""
        ...


class ImageStoreUnavailableError(Exception):
    """The image store cannot take or give bytes now; the message says why, without a key."""


class ObjectDiffersError(Exception):
    """Other bytes lie under this key already, and objects never change."""

    def __init__(self) -> None:
        super().__init__(
            "Other bytes lie under this key already, and objects never change. "
            "Store the image under the key that carries its own hash."
        )


class ImageNotFoundError(Exception):
    """No object lies under this key."""


@dataclass(frozen=True)
class SeenObject:
    """An object that lies in the image store; `age` is the time since it was last put."""

    key: str
    age: timedelta


@dataclass(frozen=True)
class SeenObjects:
    """Some of what lies in the image store; `leftovers` of killed puts were removed on the way.

    `unreadable` files and folders were passed by.
    """

    objects: Sequence[SeenObject]
    leftovers: int = 0
    unreadable: int = 0


@dataclass(frozen=True)
class Mark:
    """Says in an image store that a log uses it, and how far that log had come.

    Position 0 is an empty log. `recorded_at` tells the event at that position from another one that
    took its place after a backup was restored.
    """

    log: UUID
    position: int
    recorded_at: datetime


class Log(Protocol):
    """The log as the one among others that may use an image store.

    Each may raise StoreUnavailableError.
    """

    async def end(self) -> Mark:
        """How far it has come."""
        ...

    async def not_mine(self, marks: Sequence[Mark]) -> Sequence[Mark]:
        """Those of other logs, or of events that this one does not have (any more)."""
        ...

    async def age(self) -> timedelta:
        """How long ago it was made; a restored copy is as old as what it is a copy of."""
        ...

    async def clock(self) -> datetime:
        """The clock of the machine that it lives on, which may step back."""
        ...


class ImageStore(Protocol):
    """Objects under keys (see domain.image); an object never changes once it is there."""

    async def put(self, key: str, data: bytes, content_type: ContentType) -> None:
        """Store durably; the same bytes again are no error, and make the object young again.

        Raises ImageStoreUnavailableError, ObjectDiffersError.
        """
        ...

    async def get(self, key: str) -> bytes:
        """Raises ImageNotFoundError, ImageStoreUnavailableError."""
        ...

    async def holds(self, key: str, *, sha256: str) -> bool:
        """Whether exactly these bytes can be read there. Raises ImageStoreUnavailableError."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; absent ones are no error. Raises ImageStoreUnavailableError."""
        ...

    def walk(self, *, at_once: int) -> AsyncGenerator[SeenObjects]:
        """Look at every object, in no order, at most `at_once` entries at a time.

        What is put or removed meanwhile may be seen or not. Raises ImageStoreUnavailableError.
        """
        ...

    async def forget(self, key: str, *, older_than: timedelta) -> bool:
        """Remove an object unless it was put within that time, whoever puts it again meanwhile.

        Whether it was removed. Raises ImageStoreUnavailableError.
        """
        ...

    async def marks(self) -> Sequence[Mark]:
        """Those that logs have left here. Raises ImageStoreUnavailableError."""
        ...

    async def mark(self, mark: Mark, *, instead_of: Sequence[Mark] = ()) -> None:
        """Leave a mark durably, then remove others. Raises ImageStoreUnavailableError."""
        ...

    def url(self, key: str) -> str:
        """The permanent public URL of an image; it does not say whether it is there."""
        ...


class NamedReferences(Protocol):
    """Which reference images the history knows."""

    async def among(self, keys: Sequence[str]) -> set[str] | None:
        """Those of the keys that some event names; None when that cannot be known now.

        What was recorded within the last hour may be missing. Raises StoreUnavailableError.
        """
        ...


class SpoolFullError(Exception):
    """The spool takes no more bytes."""


class Spool(Protocol):
    """Where answered pictures wait, next to the log, while the image store takes none. Bounded."""

    async def put(self, key: str, data: bytes) -> None:
        """Keep durably; again is no error. Raises SpoolFullError, StoreUnavailableError."""
        ...

    async def get(self, key: str) -> bytes | None:
        """The bytes, None when they are not (or no longer) here."""
        ...

    async def remove(self, key: str) -> None:
        """Forget them; absent ones are no error."""
        ...
