"""What users ask of generations. Each command loads, decides, and is recorded in one append."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from application.deletion import Deletions
from application.fitting import Wanted
from application.idempotency import Idempotency, NumberedSending, hashed
from application.in_flight import refusal
from application.ports.event_store import (
    Accepted,
    CloseWork,
    Command,
    Conflict,
    Duplicate,
    EventStore,
    IdempotencyKey,
    MostInFlight,
    OpenWork,
    OverLimit,
    TooManyInFlight,
    UsedKey,
    WindowClosed,
    Work,
)
from application.references import References, Sent
from application.routing import NoProviderError, Router
from application.turns import Turns
from application.units import units_given_back, units_taken
from domain.aggregate import made_one_by
from domain.failure import OnRefusal
from domain.generation import Generation, OnUnknown, Wish
from domain.image import ImageSpec
from domain.quota import (
    END_USERS,
    Allowance,
    QuotaExceededError,
    Window,
    WindowType,
    windows_at,
)
from domain.user import Preferences

TRIES = 3
OF_PREFERENCES = (
    "What the request leaves open was taken from its user's preferences: change them, or say it."
)
MOST_CONFLICTS = 20  # more than a worker records in one burst


class GenerationNotFoundError(Exception):
    """There is no such generation, or it is somebody else's: nobody is told which."""

    def __init__(self) -> None:
        super().__init__("There is no such generation, or it is not yours.")


class DeadlineTooLongError(Exception):
    """The request wants to wait longer than the operator allows."""

    def __init__(self, longest: timedelta) -> None:
        super().__init__(
            f"A generation may take at most {longest.total_seconds():g} seconds here. "
            "Ask for a shorter deadline, or leave it out."
        )


class ClockUncertainError(Exception):
    """The quota's window closed again and again while units were taken from it."""


class ContendedError(Exception):
    """A generation changed again and again while something was decided about it."""

    def __init__(self, what: str = "The generation is") -> None:
        super().__init__(f"{what} just changing. Look again, then try again.")


@dataclass(frozen=True)
class Placed:
    """The generation that a request made, or made before (`repeated`).

    Of a new one also how it was recorded, at which position, and what that left of the quota.
    """

    id: UUID
    repeated: bool
    generation: Generation | None = None
    position: int | None = None
    allowances: tuple[Allowance, ...] = ()


@dataclass(frozen=True)
class Changed:
    """A generation after a command, which had been done before (`repeated`)."""

    generation: Generation
    repeated: bool


