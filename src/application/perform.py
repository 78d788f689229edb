"""What a worker does with one generation: claim, call, verify, store, record, complete."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from uuid import UUID

from application.admission import Admission, Closed, admission
from application.calls import Answered, CallOutcome, Calls, verdict
from application.fitting import Wanted
from application.holding import EndedMeanwhileError, Holding, NotOursError, OvertakenError
from application.outcomes import Outcomes
from application.pictures import Pictures
from application.ports.event_store import (
    Accepted,
    ClaimWork,
    CloseWork,
    Command,
    EventStore,
    Outcome,
    ReleaseWork,
    StoreUnavailableError,
    UnknownEventError,
    Work,
)
from application.ports.health import Gatekeeper
from application.ports.images import (
    ImageNotFoundError,
    ImageStoreUnavailableError,
    NotAnImageError,
)
from application.preparing import Enclosed, Preparing
from application.recording import load_patiently, record_patiently
from application.routing import NoProviderError, Route, Router
from domain.aggregate import caused_by
from domain.failure import FailureKind
from domain.generation import Ask, Finish, Generation, Step, Wait

log = logging.getLogger(__name__)

UNREADABLE_AGAIN = timedelta(seconds=5)
NEWER_AGAIN = timedelta(seconds=2)
UNEXPECTED_AGAIN = timedelta(seconds=30)
SURE_FOR = 0.25  # of a lease
CLOCK = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC


def since_boot() -> float:
    """Seconds on a clock that runs on while the process is stopped or the machine suspended."""
    return time.clock_gettime(CLOCK)


class Performer:
    """Performs generations for one worker process; `perform` may run many times at once.

    Work that was in hand when the store was asked is taken to be so for SURE_FOR of a `lease`, by
    `clock` (seconds); then the store is asked again before anything is paid.
    """

    def __init__(
        self,
        *,
        store: EventStore,
        router: Router,
        gate: Gatekeeper,
        pictures: Pictures,
        preparing: Preparing,
        call_timeout: timedelta,
        lease: timedelta,
        jitter: Callable[[], float],
        clock: Callable[[], float] = since_boot,
    ) -> None:
        self.store = store
        self.router = router
        self.gate = gate
        self.pictures = pictures
        self.preparing = preparing
        self.calls = Calls(pictures, timeout=call_timeout, now=store.now)
        self.sure_for = SURE_FOR * lease.total_seconds()
        self.jitter = jitter
        self.clock = clock
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
        except NotOursError:
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
            holding = Holding(self.store, generation, worker, is_claimed=is_claimed)
            await Performance(self, holding).run()


class Performance:
    """What one worker does with one generation that it has claimed, or claims as it begins."""

    def __init__(self, performer: Performer, holding: Holding) -> None:
        self._performer = performer
        self._holding = holding
        self._now = performer.store.now
        self._outcomes = Outcomes(performer.router, now=self._now, jitter=performer.jitter)
        self._others: Collection[str] = ()  # providers that could be asked, beside the one that is
        self._unfit: dict[str, str] = {}  # providers that a reference cannot be prepared for, why
        self._seen: dict[str, str] = {}  # the URLs of objects that were seen in the store, by key

    @property
    def _generation(self) -> Generation:
        return self._holding.generation

    async def run(self) -> None:
        """Go on until a final state, or until there is something to wait for.

        What somebody else has ended is tidied up. Raises NotOursError when the work is another's.
        """
        try:
            await self._lose_open_calls("its worker is gone")
            if not self._generation.closed:
                await self._go_on()
                return
        except EndedMeanwhileError:
            await self._lose_open_calls("its generation has ended, and nobody waits for it")
        await self._tidy_up()

    async def _go_on(self) -> None:
        """Take step after step, from the state that there is; somebody else may change it."""
        while True:
            try:
                return await self._take_steps()
            except OvertakenError:
                log.info("decided anew", extra={"generation": str(self._generation.id)})

    async def _take_steps(self) -> None:
        while isinstance(step := self._next_step(), Ask):
            if self._performer.is_leaving:
                await self._holding.release(self._now())
                return
            if not await self._ask(step):
                return
            if self._generation.closed:
                await self._after_the_end()
                return
        if isinstance(step, Wait):
            await self._holding.release(step.until)
        else:
            await self._finish()

    def _next_step(self) -> Step:
        return self._generation.next_step(self._now())

    async def _lose_open_calls(self, reason: str) -> None:
        """Those that a worker before this one left open, and those that were not made after all."""

        def lose() -> Work:
            self._outcomes.lose_open_calls(self._generation, reason)
            return self._holding.held()

        if self._generation.open_calls:
            await self._holding.record_fact(lose)

    # --- calling -----------------------------------------------------------------------------

    async def _ask(self, step: Ask) -> bool:
        """Call for some of these images; False when that has to wait, or can never be."""
        try:
            routes = await self._performer.router.routes(Wanted.of(self._generation))
        except NoProviderError as error:
            log.error("no provider for work that was accepted: %s", error)
            await self._holding.release(self._now() + UNEXPECTED_AGAIN)
            return False
        routes = routes.without(self._unfit)
        if not routes.possible:
            await self._finish(because="invalid_request")
            return False
        admitted = await admission(self._performer.gate, routes, step)
        if isinstance(admitted, Closed):
            await self._wait_or_give_up(admitted)
            return False
        self._others = {route.provider.name for route in routes.possible} - {
            admitted.route.provider.name
        }
        async with admitted:
            return await self._call(admitted)

    async def _call(self, admitted: Admission) -> bool:
        """Make the calls that there is leave for; False when the references are not there now."""
        try:
            enclosed = await self._enclosed(admitted.route)
        except ImageStoreUnavailableError as error:
            log.warning("a reference image cannot be read yet: %s", error)
            await self._holding.release(self._now() + UNREADABLE_AGAIN)
            return False
        except ImageNotFoundError:
            await self._finish(because="reference_gone")
            return False
        except NotAnImageError as error:
            log.error("a reference image cannot be sent: %s", error)
            self._unfit[admitted.route.provider.name] = "cannot be sent a reference image"
            return True
        if self._now() >= self._generation.deadline:  # preparing them took too long
            await self._finish()
            return False
        await self._say_that_calls_start(admitted)
        await self._make_open_calls(admitted, enclosed)
        return True

    async def _enclosed(self, route: Route) -> Enclosed:
        """The references and the mask as the model takes them."""
        generation = self._generation
        stored = await self._performer.pictures.enclosed(generation.references, generation.mask)
        return await self._performer.preparing.for_model(stored, route.model.references)

    async def _wait_or_give_up(self, closed: Closed) -> None:
        """Where nobody can be asked and nothing passes, it ends for what its calls failed of."""
        if closed.because is not None:
            await self._finish(because=self._generation.last_failure or closed.because)
        else:
            again = closed.until or self._now() + UNEXPECTED_AGAIN
            await self._holding.release(min(again, self._generation.deadline))

    async def _say_that_calls_start(self, admitted: Admission) -> None:
        """Record it; when that took long, or its answer was lost, make sure that they are wanted.

        Meanwhile the work may have become another's, or the generation have been cancelled.
        """
        asked_at = self._performer.clock()
        accepted = await self._holding.record(lambda: self._start_calls(admitted))
        is_sure = not accepted.repeated
        while not is_sure or self._performer.clock() - asked_at > self._performer.sure_for:
            asked_at = self._performer.clock()
            await self._holding.confirm()
            is_sure = True

    def _start_calls(self, admitted: Admission) -> Work:
        route = admitted.route
        for images in admitted.chunks:
            self._generation.start_call(
                provider=route.provider.name,
                model=route.model.name,
                images=images,
                passed_over=admitted.passed_over,
                bridges=route.fit.bridges,
            )
        return self._holding.held()

    async def _make_open_calls(self, admitted: Admission, enclosed: Enclosed) -> None:
        """All of them at once; each is recorded as soon as it ends, whatever became of others."""
        make, route = self._performer.calls.make, admitted.route
        calls = {
            asyncio.create_task(make(self._generation, call, route, enclosed)): call
            for call in self._generation.open_calls
        }
        errors: list[Exception] = []
        try:
            pending = set(calls)
            while pending:
                ended, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    try:
                        await self._end_call(admitted, calls[task], task.result())
                    except Exception as error:  # noqa: BLE001  # raised when all are recorded
                        errors.append(error)
        finally:
            for task in calls:
                task.cancel()
        if errors:
            raise next((error for error in errors if not _is_expected(error)), errors[0])

    async def _end_call(self, admitted: Admission, call: int, outcome: CallOutcome) -> None:
        """Whoever the work belongs to by now, the gatekeeper hears of it."""
        try:
            await self._record_outcome(call, outcome)
        finally:
            await admitted.end(verdict(outcome))

    async def _record_outcome(self, call: int, outcome: CallOutcome) -> None:
        """What a call came to; when nothing is left to wait for, the end with it."""
        try:
            await self._holding.record_fact(lambda: self._take_and_finish(call, outcome))
        except (NotOursError, EndedMeanwhileError):
            await self._holding.record_late(
                lambda: self._outcomes.take_late(self._generation, call, outcome)
            )
            raise

    def _take_and_finish(self, call: int, outcome: CallOutcome) -> Work:
        self._outcomes.take(self._generation, call, outcome, others=self._others)
        if isinstance(outcome, Answered):
            self._seen.update(outcome.urls)
        urls = self._urls_seen()
        return self._end(urls) if self._is_over(urls) else self._holding.held()

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

    # --- ending --------------------------------------------------------------------------------

    async def _finish(self, *, because: FailureKind | None = None) -> None:
        """Confirm that each image can be read, then complete; without any image, fail."""
        await self._holding.claim()
        images = list(self._generation.images.values())
        looked = await self._performer.pictures.look_at(images)
        waiting = len(images) - len(looked.urls) - len(looked.refused)
        if waiting and self._now() < self._generation.deadline:
            log.error("stored pictures cannot be read", extra={"images": waiting})
            await self._holding.release(self._now() + UNREADABLE_AGAIN)
            return
        await self._holding.record(lambda: self._end(looked.urls, because=because))
        await self._performer.pictures.forget(images)
        await self._after_the_end()

    def _end(self, urls: Mapping[int, str], *, because: FailureKind | None = None) -> Work:
        """It is over where every picture there is gets published, else there is some to tidy up."""
        self._generation.finish(urls=urls, now=self._now(), because=because)
        if len(self._generation.objects) > len(urls):
            return self._holding.held()
        return self._holding.closed()

    async def _after_the_end(self) -> None:
        log.info(
            "generation %s", self._generation.status, extra={"generation": str(self._generation.id)}
        )
        if self._generation.leftovers:
            await self._tidy_up()

    async def _tidy_up(self) -> None:
        """Leave nothing of an ended generation: pictures that are nobody's, work that is ours."""
        try:
            await self._performer.pictures.erase(self._generation.leftovers)
        except (ImageStoreUnavailableError, StoreUnavailableError) as error:
            log.warning("pictures that are nobody's stay for now: %s", error)
            await self._holding.release(self._now() + UNREADABLE_AGAIN)
        else:
            await self._holding.close()


def _is_expected(error: Exception) -> bool:
    return isinstance(error, NotOursError | EndedMeanwhileError)
