"""What a worker does with one generation: claim, call, verify, store, record, complete."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from application.calls import Answered, CallOutcome, Calls, Lost, Refused
from application.pictures import Pictures
from application.ports import (
    Accepted,
    Answer,
    ClaimWork,
    CloseWork,
    Command,
    Conflict,
    EventStore,
    Fenced,
    HoldWork,
    ImageNotFoundError,
    ImageStoreUnavailableError,
    OpenWork,
    Outcome,
    Picture,
    ReleaseWork,
    StoreUnavailableError,
    Units,
    UnknownEventError,
    Work,
)
from application.recording import load_patiently, record_patiently
from application.routing import NoProviderError, Route, Router
from domain.aggregate import caused_by
from domain.failure import FailureKind
from domain.generation import Ask, Finish, Generation, Step, Wait
from domain.image import Cost

log = logging.getLogger(__name__)

UNREADABLE_AGAIN = timedelta(seconds=5)
NEWER_AGAIN = timedelta(seconds=2)
UNEXPECTED_AGAIN = timedelta(seconds=30)


class FencedError(Exception):
    """The work is no longer this worker's."""


class Performer:
    """Performs generations for one worker process; `perform` may run many times at once."""

    def __init__(
        self,
        *,
        store: EventStore,
        router: Router,
        pictures: Pictures,
        call_timeout: timedelta,
        jitter: Callable[[], float],
    ) -> None:
        self.store = store
        self.router = router
        self.pictures = pictures
        self.calls = Calls(pictures, timeout=call_timeout, now=store.now)
        self.jitter = jitter
        self.is_leaving = False
        self._under_way: set[UUID] = set()

    async def perform(self, ref: UUID, worker: UUID) -> None:
        """Claim the work and do what the generation needs next.

        Does nothing when the work is somebody else's or not due, or under way in this process, be
        it for a former incarnation: its answer is on the way. After an unexpected error it is due
        again a little later, and the error is raised.
        """
        if ref in self._under_way or self.is_leaving:
            return
        self._under_way.add(ref)
        try:
            await self._perform_once(ref, worker)
        finally:
            self._under_way.discard(ref)

    def start_no_more_calls(self) -> None:
        """The process is about to stop: what is under way ends, what is left waits for others."""
        self.is_leaving = True

    async def append(self, command: Command) -> Outcome:
        """Record, however long it takes."""
        return await record_patiently(self.store, command)

    async def _perform_once(self, ref: UUID, worker: UUID) -> None:
        """What nobody has begun is claimed with the first thing that is recorded of it.

        What somebody has begun is claimed first, and then looked at: nothing changes it any more.
        """
        try:
            generation = await load_patiently(self.store, Generation, ref)
            is_untouched = generation is not None and generation.status == "queued"
            if not is_untouched:
                if not await self._claim(ref, worker):
                    return
                generation = await load_patiently(self.store, Generation, ref)
            if generation is None:
                await self.append(Command(work=CloseWork("generate", ref, worker)))
                return
            await self._go_about(generation, worker, is_claimed=not is_untouched)
        except FencedError:
            log.info("the work is not this worker's", extra={"generation": str(ref)})
        except UnknownEventError as error:
            log.warning("left to a newer worker: %s", error, extra={"generation": str(ref)})
            await self._put_off(ref, worker, NEWER_AGAIN)
        except Exception:
            await self._put_off(ref, worker, UNEXPECTED_AGAIN)
            raise

    async def _put_off(self, ref: UUID, worker: UUID, later: timedelta) -> None:
        if await self._claim(ref, worker):
            due_at = self.store.now() + later
            await self.append(Command(work=ReleaseWork("generate", ref, worker, due_at)))

    async def _claim(self, ref: UUID, worker: UUID) -> bool:
        claimed = await self.append(Command(work=ClaimWork("generate", ref, worker)))
        return isinstance(claimed, Accepted)

    async def _go_about(self, generation: Generation, worker: UUID, *, is_claimed: bool) -> None:
        with caused_by(
            actor=f"worker:{worker}",
            correlation_id=generation.correlation_id,
            causation_id=str(generation.requested_by_event),
        ):
            await Performance(self, generation, worker, is_claimed=is_claimed).run()