class Generations:
    """The commands on generations. Each may raise StoreUnavailableError.

    With an `idempotency_key` a repeated command is done once, and one of another meaning raises
    IdempotencyKeyReusedError. Only what was recorded is remembered: a refusal may be tried again.
    """

    def __init__(
        self,
        *,
        store: EventStore,
        router: Router,
        references: References,
        deletions: Deletions,
        limits: Mapping[WindowType, int | None],
        most_in_flight: MostInFlight,
        turns: Turns,
        deadline: timedelta,
        preferences: Callable[[UUID], Awaitable[Preferences]],
    ) -> None:
        self._store = store
        self._router = router
        self._references = references
        self._deletions = deletions
        self._limits = limits
        self._end_users_have_a_quota = any(limits.get(type_) is not None for type_ in END_USERS)
        self._most_in_flight = most_in_flight
        self._turns = turns
        self._deadline = deadline
        self._preferences = preferences

    async def of(self, user_id: UUID, id_: UUID) -> Generation:
        """A generation of this user's as it is now. Raises GenerationNotFoundError."""
        generation = await self._store.get(Generation, id_)
        if generation is None or generation.user_id != user_id:
            raise GenerationNotFoundError
        return generation

    async def request(
        self,
        *,
        user_id: UUID,
        spec: ImageSpec,
        wish: Wish,
        references: Sequence[str | bytes] = (),
        mask: str | bytes | None = None,
        api_key_id: str | None = None,
        on_unknown: OnUnknown = "repeat",
        on_refusal: OnRefusal = "fail",
        deadline: timedelta | None = None,
        end_user: str | None = None,
        idempotency_key: str | None = None,
        sending: NumberedSending | None = None,
    ) -> Placed:
        """Ask for pictures: units, work and the event are recorded together.

        Where `spec` says nothing, what the user prefers is asked for.

        `end_user` is whom the user's backend serves, as it calls them: where end users have a
        quota, units are taken from theirs too.

        `references` are images, as bytes, base64 or data URLs, or pictures of earlier generations
        (`{id}` or `{id}/{number}`), `mask` is for the first of them. They are cleaned and stored
        before anything is recorded, and only when some provider could do it. A `sending` counts
        where there is no key. Raises NoProviderError, DeadlineTooLongError,
        UnusableReferencesError, ImageStoreUnavailableError, QuotaExceededError, TooManyOfUserError
        and TooManyOfAllError; after any of them nothing was recorded.
        """
        if end_user is not None:
            wish = wish.model_copy(update={"end_user": end_user})
        used = idempotency_key and await self._used_key(user_id, idempotency_key)
        filled = (await self._preferences(user_id)).fill(spec)
        wanted = Wanted(filled, wish, references=len(references), mask=mask is not None)
        may_be_done = bool(used or (not idempotency_key and sending and sending.is_a_repeat))
        if not may_be_done:
            await self._refuse_the_impossible(wanted, deadline, asked=spec)
        sent = await self._references.read(references, mask)
        said = _said(spec, wish, sent, (on_unknown, on_refusal), deadline)
        idempotency = Idempotency.of(user_id, idempotency_key, said) or Idempotency.of_sending(
            user_id, sending, said, answered_within=deadline or self._deadline
        )
        if idempotency and used:
            return Placed(idempotency.used_for(used), repeated=True)
        if idempotency and may_be_done:
            if made := await self._sent_before(idempotency):
                return Placed(made, repeated=True)
            await self._refuse_the_impossible(wanted, deadline, asked=spec)
        taken = await self._references.take(user_id, sent)

        def decide(windows: tuple[Window, ...]) -> Generation:
            return Generation.request(
                id=uuid4(),
                user_id=user_id,
                spec=filled,
                wish=wish,
                windows=windows,
                references=taken.references,
                mask=taken.mask,
                api_key_id=api_key_id,
                on_unknown=on_unknown,
                on_refusal=on_refusal,
                deadline=deadline or self._deadline,
            )

        async with self._turns.turn(user_id):
            return await self._place(decide, idempotency, wish)

    async def retry(
        self,
        *,
        user_id: UUID,
        id: UUID,  # noqa: A002  # as the domain has it
        api_key_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Placed:
        """Ask for the same once more, as a new generation.

        Raises GenerationNotFoundError, GenerationOpenError, and what `request` raises.
        """
        idempotency = Idempotency.of(user_id, idempotency_key, {"retry": str(id)})
        retried = await self.of(user_id, id)
        if made := await self._done_before(user_id, idempotency):
            return Placed(made, repeated=True)
        await self._router.routes(Wanted.of(retried))

        def decide(windows: tuple[Window, ...]) -> Generation:
            return retried.retry(
                id=uuid4(), windows=windows, longest=self._deadline, api_key_id=api_key_id
            )

        async with self._turns.turn(user_id):
            return await self._place(decide, idempotency, retried.wish)

    async def cancel(
        self,
        *,
        user_id: UUID,
        id: UUID,  # noqa: A002  # as the domain has it
        idempotency_key: str | None = None,
    ) -> Changed:
        """End it unfinished: what is queued never starts, a call under way is abandoned.

        Its cost is recorded when it answers; units go back for images not yet asked for. Raises
        GenerationNotFoundError, GenerationClosedError.
        """
        return await self._change(
            await self.of(user_id, id),
            lambda generation: generation.cancel(by=user_id),
            work=_work_of_cancelled,
            idempotency=Idempotency.of(user_id, idempotency_key, {"cancel": str(id)}),
        )

    async def delete(
        self,
        *,
        user_id: UUID,
        id: UUID,  # noqa: A002  # as the domain has it
        idempotency_key: str | None = None,
    ) -> Changed:
        """Let its images leave the image store; the record stays.

        They leave at once, or as soon as the image store is back. Raises GenerationNotFoundError,
        GenerationOpenError.
        """
        changed = await self._change(
            await self.of(user_id, id),
            lambda generation: generation.delete(by=user_id),
            work=lambda _: self._deletions.work(id, user_id),
            idempotency=Idempotency.of(user_id, idempotency_key, {"delete": str(id)}),
        )
        await self._deletions.try_now(changed.generation)
        return changed

    async def _done_before(self, user_id: UUID, idempotency: Idempotency | None) -> UUID | None:
        """What the same command made or changed; None if it was not there yet.

        Raises IdempotencyKeyReusedError.
        """
        used = idempotency and await self._used_key(user_id, idempotency.key)
        return idempotency.used_for(used) if idempotency and used else None

    async def _sent_before(self, idempotency: Idempotency) -> UUID | None:
        """What an earlier sending made, which this one is then taken for; None if there is none.

        It is asked before anything else: what was accepted stays so, whatever was decided since.
        """
        outcome = await self._store.append(Command(idempotency=idempotency.for_repeat()))
        return outcome.ref if isinstance(outcome, Duplicate) else None

    async def _refuse_the_impossible(
        self, wanted: Wanted, deadline: timedelta | None, *, asked: ImageSpec
    ) -> None:
        """Raises NoProviderError, DeadlineTooLongError."""
        try:
            await self._router.routes(wanted)
        except NoProviderError as error:
            if wanted.spec == asked:
                raise
            raise NoProviderError(f"{error} {OF_PREFERENCES}") from error
        if deadline is not None and deadline > self._deadline:
            raise DeadlineTooLongError(self._deadline)

    async def _used_key(self, user_id: UUID, key: str) -> UsedKey | None:
        return await self._store.used_key(user_id, hashed(user_id, key))

    async def _place(
        self,
        decide: Callable[[tuple[Window, ...]], Generation],
        idempotency: Idempotency | None,
        wish: Wish,
    ) -> Placed:
        """Record a new generation, its units taken from the windows that are open now."""
        of_end_user = wish.end_user is not None and self._end_users_have_a_quota
        now = self._store.now()
        for _ in range(TRIES):
            with made_one_by(idempotency.recorded if idempotency else None):
                generation = decide(windows_at(now, end_user=of_end_user))
            placed = await self._place_in(generation, idempotency)
            if isinstance(placed, Placed):
                return placed
            now = placed
        raise ClockUncertainError("The quota's day or month is just changing. Try again.")

    async def _place_in(
        self, generation: Generation, idempotency: Idempotency | None
    ) -> Placed | datetime:
        outcome = await self._store.append(
            Command(
                events=generation.collect_events(),
                units=units_taken(generation, self._limits),
                idempotency=_recorded_key(generation, idempotency),
                work=_work_of_new(generation, self._most_in_flight),
            )
        )
        match outcome:
            case Accepted(position, recorded_at, allowances=allowances):
                generation.was_recorded(recorded_at)
                return Placed(
                    generation.id,
                    repeated=False,
                    generation=generation,
                    position=position,
                    allowances=allowances,
                )
            case Duplicate() if idempotency:
                return Placed(idempotency.used_for(outcome), repeated=True)
            case OverLimit(allowances):
                raise QuotaExceededError(allowances, asked=generation.units)
            case WindowClosed(now):
                return now
            case TooManyInFlight():
                raise refusal(outcome)
        raise AssertionError(f"A new generation cannot end as {outcome}.")

    async def _change(
        self,
        generation: Generation,
        decide: Callable[[Generation], None],
        *,
        work: Callable[[Generation], Work | None],
        idempotency: Idempotency | None,
    ) -> Changed:
        """Decide and record; after a conflict, decide again on what happened meanwhile."""
        owner = generation.user_id
        if await self._done_before(owner, idempotency):
            return Changed(await self.of(owner, generation.id), repeated=True)
        for _ in range(MOST_CONFLICTS):
            then_due = work(generation)
            with made_one_by(idempotency.recorded if idempotency else None):
                decide(generation)
            units = units_given_back(generation)
            events = generation.collect_events()
            outcome = await self._store.append(
                Command(
                    events=events,
                    units=units,
                    idempotency=_recorded_key(generation, idempotency),
                    work=then_due if events else None,
                )
            )
            generation = await self.of(owner, generation.id)
            if isinstance(outcome, Accepted):
                return Changed(generation, repeated=False)
            if isinstance(outcome, Duplicate) and idempotency:
                idempotency.used_for(outcome)
                return Changed(generation, repeated=True)
            if not isinstance(outcome, Conflict):
                raise TypeError(f"A change of a generation cannot end as {outcome}.")
        raise ContendedError


def _work_of_new(generation: Generation, most: MostInFlight) -> OpenWork:
    deadline = timedelta(seconds=generation.deadline_seconds)
    return OpenWork("generate", generation.id, generation.user_id, deadline, most)


def _work_of_cancelled(generation: Generation) -> Work | None:
    """Nothing is due any more; but a worker tidies up behind calls that were made."""
    return CloseWork("generate", generation.id) if generation.status == "queued" else None


def _said(
    spec: ImageSpec,
    wish: Wish,
    sent: Sent,
    policies: tuple[OnUnknown, OnRefusal],
    deadline: timedelta | None,
) -> Mapping[str, object]:
    """What a request says, however it was written: two equal ones say the same."""
    return {
        "spec": spec.model_dump(exclude_defaults=True),
        "wish": wish.model_dump(exclude_defaults=True),
        "references": sent.said,
        "policies": policies,
        "deadline": deadline.total_seconds() if deadline else None,
    }


def _recorded_key(generation: Generation, idempotency: Idempotency | None) -> IdempotencyKey | None:
    return idempotency.for_command(generation.id) if idempotency else None
