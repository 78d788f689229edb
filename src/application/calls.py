"""One paid call to a provider: made in time, its pictures verified and kept safe."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta

from application.pictures import Pictures
from application.ports.health import Verdict
from application.ports.providers import (
    Answer,
    CallFailedError,
    CallRequest,
    Model,
    OutcomeUnknownError,
    Terms,
)
from application.preparing import Enclosed
from application.routing import Route
from domain.failure import Failure
from domain.generation import CUT_OFF, Generation
from domain.image import Cost, ImageSpec, StoredImage

log = logging.getLogger(__name__)

SEEDS = 2**32


@dataclass(frozen=True)
class Answered:
    """A call's images are safe; `urls`, by key, are of those seen in the store."""

    answer: Answer
    images: tuple[StoredImage, ...]
    urls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refused:
    """A call failed; `cost` is what it cost all the same."""

    failure: Failure
    provider_request_id: str | None = None
    cost: Cost | None = None


@dataclass(frozen=True)
class Lost:
    """Nobody knows what became of a call; one that was `cut_short` had less time than it may."""

    reason: str
    cut_short: bool = False


CallOutcome = Answered | Refused | Lost


def verdict(outcome: CallOutcome) -> Verdict:
    """What a call's outcome says about its provider; one that was cut short says nothing."""
    match outcome:
        case Answered():
            return "answered"
        case Refused(failure):
            return failure
        case Lost(cut_short=cut_short):
            return "given_up" if cut_short else "lost"


class Calls:
    """Makes the calls that a generation says it has started; `timeout` is for each of them."""

    def __init__(
        self, pictures: Pictures, *, timeout: timedelta, now: Callable[[], datetime]
    ) -> None:
        self._pictures = pictures
        self.timeout = timeout
        self._now = now

    async def make(
        self, generation: Generation, call: int, route: Route, enclosed: Enclosed
    ) -> CallOutcome:
        """Ask the provider, and keep what it answers. What can be expected is an outcome."""
        request = _request(generation, call, route, enclosed)
        left = min(generation.deadline - self._now(), self.timeout)
        seconds = max(left.total_seconds(), 0.0)
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
            is_hasty = timedelta(seconds=generation.deadline_seconds) < self.timeout
            reason = CUT_OFF if is_hasty else f"no answer within {seconds:.0f} s"
            return Lost(reason, cut_short=left < self.timeout)
        log.info("the call was answered", extra=facts)
        return await self._keep(request, answer, generation.spec, route.model)

    async def _keep(
        self, request: CallRequest, answer: Answer, spec: ImageSpec, model: Model
    ) -> CallOutcome:
        """The answer is paid for: whatever happens to its pictures, its cost is recorded."""
        try:
            kept = await self._pictures.keep(
                request,
                answer,
                wanted=spec.format,
                compression=spec.compression,
                watermarks=model.watermarks,
            )
        except Exception:
            log.exception("an answer is lost", extra={"generation": str(request.generation)})
            kept = Failure(kind="image_store_unavailable", message="keeping the pictures failed")
        if isinstance(kept, Failure):
            return Refused(kept, answer.provider_request_id, answer.cost)
        return Answered(answer, kept.images, kept.urls)


def _request(generation: Generation, call: int, route: Route, enclosed: Enclosed) -> CallRequest:
    asked, fit = generation.calls[call], route.fit
    return CallRequest(
        generation=generation.id,
        call=call,
        images=asked.images,
        model=asked.model,
        **{term.name: getattr(fit, term.name) for term in fields(Terms)},
        seed=_seed(generation.spec.seed, asked.images[0]),
        references=enclosed.references,
        mask=enclosed.mask,
        end_user=generation.end_user_id.hex if generation.end_user_id else None,
        correlation_id=f"{generation.id}-{call}",
    )


def _seed(asked: int | None, first_image: int) -> int | None:
    """Each picture of a request has another, and the same one whenever it is asked for."""
    return None if asked is None else (asked + first_image - 1) % SEEDS
