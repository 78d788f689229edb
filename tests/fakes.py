"""Hand-written stand-ins. Each passes the contract tests of what it stands for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

from eventsourcing.persistence import StoredEvent

from application.ports.event_store import (
    MOST_LATER,
    A,
    Accepted,
    ClaimWork,
    CloseWork,
    Command,
    Conflict,
    Duplicate,
    Fenced,
    HoldWork,
    IdempotencyKey,
    OpenWork,
    Outcome,
    OverLimit,
    OwnLimits,
    Recorded,
    ReleaseWork,
    Sending,
    TooManyInFlight,
    Units,
    UsedKey,
    WindowClosed,
    Work,
    WorkKind,
)
from application.ports.images import Mark, SpoolFullError
from application.ports.workers import (
    AtWork,
    DueWork,
    Look,
    Outlived,
    QueueUnavailableError,
    Stretch,
)
from domain.generation import Generation
from domain.quota import Allowance, WindowType
from infrastructure.event_store.mapper import JsonMapper
from infrastructure.event_store.wire import encode

NOBODY = UUID(int=0)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FakeClock:
    """Time that moves when told to."""

    def __init__(self, now: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **time: float) -> None:
        self.now += timedelta(**time)


@dataclass
class WorkRow:
    kind: str
    ref: UUID
    user_id: UUID
    due_at: datetime
    deadline: datetime
    calls: int = 0
    worker: UUID | None = None


@dataclass
class Row:
    position: int
    recorded_at: datetime
    stored: StoredEvent


@dataclass
class MemoryEventStore:
    """The whole event store port in memory: quota, work, idempotency and fencing included."""

    clock: Callable[[], datetime] = field(default_factory=FakeClock)
    mapper: JsonMapper = field(default_factory=JsonMapper)

    def __post_init__(self) -> None:
        self.rows: list[Row] = []
        self.units: dict[tuple[UUID, WindowType, datetime], int] = {}
        self.limits: dict[tuple[UUID, WindowType], int | None] = {}
        self.keys: dict[tuple[UUID, str], tuple[IdempotencyKey, datetime]] = {}
        self.sendings: dict[str, set[int]] = {}
        self.work: dict[tuple[str, UUID], WorkRow] = {}
        self.workers: dict[UUID, tuple[int, datetime]] = {}
        self.board = MemoryWorkBoard(self)
        self.fail_next: list[Exception] = []
        self.fail_next_read: list[Exception] = []

    def now(self) -> datetime:
        return self.clock()

    async def append(self, command: Command) -> Outcome:
        await asyncio.sleep(0)
        if self.fail_next:
            raise self.fail_next.pop()
        encode(command, self.mapper)
        stored = [self.mapper.to_stored_event(event) for event in command.events]
        refusal = (
            self._known(stored)
            or await self._reused(command.idempotency)
            or self._refused(command.units)
            or self._too_many(command.work)
            or self._change(command)
        )
        return refusal or self._write(command, stored)

    async def used_key(self, user_id: UUID, key: str) -> UsedKey | None:
        known = self.keys.get((user_id, key))
        if known is None or known[1] <= self.now():
            return None
        return UsedKey(known[0].ref, known[0].fingerprint)

    async def get(self, aggregate: type[A], stream: UUID) -> A | None:
        folded: Any = None
        for recorded in await self.history(stream, after=0, limit=10_000):
            folded = recorded.event.mutate(folded)
        return folded if isinstance(folded, aggregate) else None

    async def history(self, stream: UUID, *, after: int, limit: int) -> Sequence[Recorded]:
        if self.fail_next_read:
            raise self.fail_next_read.pop()
        mine = [r for r in self.rows if r.stored.originator_id == stream and r.position > after]
        return [self._recorded(row) for row in mine[:limit]]

    async def later(self, behind: Mapping[UUID, int]) -> Sequence[Recorded]:
        if self.fail_next_read:
            raise self.fail_next_read.pop()
        theirs = [
            [r for r in self.rows if _is_behind(r.stored, stream, number)][:MOST_LATER]
            for stream, number in behind.items()
        ]
        return [self._recorded(row) for rows in theirs for row in rows]

    async def read(self, *, after: int, limit: int) -> Sequence[Recorded]:
        return [self._recorded(row) for row in self.rows[after : after + limit]]

    def _recorded(self, row: Row) -> Recorded:
        event = self.mapper.to_domain_event(row.stored, row.recorded_at)
        return Recorded(row.position, row.recorded_at, event)

    def _known(self, stored: list[StoredEvent]) -> Outcome | None:
        if not stored:
            return None
        by_place = {(r.stored.originator_id, r.stored.originator_version): r for r in self.rows}
        first = by_place.get((stored[0].originator_id, stored[0].originator_version))
        if first is not None:
            if first.stored != stored[0]:
                return Conflict()
            last = by_place[stored[-1].originator_id, stored[-1].originator_version]
            return Accepted(last.position, last.recorded_at, repeated=True)
        return None if self._continues(stored) else Conflict()

    def _continues(self, stored: list[StoredEvent]) -> bool:
        versions: dict[Any, int] = {}
        for row in self.rows:
            versions[row.stored.originator_id] = row.stored.originator_version
        for event in stored:
            last = versions.get(event.originator_id)
            expected = {0, 1} if last is None else {last + 1}
            if event.originator_version not in expected:
                return False
            versions[event.originator_id] = event.originator_version
        return True

    async def _reused(self, key: IdempotencyKey | None) -> Outcome | None:
        if key and key.sending:
            return self._sent_before(key, key.sending)
        used = await self.used_key(key.user_id, key.key) if key else None
        if key is None or used is None:
            return None
        return Duplicate(used.ref, used.fingerprint == key.fingerprint)

    def _sent_before(self, key: IdempotencyKey, sending: Sending) -> Outcome | None:
        since = self.now() if sending.number else sending.arrived_at + key.keep
        for known, expires_at in reversed(self.keys.values()):
            came = self.sendings.get(known.key, {sending.number})
            same = (known.user_id, known.fingerprint) == (key.user_id, key.fingerprint)
            if same and sending.number not in came and expires_at > since:
                came.add(sending.number)
                return Duplicate(known.ref, True)
        return Conflict() if key.only_a_repeat else None

    def _refused(self, units: Units | None) -> Outcome | None:
        if units is None or units.units <= 0:
            return None
        if not all(w.starts_at <= self.now() < w.ends_at for w in units.windows):
            return WindowClosed(self.now())
        allowances = self._allowances(units)
        has_room = all(one.has_room_for(units.units) for one in allowances)
        return None if has_room else OverLimit(allowances)

    def _allowances(self, units: Units | None) -> tuple[Allowance, ...]:
        if units is None or units.units <= 0:
            return ()
        return tuple(
            Allowance(
                window,
                self.limits.get((owner, window.type), units.limits.get(window.type)),
                self.units.get((owner, window.type, window.starts_at), 0),
            )
            for window in units.windows
            for owner in (units.owner_of(window),)
        )

    def _too_many(self, work: Work | None) -> Outcome | None:
        if not isinstance(work, OpenWork) or work.most is None:
            return None
        owners = [row.user_id for row in self.work.values() if row.kind == "generate"]
        of_user, of_all = owners.count(work.user_id), len(owners)
        if of_user >= work.most.of_user:
            return TooManyInFlight("user", work.most.of_user, of_user)
        if of_all >= work.most.of_all:
            return TooManyInFlight("all", work.most.of_all, of_all)
        return None

    def _change(self, command: Command) -> Outcome | None:
        change = command.work
        if change is None:
            return None
        if isinstance(change, OpenWork):
            row = WorkRow(
                change.kind,
                change.ref,
                change.user_id,
                self.now(),
                self.now() + change.deadline,
            )
            self.work.setdefault((change.kind, change.ref), row)
            return None
        if isinstance(change, CloseWork) and change.worker is None:
            self.work.pop((change.kind, change.ref), None)
            return None
        calls = sum(isinstance(e, Generation.CallStarted) for e in command.events)
        return None if self._changed(change, calls) else Fenced()

    def _changed(self, change: ClaimWork | HoldWork | ReleaseWork | CloseWork, calls: int) -> bool:
        row = self.work.get((change.kind, change.ref))
        worker = change.worker
        if row is None or worker is None or not self.is_open(worker):
            return False
        if isinstance(change, ClaimWork):
            is_free = row.worker is None and row.due_at <= self.now()
            if row.worker != worker and not (is_free and self.takes_work(worker)):
                return False
            row.worker, row.calls = worker, row.calls + calls
            return True
        if row.worker != worker:
            return False
        match change:
            case HoldWork():
                row.calls += calls
            case ReleaseWork(due_at=due_at):
                row.worker, row.due_at = None, due_at
            case CloseWork():
                del self.work[change.kind, change.ref]
        return True

    def is_open(self, worker: UUID) -> bool:
        return worker in self.workers

    def takes_work(self, worker: UUID) -> bool:
        _, expires_at = self.workers[worker]
        return expires_at > self.now()

    def _write(self, command: Command, stored: list[StoredEvent]) -> Outcome:
        if command.units is not None:
            for window in command.units.windows:
                place = (command.units.owner_of(window), window.type, window.starts_at)
                self.units[place] = self.units.get(place, 0) + command.units.units
        if command.idempotency is not None:
            key = command.idempotency
            self.keys[key.user_id, key.key] = (key, self.now() + key.keep)
            if key.sending:
                self.sendings[key.key] = {key.sending.number}
        allowances = self._allowances(command.units)
        if command.limits is not None:
            self._set_limits(command.limits)
        for event in stored:
            self.rows.append(Row(len(self.rows) + 1, self.now(), event))
        position = len(self.rows) if stored else None
        return Accepted(position, self.now(), allowances=allowances)

    def _set_limits(self, own: OwnLimits) -> None:
        others = {at: units for at, units in self.limits.items() if at[0] != own.user_id}
        given = {(own.user_id, type_): units for type_, units in own.limits.items()}
        self.limits = {**others, **given}


class MemoryWorkBoard:
    """The work board port over a MemoryEventStore."""

    def __init__(self, store: MemoryEventStore) -> None:
        self._store = store

    async def register(self, worker: UUID, *, slots: int, lease: timedelta) -> None:
        self._store.workers[worker] = (slots, self._store.now() + lease)

    async def extend(self, worker: UUID, *, lease: timedelta) -> bool:
        if not self._store.is_open(worker):
            return False
        slots, _ = self._store.workers[worker]
        self._store.workers[worker] = (slots, self._store.now() + lease)
        return True

    async def drain(self, worker: UUID) -> None:
        if worker in self._store.workers:
            self._store.workers[worker] = (0, self._store.workers[worker][1])

    async def retire(self, worker: UUID) -> None:
        self._store.workers.pop(worker, None)
        self._free_abandoned()

    async def moment(self) -> datetime:
        return self._store.now()

    async def sweep(self, expired_by: datetime) -> int:
        for worker in [w for w, (_, ends) in self._store.workers.items() if ends <= expired_by]:
            del self._store.workers[worker]
        return self._free_abandoned()

    async def take_overdue(
        self,
        taker: UUID,
        *,
        lease: timedelta,
        grace: timedelta,
        margin: timedelta,
        limit: int,
    ) -> Sequence[UUID]:
        now = self._store.now()
        overdue = [
            row
            for row in self._store.work.values()
            if row.kind == "generate"
            and row.deadline <= now - (margin if row.worker else grace)
            and (row.worker is not None or row.due_at <= now)
        ]
        held = [row for row in self._store.work.values() if row.worker == taker]
        overdue = sorted(overdue, key=lambda row: row.deadline)[: limit - len(held)]
        if held or overdue:
            self._store.workers[taker] = (0, now + lease)
        for row in overdue:
            row.worker = taker
        return [row.ref for row in self._store.work.values() if row.worker == taker]

    async def forget_outlived(self) -> Outlived:
        now, before = self._store.now(), len(self._store.keys)
        self._store.keys = {k: kept for k, kept in self._store.keys.items() if kept[1] > now}
        return Outlived(keys=before - len(self._store.keys), pictures=0, is_all=True)

    def _free_abandoned(self) -> int:
        freed = [
            r for r in self._store.work.values() if r.worker not in {None, *self._store.workers}
        ]
        for row in freed:
            row.worker, row.due_at = None, self._store.now()
        return len(freed)

    def _waiting(self) -> list[WorkRow]:
        now = self._store.now()
        return [r for r in self._store.work.values() if r.worker is None and r.due_at <= now]

    async def look(self, *, after_user: UUID, handed_over: Sequence[DueWork]) -> Look:
        waiting = frozenset(_due(r) for r in self._waiting()) & frozenset(handed_over)
        free = max(self._free_slots() - len(waiting), 0)
        due = await self.next_due(after_user=after_user, limit=free, handed_over=list(waiting))
        seconds = self._seconds_to_next() if len(due) < free else None
        return Look(free, due, waiting, seconds)

    def _free_slots(self) -> int:
        held = [row.worker for row in self._store.work.values()]
        return sum(
            max(slots - held.count(worker), 0)
            for worker, (slots, ends) in self._store.workers.items()
            if ends > self._store.now()
        )

    async def next_due(
        self, *, after_user: UUID, limit: int, handed_over: Sequence[DueWork]
    ) -> Sequence[DueWork]:
        rows = [r for r in self._waiting() if _due(r) not in set(handed_over)]
        rows.sort(key=lambda r: (r.user_id, r.due_at, r.ref))
        chosen: list[WorkRow] = []
        turn = after_user
        while rows and len(chosen) < limit:
            row = next((r for r in rows if r.user_id > turn), rows[0])
            rows.remove(row)
            chosen.append(row)
            turn = row.user_id
        return [_due(r) for r in chosen]

    async def put_off(self, *, limit: int) -> Sequence[UUID]:
        now = self._store.now()
        later = [r for r in self._store.work.values() if r.worker is None and r.due_at > now]
        later.sort(key=lambda row: row.due_at)
        return [row.ref for row in later if row.kind == "generate"][:limit]

    async def at_work(self) -> AtWork:
        workers = self._store.workers.values()
        here = [slots for slots, ends in workers if slots and ends > self._store.now()]
        return AtWork(len(here), sum(here), self._free_slots())

    async def open_without_work(self, *, after: int, span: int) -> Stretch:
        found = []
        for row in self._store.rows[after : after + span]:
            ref = UUID(str(row.stored.originator_id))
            if row.stored.topic.startswith("generation.requested@"):
                generation = await self._store.get(Generation, ref)
                missing = ("generate", ref) not in self._store.work
                if generation is not None and missing and not generation.closed:
                    found.append(ref)
        end = min(after + span, len(self._store.rows))
        return Stretch(found, end, is_last=end == len(self._store.rows))

    def _seconds_to_next(self) -> float | None:
        now = self._store.now()
        due = [r.due_at for r in self._store.work.values() if r.worker is None and r.due_at > now]
        return (min(due) - now).total_seconds() if due else None


def _is_behind(stored: StoredEvent, stream: UUID, number: int) -> bool:
    return stored.originator_id == stream and stored.originator_version > number


def _due(row: WorkRow) -> DueWork:
    return DueWork(cast(WorkKind, row.kind), row.ref, row.user_id)


class MemoryNamedReferences:
    """Asks a MemoryEventStore; told to be `behind`, it does not know."""

    def __init__(self, store: MemoryEventStore) -> None:
        self._store = store
        self.behind = False

    async def among(self, keys: Sequence[str]) -> set[str] | None:
        if self.behind:
            return None
        events = [recorded.event for recorded in await self._store.read(after=0, limit=10_000)]
        deleted = {e.originator_id for e in events if isinstance(e, Generation.Deleted)}
        requests = [
            event
            for event in events
            if isinstance(event, Generation.Requested) and event.originator_id not in deleted
        ]
        named = {reference.key for request in requests for reference in request.references}
        masks = {request.mask.key for request in requests if request.mask}
        return (named | masks) & set(keys)


class MemoryLog:
    """A MemoryEventStore as one log among others."""

    def __init__(self, store: MemoryEventStore) -> None:
        self._store = store
        self._identity = uuid4()
        self._made_on = store.now()

    async def end(self) -> Mark:
        return self._mark(len(self._store.rows))

    async def not_mine(self, marks: Sequence[Mark]) -> Sequence[Mark]:
        has = len(self._store.rows)
        return [m for m in marks if m.position > has or m != self._mark(m.position)]

    async def age(self) -> timedelta:
        return self._store.now() - self._made_on

    async def clock(self) -> datetime:
        return self._store.now()

    def _mark(self, position: int) -> Mark:
        recorded_at = self._store.rows[position - 1].recorded_at if position else EPOCH
        return Mark(self._identity, position, recorded_at)


class FakeQueue:
    """A queue that keeps what was handed over, until told to be unavailable."""

    def __init__(self) -> None:
        self.handed_over: list[DueWork] = []
        self.available = True

    async def hand_over(self, work: Sequence[DueWork]) -> None:
        if not self.available:
            raise QueueUnavailableError("the queue is down")
        self.handed_over.extend(work)


class FakeSpool:
    """A spool in memory that holds at most so many bytes."""

    def __init__(self, most_bytes: int = 1_000_000) -> None:
        self.kept: dict[str, bytes] = {}
        self.fail_next_read: list[Exception] = []
        self._most_bytes = most_bytes

    async def put(self, key: str, data: bytes) -> None:
        others = sum(len(kept) for other, kept in self.kept.items() if other != key)
        if others + len(data) > self._most_bytes:
            raise SpoolFullError("The spool is full. Bring the image store back.")
        self.kept[key] = data

    async def get(self, key: str) -> bytes | None:
        if self.fail_next_read:
            raise self.fail_next_read.pop()
        return self.kept.get(key)

    async def remove(self, key: str) -> None:
        self.kept.pop(key, None)
