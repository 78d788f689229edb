"""What a worker does with one generation: claim, call, verify, store, record, complete."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import cast
from uuid import UUID

from application.pictures import Pictures
from application.ports import (
    Accepted,
    Answer,
    CallFailedError,
    CallRequest,
    ClaimWork,
    CloseWork,
    Command,
    Conflict,
    EventStore,
    Fenced,
    HoldWork,
    ImageStore,
    ImageStoreUnavailableError,
    Outcome,
    OutcomeUnknownError,
    Picture,
    ReleaseWork,
    StoreUnavailableError,
    Units,
    Work,
)
from application.routing import Route, Router
from domain.aggregate import Event, caused_by
from domain.failure import Failure
from domain.generation import Ask, Finish, Generation, Step, Wait
from domain.image import Cost, StoredImage

log = logging.getLogger(__name__)

PAUSES = (0.1, 0.5, 2.0, 5.0, 10.0)  # seconds between tries to read a reference or to record
UNREADABLE_AGAIN = timedelta(seconds=5)
UNEXPECTED_AGAIN = timedelta(seconds=30)


@dataclass(frozen=True)
class Answered:
    """A call's images lie in the store."""

    answer: Answer
    images: tuple[StoredImage, ...]


@dataclass(frozen=True)
class Refused:
    """A call failed; `cost` is what it cost all the same."""

    failure: Failure
    provider_request_id: str | None = None
    cost: Cost | None = None


@dataclass(frozen=True)
class Lost:
    """Nobody knows what became of a call."""

    reason: str


CallOutcome = Answered | Refused | Lost


class FencedError(Exception):
    """The work is no longer this worker's."""


class Performer:
    """Performs generations for one worker process; `perform` may run many times at once."""

    def __init__(
        self,
        *,
        store: EventStore,
        router: Router,
        images: ImageStore,
        pictures: Pictures,
        call_timeout: timedelta,
        jitter: Callable[[], float],
    ) -> None:
        self.store = store
        self.router = router
        self.images = images
        self.pictures = pictures
        self.call_timeout = call_timeout
        self.jitter = jitter

    async def perform(self, ref: UUID, worker: UUID) -> None:
        """Do what the generation needs next, unless it is somebody else's or not due."""
        generation = await self.store.get(Generation, ref)
        if generation is None or generation.closed:
            await self.store.append(Command(work=CloseWork("generate", ref)))
            return
        with caused_by(
            actor=f"worker:{worker}",
            correlation_id=generation.correlation_id,
            causation_id=str(generation.requested_by_event),
        ):
            performance = Performance(self, generation, worker)
            try:
                await performance.run()
            except FencedError:
                log.info("the work is somebody else's", extra={"generation": str(ref)})
            except Exception:
                await performance.put_back()
                raise