class Performance:
    """What one worker does with one generation that it has claimed, or claims as it begins."""

    def __init__(
        self, performer: Performer, generation: Generation, worker: UUID, *, is_claimed: bool
    ) -> None:
        self._performer = performer
        self._store = performer.store
        self._generation = generation
        self._worker = worker
        self._is_claimed = is_claimed
        self._seen: dict[str, str] = {}  # the URLs of objects that were seen in the store, by key

    async def run(self) -> None:
        """Go on until a final state, or until there is something to wait for.

        What somebody else has ended is tidied up. Raises FencedError when the work is another's.
        """
        if await self._was_ended_by_others():
            await self._tidy_up()

    async def _was_ended_by_others(self) -> bool:
        try:
            await self._lose_open_calls()
            if self._generation.closed:
                return True
            await self._go_on()
        except FencedError:
            if not (self._generation.closed and self._is_claimed):
                raise
            return True
        return False

    async def _go_on(self) -> None:
        while isinstance(step := self._next_step(), Ask):
            if self._performer.is_leaving:
                await self._release(self._store.now())
                return
            if not await self._ask(step.images):
                return
            if self._generation.closed:
                await self._after_the_end()
                return
        if isinstance(step, Wait):
            await self._release(step.until)
        else:
            await self._finish()

    async def _lose_open_calls(self) -> None:
        """Calls that a worker before this one left open: nobody will hear of them any more."""
        if self._generation.open_calls:
            await self._record_held(self._lose_all)

    async def _tidy_up(self) -> None:
        """Leave nothing of an ended generation: pictures that are nobody's, work that is ours."""
        ref, leftovers = self._generation.id, self._generation.leftovers
        work: Work = CloseWork("generate", ref, self._worker)
        try:
            await self._performer.pictures.erase(leftovers)
        except (ImageStoreUnavailableError, StoreUnavailableError) as error:
            log.warning("pictures that are nobody's stay for now: %s", error)
            due_at = self._store.now() + UNREADABLE_AGAIN
            work = ReleaseWork("generate", ref, self._worker, due_at)
        await self._performer.append(Command(work=work))

    def _lose_all(self) -> None:
        for call in self._generation.open_calls:
            self._lose(call, "its worker is gone")

    def _next_step(self) -> Step:
        return self._generation.next_step(self._store.now())

    # --- calling -----------------------------------------------------------------------------

    async def _ask(self, images: tuple[int, ...]) -> bool:
        """Call for these images; False when that has to wait, or can never be."""
        try:
            route = self._route()
            references = await self._references()
        except NoProviderError as error:
            log.error("no provider for work that was accepted: %s", error)
            await self._release(self._store.now() + UNEXPECTED_AGAIN)
        except ImageStoreUnavailableError as error:
            log.warning("a reference image cannot be read yet: %s", error)
            await self._release(self._store.now() + UNREADABLE_AGAIN)
        except ImageNotFoundError:
            await self._finish(because="reference_gone")
        else:
            await self._record_held(lambda: self._start_calls(route, images))
            await self._make_open_calls(route, references)
            return True
        return False

    def _route(self) -> Route:
        generation = self._generation
        return self._performer.router.route(
            generation.spec,
            references=len(generation.references),
            negative_prompt=generation.wish.negative_prompt is not None,
        )

    async def _references(self) -> tuple[Picture, ...]:
        return tuple(
            [
                Picture(await self._performer.pictures.read(reference.key), reference.content_type)
                for reference in self._generation.references
            ]
        )

    def _start_calls(self, route: Route, images: tuple[int, ...]) -> None:
        most = route.provider.capabilities.images_per_call
        for first in range(0, len(images), most):
            self._generation.start_call(
                provider=route.provider.name,
                model=route.model,
                images=images[first : first + most],
            )

    async def _make_open_calls(self, route: Route, references: tuple[Picture, ...]) -> None:
        """All of them at once; each is recorded as soon as it ends, whatever became of others."""
        calls = {
            asyncio.create_task(
                self._performer.calls.make(self._generation, call, route, references)
            ): call
            for call in self._generation.open_calls
        }
        errors: list[Exception] = []
        try:
            pending = set(calls)
            while pending:
                ended, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    try:
                        await self._record_outcome(calls[task], task.result())
                    except Exception as error:  # noqa: BLE001  # raised when all are recorded
                        errors.append(error)
        finally:
            for task in calls:
                task.cancel()
        if errors:
            raise next((e for e in errors if not isinstance(e, FencedError)), errors[0])

    # --- recording -----------------------------------------------------------------------------

    async def _record_outcome(self, call: int, outcome: CallOutcome) -> None:
        """What a call came to; when nothing is left to wait for, the end with it."""
        try:
            await self._record(lambda: self._take_and_finish(call, outcome))
        except FencedError:
            await self._record_late(call, outcome)
            raise

    async def _record_late(self, call: int, outcome: CallOutcome) -> None:
        """Whoever lost the work may still tell what its call brought, and what it cost.

        With that its pictures are due to be tidied up, also if this process dies before.
        """
        tidying = OpenWork("generate", self._generation.id, self._generation.user_id, timedelta())

        def take() -> Work:
            self._take_late(call, outcome)
            return tidying

        await self._record(take)

    def _take_and_finish(self, call: int, outcome: CallOutcome) -> Work:
        self._take(call, outcome)
        if isinstance(outcome, Answered):
            self._seen.update(outcome.urls)
        urls = self._urls_seen()
        return self._end(urls) if self._is_over(urls) else self._hold()

    def _urls_seen(self) -> dict[int, str]:
        images = self._generation.images.items()
        return {
            number: self._seen[image.key] for number, image in images if image.key in self._seen
        }

    def _is_over(self, urls: Mapping[int, str]) -> bool:
        """Whether there are images, all of them were seen in the store, and nothing else comes."""
        generation = self._generation
        if generation.closed or generation.open_calls or not urls:
            return False
        return len(urls) == len(generation.images) and isinstance(self._next_step(), Finish)

    def _take_late(self, call: int, outcome: CallOutcome) -> None:
        generation = self._generation
        if generation.closed and generation.calls[call].outcome == "open":
            self._take(call, outcome)
        elif late := _as_late(outcome):
            self._answer(call, late, late=True)

    def _take(self, call: int, outcome: CallOutcome) -> None:
        match outcome:
            case Answered():
                self._answer(call, outcome, late=False)
            case Refused(failure, provider_request_id, cost):
                self._generation.fail_call(
                    call,
                    failure,
                    now=self._store.now(),
                    jitter=self._performer.jitter(),
                    provider_request_id=provider_request_id,
                    cost=cost,
                )
            case Lost(reason):
                self._lose(call, reason)

    def _answer(self, call: int, answered: Answered, *, late: bool) -> None:
        self._generation.answer_call(
            call,
            provider_request_id=answered.answer.provider_request_id,
            usage=answered.answer.usage,
            cost=answered.answer.cost,
            images=answered.images,
            late=late,
        )

    def _lose(self, call: int, reason: str) -> None:
        log.warning(
            "a call's outcome is unknown: %s",
            reason,
            extra={"generation": str(self._generation.id), "call": call},
        )
        provider = self._performer.router.provider(self._generation.calls[call].provider)
        costs = provider is None or provider.capabilities.repeat_costs
        self._generation.lose_call(call, reason=reason, repeat_costs=costs)

    async def _release(self, due_at: datetime) -> None:
        await self._claim()
        release = ReleaseWork("generate", self._generation.id, self._worker, due_at)
        await self._performer.append(Command(work=release))

    async def _finish(self, *, because: FailureKind | None = None) -> None:
        """Confirm that each image can be read, then complete; without any image, fail."""
        await self._claim()
        images = list(self._generation.images.values())
        urls = await self._performer.pictures.readable(images)
        if len(urls) < len(images) and self._store.now() < self._generation.deadline:
            log.error("stored pictures cannot be read", extra={"images": len(images) - len(urls)})
            await self._release(self._store.now() + UNREADABLE_AGAIN)
            return
        await self._record(lambda: self._end(urls, because=because))
        await self._performer.pictures.forget(images)
        await self._after_the_end()

    def _end(self, urls: Mapping[int, str], *, because: FailureKind | None = None) -> Work:
        self._generation.finish(urls=urls, now=self._store.now(), because=because)
        return self._work_after(urls)

    async def _after_the_end(self) -> None:
        log.info(
            "generation %s", self._generation.status, extra={"generation": str(self._generation.id)}
        )
        if self._generation.leftovers:
            await self._tidy_up()

    def _work_after(self, published: Collection[int]) -> Work:
        """Over where every picture there is gets published; else there is something to tidy up."""
        if len(self._generation.objects) > len(published):
            return self._hold()
        return CloseWork("generate", self._generation.id, self._worker)

    async def _claim(self) -> None:
        if not self._is_claimed:
            await self._record_held(lambda: None)

    def _hold(self) -> Work:
        if self._is_claimed:
            return HoldWork("generate", self._generation.id, self._worker)
        return ClaimWork("generate", self._generation.id, self._worker)

    async def _record_held(self, decide: Callable[[], None]) -> None:
        """Record what leaves the work in this worker's hands."""

        def decide_and_hold() -> Work:
            decide()
            return self._hold()

        await self._record(decide_and_hold)

    async def _record(self, decide: Callable[[], Work]) -> None:
        """Decide and append; after a conflict, decide again on what happened meanwhile.

        Raises FencedError when the work is not ours, with the generation as it is now.
        """
        was_closed = self._generation.closed
        while True:
            work = decide()
            returned = self._generation.units_to_return
            events = self._generation.collect_events()
            outcome = await self._performer.append(
                Command(events, self._give_back(returned), work=work)
            )
            if isinstance(outcome, Accepted):
                self._generation.was_recorded(outcome.recorded_at)
                self._is_claimed = True
                return
            await self._reload()
            if not self._is_claimed:
                raise FencedError
            ended_meanwhile = self._generation.closed and not was_closed
            if isinstance(outcome, Fenced) or (ended_meanwhile and not isinstance(work, OpenWork)):
                raise FencedError
            if not isinstance(outcome, Conflict):
                raise TypeError(f"Recording what a worker did cannot end as {outcome}.")

    def _give_back(self, units: int) -> Units | None:
        if units == 0:
            return None
        return Units(self._generation.user_id, -units, self._generation.windows)

    async def _reload(self) -> None:
        generation = await load_patiently(self._store, Generation, self._generation.id)
        if generation is None:
            raise LookupError(f"Generation {self._generation.id} has left the log.")
        self._generation = generation


def _as_late(outcome: CallOutcome) -> Answered | None:
    """What there is to tell of a call that had been given up: pictures, or at least a cost."""
    match outcome:
        case Answered():
            return outcome
        case Refused(cost=Cost() as cost):
            return Answered(Answer((), cost, outcome.provider_request_id), ())
    return None
