"""A generation: one request for pictures, from prompt to permanent URL."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from eventsourcing.domain import event
from pydantic import Field

from domain.aggregate import Aggregate, Created, Metadata, Value, usually
from domain.aggregate import Event as DomainEvent
from domain.attempts import Again, Attempts, Want
from domain.failure import CONSEQUENCES, Failure, FailureKind, OnRefusal
from domain.image import Bridge, Cost, ImageSpec, PublishedImage, ReferenceImage, StoredImage
from domain.quota import Window
from domain.user import end_user_id

Status = Literal["queued", "processing", "completed", "failed", "cancelled"]
OnUnknown = Literal["repeat", "fail"]
CallOutcome = Literal["open", "answered", "failed", "lost"]

FREE_REPEATS_OF_LOST_CALLS = 5
CUT_OFF = "its deadline leaves no time for a whole call"  # why a call is lost


class Wish(Value):
    """What the user wrote: personal data, all of it."""

    prompt: str
    negative_prompt: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    webhook_url: str | None = None
    end_user: str | None = usually(None)


class Durations(Value):
    """How long a generation took, in seconds: until its first call, and in all."""

    queued: float
    total: float


@dataclass
class Call:
    """One paid request to a provider, for the images with these numbers.

    `passed_over` says why providers before it were not asked, `bridges` what this one does
    otherwise than was asked for.
    """

    number: int
    provider: str
    model: str
    images: tuple[int, ...]
    outcome: CallOutcome = "open"
    cost: Cost | None = None
    usage: dict[str, int] = field(default_factory=dict)
    cut_off: bool = False
    passed_over: dict[str, str] = field(default_factory=dict)
    bridges: tuple[Bridge, ...] = ()


@dataclass(frozen=True)
class Ask:
    """Next: call a provider for what is wanted; the rest may be asked for `later`, at that time."""

    wants: tuple[Want, ...]
    later: datetime | None = None


@dataclass(frozen=True)
class Wait:
    """Next: nothing before this time."""

    until: datetime


@dataclass(frozen=True)
class Finish:
    """Next: complete or fail, nothing is left to ask for."""


Step = Ask | Wait | Finish


class GenerationClosedError(Exception):
    """A final state is final."""

    def __init__(self, generation: Generation) -> None:
        super().__init__(
            f"Generation {generation.id} is {generation.status} and stays so. "
            "Retry it to make a new one."
        )


class GenerationOpenError(Exception):
    """Only a generation in a final state can be deleted or retried."""

    def __init__(self, generation: Generation, what_then: str) -> None:
        super().__init__(
            f"Generation {generation.id} is {generation.status}. "
            f"Cancel it or wait for its end, then {what_then} it."
        )


class Generation(Aggregate):
    """One request for images. It reserves units, asks providers in calls, and ends exactly once."""

    class Event(DomainEvent):
        """A decision about one generation."""

    class Requested(Event, Created):
        topic = "generation.requested"
        version = 1

        user_id: UUID
        api_key_id: str | None
        spec: ImageSpec
        references: tuple[ReferenceImage, ...]
        mask: ReferenceImage | None = usually(None)
        units: int
        windows: tuple[Window, ...]
        on_unknown: OnUnknown
        deadline_seconds: float
        retry_of: UUID | None
        on_refusal: OnRefusal = usually("fail")
        end_user_id: UUID | None = usually(None)
        personal: Wish

    class CallStarted(Event):
        """`passed_over` says, by name, why providers that were preferred are not asked."""

        topic = "generation.call_started"
        version = 1

        call: int
        provider: str
        model: str
        images: tuple[int, ...]
        passed_over: dict[str, str] = usually({})
        bridges: tuple[Bridge, ...] = usually(())

    class CallAnswered(Event):
        """The bytes are safe: a crash from here on never pays again."""

        topic = "generation.call_answered"
        version = 1

        call: int
        provider_request_id: str | None
        usage: dict[str, int]
        cost: Cost
        images: tuple[StoredImage, ...]

    class CallFailed(Event):
        """`retry_at` is None when the images of the call are given up.

        `same_provider_at` is None when this provider is not asked for them again.
        """

        topic = "generation.call_failed"
        version = 1

        call: int
        provider_request_id: str | None
        kind: FailureKind
        message: str
        retry_at: datetime | None
        same_provider_at: datetime | None = usually(None)
        cost: Cost | None

    class CallLost(Event):
        """Its outcome is unknown; `repeat` says whether its images are asked for again."""

        topic = "generation.call_lost"
        version = 1

        call: int
        reason: str
        repeat: bool

    class CallAnsweredLate(Event):
        """An answer to a call that had been given up: an open generation takes its images."""

        topic = "generation.call_answered_late"
        version = 1

        call: int
        provider_request_id: str | None
        usage: dict[str, int]
        cost: Cost
        images: tuple[StoredImage, ...]

    class Completed(Event):
        """The units of the `missing` images go back."""

        topic = "generation.completed"
        version = 1

        images: tuple[PublishedImage, ...]
        missing: int
        units_returned: int
        durations: Durations

    class Failed(Event):
        topic = "generation.failed"
        version = 1

        kind: FailureKind
        message: str
        units_returned: int

    class Cancelled(Event):
        topic = "generation.cancelled"
        version = 1

        by: UUID
        units_returned: int

    class Deleted(Event):
        """Its images leave the store, this record stays."""

        topic = "generation.deleted"
        version = 1

        by: UUID

    # --- decisions -------------------------------------------------------------------------

    @classmethod
    def request(
        cls,
        *,
        id: UUID,  # noqa: A002  # the library's own name for it
        user_id: UUID,
        spec: ImageSpec,
        wish: Wish,
        windows: tuple[Window, ...],
        references: tuple[ReferenceImage, ...] = (),
        mask: ReferenceImage | None = None,
        api_key_id: str | None = None,
        on_unknown: OnUnknown = "repeat",
        on_refusal: OnRefusal = "fail",
        deadline: timedelta = timedelta(minutes=15),
        retry_of: UUID | None = None,
    ) -> Generation:
        """Somebody asks for `spec.count` images; as many units are taken from each window.

        Among the windows may be those of the end user whom the wish names.
        """
        return cls._create(
            cls.Requested,
            id=id,
            user_id=user_id,
            api_key_id=api_key_id,
            spec=spec,
            references=references,
            mask=mask,
            units=spec.count,
            windows=windows,
            on_unknown=on_unknown,
            deadline_seconds=deadline.total_seconds(),
            retry_of=retry_of,
            on_refusal=on_refusal,
            end_user_id=None if wish.end_user is None else end_user_id(user_id, wish.end_user),
            personal=wish,
        )

    def retry(
        self,
        *,
        id: UUID,  # noqa: A002  # the library's own name for it
        windows: tuple[Window, ...],
        longest: timedelta,
        api_key_id: str | None = None,
    ) -> Generation:
        """A new generation that asks for the same once more; this one stays as it is.

        It may take as long as this one might, at most `longest`.
        """
        if not self.closed:
            raise GenerationOpenError(self, "retry")
        return Generation.request(
            id=id,
            user_id=self.user_id,
            spec=self.spec,
            wish=self.wish,
            windows=windows,
            references=self.references,
            mask=self.mask,
            api_key_id=api_key_id,
            on_unknown=self.on_unknown,
            on_refusal=self.on_refusal,
            deadline=min(timedelta(seconds=self.deadline_seconds), longest),
            retry_of=self.id,
        )

    def next_step(self, now: datetime) -> Step:
        """What an open generation without a call under way needs next."""
        wanted = self._unasked_images()
        if not wanted or now >= self.deadline:
            return Finish()
        wants, later = self._attempts.wants(wanted, now), self._attempts.later(wanted, now)
        if wants:
            return Ask(wants, later)
        return Wait(until=min(later or self.deadline, self.deadline))

    def start_call(
        self,
        *,
        provider: str,
        model: str,
        images: tuple[int, ...],
        passed_over: Mapping[str, str] | None = None,
        bridges: tuple[Bridge, ...] = (),
    ) -> int:
        """Say, before it is made, that a provider will be asked for these images."""
        self._refuse_if_closed()
        number = len(self.calls) + 1
        self._call_started(
            call=number,
            provider=provider,
            model=model,
            images=images,
            passed_over=dict(passed_over or {}),
            bridges=bridges,
        )
        return number

    def answer_call(
        self,
        call: int,
        *,
        provider_request_id: str | None,
        usage: Mapping[str, int],
        cost: Cost,
        images: tuple[StoredImage, ...],
        late: bool = False,
    ) -> None:
        """Take the images of an open call; of a call that was given up the answer is late.

        So is that of a worker which had lost its claim, even if nobody took the work over yet.
        """
        on_time = self._awaits(call) and not late
        record = self._call_answered if on_time else self._call_answered_late
        record(
            call=call,
            provider_request_id=provider_request_id,
            usage=dict(usage),
            cost=cost,
            images=images,
        )

    def fail_call(
        self,
        call: int,
        failure: Failure,
        *,
        now: datetime,
        jitter: float,
        others: Collection[str] = (),
        provider_request_id: str | None = None,
        cost: Cost | None = None,
    ) -> None:
        """Take the failure of an open call; that of a call that was given up changes nothing.

        `others` are the other providers that could be asked for its images. A generation that was
        cancelled meanwhile keeps what it cost, and asks for nothing again.
        """
        if self.calls[call].outcome != "open":
            return
        again = self._again(call, failure, others, now, jitter)
        self._call_failed(
            call=call,
            provider_request_id=provider_request_id,
            kind=failure.kind,
            message=failure.message,
            retry_at=again.by_anybody,
            same_provider_at=again.by_same,
            cost=cost,
        )

    def lose_call(self, call: int, *, reason: str, repeat_costs: bool) -> None:
        """Say that the outcome of an open call will stay unknown."""
        if self.calls[call].outcome != "open":
            return
        lost_before = self._attempts.losses(self.calls[call].images)
        allowed = self._paid_repeats_of_lost_calls() if repeat_costs else FREE_REPEATS_OF_LOST_CALLS
        repeat = lost_before < allowed and not (self.closed or self._attempts.refused)
        self._call_lost(call=call, reason=reason, repeat=repeat)

    def finish(
        self, *, urls: Mapping[int, str], now: datetime, because: FailureKind | None = None
    ) -> None:
        """End it: completed with the images there are, failed without any.

        `urls` maps the numbers of the stored images that can be read to their permanent URLs;
        `because` says why nothing more can be asked for, where its calls do not.
        """
        self._refuse_if_closed()
        images = tuple(
            PublishedImage(**{**dict(image), "held": "store"}, url=urls[number])
            for number, image in sorted(self.images.items())
            if number in urls
        )
        if not images:
            self._fail(because or self._reason(now))
            return
        missing = self.spec.count - len(images)
        lacking = self._images_cut_off() - {image.number for image in images}
        self._completed(
            images=images,
            missing=missing,
            units_returned=missing - len(lacking),
            durations=self._durations(now),
        )

    def cancel(self, *, by: UUID) -> None:
        """End it unfinished; what calls under way cost is recorded when they answer.

        Units go back for images that nobody is paid for: those never asked for, and those whose
        calls have failed. A second time changes nothing.
        """
        if self.status == "cancelled":
            return
        self._refuse_if_closed()
        paid = self._images_of("open", "answered", "lost")
        self._cancelled(by=by, units_returned=self.units - len(paid))

    def delete(self, *, by: UUID) -> None:
        """Let its images leave the store; a second time changes nothing."""
        if not self.closed:
            raise GenerationOpenError(self, "delete")
        if not self.deleted:
            self._deleted(by=by)

    # --- what decisions rest on ------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether it has reached its final state."""
        return self.status in ("completed", "failed", "cancelled")

    @property
    def deadline(self) -> datetime:
        """When it is ended with what there is."""
        return self.created_on + timedelta(seconds=self.deadline_seconds)

    @property
    def open_calls(self) -> tuple[int, ...]:
        """The numbers of the calls whose outcome is awaited."""
        return tuple(call.number for call in self.calls.values() if call.outcome == "open")

    @property
    def units_to_return(self) -> int:
        """The units that the decisions not yet recorded give back."""
        return sum(
            pending.units_returned
            for pending in self.pending_events
            if isinstance(pending, ENDINGS)
        )

    @property
    def last_failure(self) -> FailureKind | None:
        """What the last of its failed or lost calls failed of."""
        return self._last_failure

    @property
    def objects(self) -> tuple[str, ...]:
        """The keys of every object that it put into the image store."""
        return tuple(sorted(self._objects))

    @property
    def leftovers(self) -> tuple[str, ...]:
        """Of an ended generation, the keys of those objects that are nobody's."""
        published = {image.key for image in self.published}
        return tuple(key for key in self.objects if key not in published)

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise GenerationClosedError(self)

    def _awaits(self, call: int) -> bool:
        return not self.closed and self.calls[call].outcome == "open"

    def _again(
        self, call: int, failure: Failure, others: Collection[str], now: datetime, jitter: float
    ) -> Again:
        if self.closed:
            return Again(None, None)
        return self._attempts.after(
            failure,
            self.calls[call].provider,
            self.calls[call].images,
            others=others if failure.falls_back(self.on_refusal) else (),
            now=now,
            jitter=jitter,
        )

    def _unasked_images(self) -> tuple[int, ...]:
        if self._attempts.refused:
            return ()
        settled = self.images.keys() | self._attempts.given_up | self._images_of("open")
        return tuple(n for n in range(1, self.spec.count + 1) if n not in settled)

    def _images_of(self, *outcomes: CallOutcome) -> set[int]:
        """The numbers of the images that calls with these outcomes asked for."""
        calls = (call for call in self.calls.values() if call.outcome in outcomes)
        return {number for call in calls for number in call.images}

    def _images_cut_off(self) -> set[int]:
        """Whose call a deadline too short for any call cut off: it was made, and counts."""
        return {n for call in self.calls.values() if call.cut_off for n in call.images}

    def _paid_repeats_of_lost_calls(self) -> int:
        return 0 if self.on_unknown == "fail" else CONSEQUENCES["outcome_unknown"].repeats

    def _durations(self, now: datetime) -> Durations:
        started = self.started_on or now
        return Durations(
            queued=(started - self.created_on).total_seconds(),
            total=(now - self.created_on).total_seconds(),
        )

    def _reason(self, now: datetime) -> FailureKind:
        if self.images:
            return "image_store_unavailable"
        if self._last_failure is not None and not self._unasked_images():
            return self._last_failure
        return "deadline_passed" if now >= self.deadline else "unavailable"

    def _fail(self, kind: FailureKind) -> None:
        returned = self.units - len(self._images_cut_off())
        self._failed(kind=kind, message=CONSEQUENCES[kind].sentence, units_returned=returned)

    # --- applying: no check, no clock, no call out; it runs again on every replay ------------

    @event(Requested)
    def __init__(
        self,
        user_id: UUID,
        api_key_id: str | None,
        spec: ImageSpec,
        references: tuple[ReferenceImage, ...],
        mask: ReferenceImage | None,
        units: int,
        windows: tuple[Window, ...],
        on_unknown: OnUnknown,
        deadline_seconds: float,
        retry_of: UUID | None,
        on_refusal: OnRefusal,
        end_user_id: UUID | None,
        personal: Wish,
        metadata: Metadata,
        event_id: UUID,
    ) -> None:
        self.correlation_id = metadata.correlation_id
        self.requested_by_event = event_id
        self.user_id = user_id
        self.api_key_id = api_key_id
        self.spec = spec
        self.wish = personal
        self.references = references
        self.mask = mask
        self.units = units
        self.windows = windows
        self.on_unknown = on_unknown
        self.on_refusal = on_refusal
        self.deadline_seconds = deadline_seconds
        self.retry_of = retry_of
        self.end_user_id = end_user_id
        self.status: Status = "queued"
        self.deleted = False
        self.deleted_on: datetime | None = None
        self.calls: dict[int, Call] = {}
        self.images: dict[int, StoredImage] = {}
        self.published: tuple[PublishedImage, ...] = ()
        self.missing = 0
        self.error: tuple[FailureKind, str] | None = None
        self.started_on: datetime | None = None
        self.ended_on: datetime | None = None
        self._attempts = Attempts()
        self._last_failure: FailureKind | None = None
        self._objects: set[str] = set()

    @event(CallStarted)
    def _call_started(
        self,
        call: int,
        provider: str,
        model: str,
        images: tuple[int, ...],
        passed_over: dict[str, str],
        bridges: tuple[Bridge, ...],
        timestamp: datetime | None = None,
    ) -> None:
        self.status = "processing"
        self.started_on = self.started_on or timestamp
        self.calls[call] = Call(
            call, provider, model, images, passed_over=passed_over, bridges=bridges
        )

    @event(CallAnswered)
    def _call_answered(
        self,
        call: int,
        provider_request_id: str | None,
        usage: dict[str, int],
        cost: Cost,
        images: tuple[StoredImage, ...],
    ) -> None:
        self._take_answer(call, usage, cost, images)

    @event(CallAnsweredLate)
    def _call_answered_late(
        self,
        call: int,
        provider_request_id: str | None,
        usage: dict[str, int],
        cost: Cost,
        images: tuple[StoredImage, ...],
    ) -> None:
        self._take_answer(call, usage, cost, images)

    @event(CallFailed)
    def _call_failed(
        self,
        call: int,
        provider_request_id: str | None,
        kind: FailureKind,
        message: str,
        retry_at: datetime | None,
        same_provider_at: datetime | None,
        cost: Cost | None,
    ) -> None:
        asked = self.calls[call]
        asked.outcome, asked.cost = "failed", cost
        self._last_failure = kind
        if kind == "moderation_input" and self.on_refusal == "fail":
            self._attempts.refused = True
        again = Again(by_anybody=retry_at, by_same=same_provider_at)
        self._attempts.take_failure(asked.provider, asked.images, again)

    @event(CallLost)
    def _call_lost(self, call: int, reason: str, repeat: bool) -> None:
        lost = self.calls[call]
        lost.outcome, lost.cut_off = "lost", reason == CUT_OFF
        self._last_failure = "outcome_unknown"
        self._attempts.take_loss(lost.provider, lost.images, repeat=repeat)

    @event(Completed)
    def _completed(
        self,
        images: tuple[PublishedImage, ...],
        missing: int,
        units_returned: int,
        durations: Durations,
        timestamp: datetime | None = None,
    ) -> None:
        self.status = "completed"
        self.published = images
        self.missing = missing
        self.ended_on = timestamp

    @event(Failed)
    def _failed(
        self,
        kind: FailureKind,
        message: str,
        units_returned: int,
        timestamp: datetime | None = None,
    ) -> None:
        self.status = "failed"
        self.error = (kind, message)
        self.missing = self.spec.count
        self.ended_on = timestamp

    @event(Cancelled)
    def _cancelled(self, by: UUID, units_returned: int, timestamp: datetime | None = None) -> None:
        self.status = "cancelled"
        self.missing = self.spec.count
        self.ended_on = timestamp

    @event(Deleted)
    def _deleted(self, by: UUID, timestamp: datetime | None = None) -> None:
        self.deleted = True
        self.deleted_on = timestamp
        self.published = ()

    def was_recorded(self, at: datetime) -> None:
        """What it decided was recorded then: replay has the time from the events."""
        self._created_on = self._created_on or at
        if self.calls:
            self.started_on = self.started_on or at
        if self.closed:
            self.ended_on = self.ended_on or at

    def _take_answer(
        self, call: int, usage: dict[str, int], cost: Cost, images: tuple[StoredImage, ...]
    ) -> None:
        answered = self.calls[call]
        answered.outcome, answered.cost, answered.usage = "answered", cost, usage
        self._objects.update(image.key for image in images)
        if self.closed:
            return
        for image in images:
            self.images.setdefault(image.number, image)
            self._attempts.given_up.discard(image.number)


ENDINGS = (Generation.Completed, Generation.Failed, Generation.Cancelled)