class Performance:
    """One claim on one generation."""

    def __init__(self, performer: Performer, generation: Generation, worker: UUID) -> None:
        self._all = performer
        self._store = performer.store
        self._generation = generation
        self._worker = worker

    async def run(self) -> None:
        """From the claim to a final state, or until there is something to wait for."""
        step = await self._claim()
        while isinstance(step, Ask):
            await self._make_open_calls()
            step = self._next_step()
            if isinstance(step, Ask):
                await self._record(partial(self._start_calls, step.images), self._hold())
        if isinstance(step, Wait):
            await self._release(step)
        else:
            await self._finish()

    async def put_back(self) -> None:
        """Something unexpected happened: let it be tried again, later."""
        due_at = self._store.now() + UNEXPECTED_AGAIN
        release = ReleaseWork("generate", self._generation.id, self._worker, due_at)
        await self._append(Command(work=release))

    # --- claiming ----------------------------------------------------------------------------

    async def _claim(self) -> Step:
        claim = ClaimWork("generate", self._generation.id, self._worker)
        step: Step = Finish()

        def take_over() -> None:
            nonlocal step
            for call in self._generation.open_calls:
                self._lose(call, "its worker is gone")
            step = self._next_step()
            if isinstance(step, Ask):
                self._start_calls(step.images)

        await self._record(take_over, claim)
        return step

    def _next_step(self) -> Step:
        return self._generation.next_step(self._store.now())

    def _start_calls(self, images: tuple[int, ...]) -> None:
        route = self._route()
        most = route.provider.capabilities.images_per_call
        for first in range(0, len(images), most):
            self._generation.start_call(
                provider=route.provider.name,
                model=route.model,
                images=images[first : first + most],
            )

    def _route(self) -> Route:
        generation = self._generation
        return self._all.router.route(
            generation.spec,
            references=len(generation.references),
            negative_prompt=generation.wish.negative_prompt is not None,
        )

    # --- calling -----------------------------------------------------------------------------

    async def _make_open_calls(self) -> None:
        """All of them at once; each is recorded as soon as it ends."""
        route = self._route()
        references = await self._references()
        calls = {
            asyncio.create_task(self._make_call(route, call, references)): call
            for call in self._generation.open_calls
        }
        try:
            pending = set(calls)
            while pending:
                ended, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    await self._record_outcome(calls[task], task.result())
        finally:
            for task in calls:
                task.cancel()

    async def _references(self) -> tuple[Picture, ...]:
        return tuple(
            [
                Picture(await self._patiently_read(reference.key), reference.content_type)
                for reference in self._generation.references
            ]
        )

    async def _patiently_read(self, key: str) -> bytes:
        for pause in PAUSES:
            try:
                return await self._all.images.get(key)
            except ImageStoreUnavailableError as error:
                log.warning("a reference image cannot be read yet: %s", error)
                await asyncio.sleep(pause)
        return await self._all.images.get(key)

    async def _make_call(
        self, route: Route, call: int, references: tuple[Picture, ...]
    ) -> CallOutcome:
        request = self._call_request(call, references)
        left = self._generation.deadline - self._store.now()
        seconds = max(min(left, self._all.call_timeout).total_seconds(), 0.0)
        facts = {"generation": str(request.generation), "call": call}
        log.info("calling %s", route.provider.name, extra=facts)
        try:
            async with asyncio.timeout(seconds):
                answer = await route.provider.call(request)
        except CallFailedError as error:
            log.info("the call failed: %s", error.failure.kind, extra=facts)
            return Refused(error.failure, error.provider_request_id, error.cost)
        except OutcomeUnknownError as error:
            return Lost(str(error))
        except TimeoutError:
            return Lost(f"no answer within {seconds:.0f} s")
        log.info("the call was answered", extra=facts)
        kept = await self._all.pictures.keep(request, answer)
        if isinstance(kept, Failure):
            return Refused(kept, answer.provider_request_id, answer.cost)
        return Answered(answer, kept)

    def _call_request(self, call: int, references: tuple[Picture, ...]) -> CallRequest:
        generation, asked = self._generation, self._generation.calls[call]
        return CallRequest(
            generation=generation.id,
            call=call,
            images=asked.images,
            prompt=generation.wish.prompt,
            negative_prompt=generation.wish.negative_prompt,
            model=asked.model,
            size=generation.spec.size,
            aspect_ratio=generation.spec.aspect_ratio,
            quality=generation.spec.quality,
            format=generation.spec.format,
            seed=generation.spec.seed,
            references=references,
            correlation_id=generation.correlation_id,
        )

    # --- recording -----------------------------------------------------------------------------

    async def _record_outcome(self, call: int, outcome: CallOutcome) -> None:
        try:
            await self._record(lambda: self._take(call, outcome), self._hold())
        except FencedError:
            if isinstance(outcome, Answered):
                await self._record(lambda: self._take_late(call, outcome), None)
            raise

    def _take(self, call: int, outcome: CallOutcome) -> None:
        match outcome:
            case Answered():
                self._answer(call, outcome, late=False)
            case Refused(failure, provider_request_id, cost):
                self._generation.fail_call(
                    call,
                    failure,
                    now=self._store.now(),
                    jitter=self._all.jitter(),
                    provider_request_id=provider_request_id,
                    cost=cost,
                )
            case Lost(reason):
                self._lose(call, reason)

    def _take_late(self, call: int, outcome: Answered) -> None:
        self._answer(call, outcome, late=True)

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
        provider = self._all.router.provider(self._generation.calls[call].provider)
        costs = provider is None or provider.capabilities.repeat_costs
        self._generation.lose_call(call, reason=reason, repeat_costs=costs)

    async def _release(self, step: Wait) -> None:
        release = ReleaseWork("generate", self._generation.id, self._worker, step.until)
        await self._append(Command(work=release))

    async def _finish(self) -> None:
        """Confirm that each image can be read, then complete; without any image, fail."""
        urls = await self._all.pictures.readable(self._generation.images.values())
        missing = len(self._generation.images) - len(urls)
        if missing and self._store.now() < self._generation.deadline:
            log.error("stored pictures cannot be read", extra={"pictures": missing})
            await self._release(Wait(self._store.now() + UNREADABLE_AGAIN))
            return
        close = CloseWork("generate", self._generation.id, self._worker)
        await self._record(lambda: self._generation.finish(urls=urls, now=self._store.now()), close)
        log.info(
            "generation %s", self._generation.status, extra={"generation": str(self._generation.id)}
        )

    def _hold(self) -> HoldWork:
        return HoldWork("generate", self._generation.id, self._worker)

    async def _record(self, decide: Callable[[], None], work: Work | None) -> None:
        """Decide and append; after a conflict, decide again on what happened meanwhile.

        Raises FencedError when the work is not ours, with the generation as it is now.
        """
        while True:
            decide()
            returned = self._generation.units_to_return
            events = cast(Sequence[Event], self._generation.collect_events())
            outcome = await self._append(Command(events, self._give_back(returned), work=work))
            if isinstance(outcome, Accepted):
                return
            await self._reload()
            if isinstance(outcome, Fenced) or (self._generation.closed and work is not None):
                raise FencedError
            if not isinstance(outcome, Conflict):
                raise TypeError(f"Recording what a worker did cannot end as {outcome}.")

    def _give_back(self, units: int) -> Units | None:
        if units == 0:
            return None
        return Units(self._generation.user_id, -units, self._generation.windows)

    async def _append(self, command: Command) -> Outcome:
        """Never give up what happened at the provider while this process lives."""
        attempt = 0
        while True:
            try:
                return await self._store.append(command)
            except StoreUnavailableError as error:
                log.warning("cannot record yet: %s", error)
                await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
                attempt += 1

    async def _reload(self) -> None:
        generation = await self._store.get(Generation, self._generation.id)
        if generation is None:
            raise LookupError(f"Generation {self._generation.id} has left the log.")
        self._generation = generation
