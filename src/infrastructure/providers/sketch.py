"""The built-in provider: a deterministic sketch painted on this machine, with faults on demand."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from application.ports.providers import (
    Answer,
    CallFailedError,
    CallRequest,
    Capabilities,
    FreeSizes,
    Model,
    OutcomeUnknownError,
    Picture,
    ReferenceRules,
)
from domain.failure import Failure, FailureKind
from domain.image import CONTENT_TYPES, Cost
from infrastructure.providers.sketches.painting import Commission, paint
from infrastructure.providers.sketches.references import UnreadableReferenceError
from infrastructure.settings_values import SketchFaults

PRICE_LIST = "sketch-2026-11"
PRICE_PER_IMAGE = Decimal("0.0010")  # USD
SHORTEST_SIDE, LONGEST_SIDE = 16, 4096
SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
USUAL_SIZE = "1024x1024"
STEEPEST = 16  # a megapixel at 16:1 is 4096 pixels wide
QUALITIES = ("low", "medium", "high")
MAX_REFERENCES = 16
HANG_SECONDS = 3600.0
PAINTERS = min(2, os.cpu_count() or 1)  # painting small pictures holds the GIL: more only wait


NO_FAULTS = SketchFaults()


def capabilities(*, images_per_call: int = 1) -> Capabilities:
    """What the sketch provider can do."""
    model = Model(
        name="sketch-1",
        formats=("png", "jpeg", "webp"),
        free_sizes=FreeSizes(
            step=1,
            shortest=SHORTEST_SIDE,
            longest=LONGEST_SIDE,
            max_pixels=LONGEST_SIDE * LONGEST_SIDE,
            steepest=STEEPEST,
        ),
        qualities=QUALITIES,
        images_per_call=images_per_call,
        references=ReferenceRules(most=MAX_REFERENCES),
        negative_prompt=True,
        seed=True,
        prices={"image": PRICE_PER_IMAGE},
    )
    return Capabilities(models=(model,), repeat_costs=False, price_list=PRICE_LIST)


class SketchProvider:
    """Paints instead of asking anybody; the same request gives the same bytes.

    A call takes at least `seconds`. `faults` are drawn from `chance`, never from the seed. Into
    `ledger` each call writes one line of JSON before it begins and one when it has ended: the
    provider's own bill, to be compared with what was recorded.
    """

    name = "sketch"

    def __init__(
        self,
        *,
        seconds: float = 0.0,
        faults: SketchFaults = NO_FAULTS,
        images_per_call: int = 1,
        ledger: Path | None = None,
        chance: random.Random | None = None,
    ) -> None:
        self._seconds, self._faults, self._ledger = seconds, faults, ledger
        self._chance = chance or random.SystemRandom()
        self._painters = ThreadPoolExecutor(PAINTERS, thread_name_prefix="sketch")
        self.capabilities = capabilities(images_per_call=images_per_call)

    async def close(self) -> None:
        """Paint nothing any more."""
        self._painters.shutdown(wait=False, cancel_futures=True)

    async def call(self, request: CallRequest) -> Answer:
        """Make one paid request. Raises CallFailedError or OutcomeUnknownError, nothing else."""
        self._enter(request, "called")
        try:
            answer = await self._answer(request)
        except CallFailedError as error:
            self._enter(request, "failed", kind=error.failure.kind)
            raise
        self._enter(request, "answered", cost=str(answer.cost.amount))
        return answer

    async def _answer(self, request: CallRequest) -> Answer:
        commissions = [self._commission(request, number) for number in request.images]
        await asyncio.sleep(self._seconds)
        await self._have_a_fault()
        pictures = [await self._paint(commission) for commission in commissions]
        return Answer(
            pictures=tuple(pictures),
            cost=Cost(amount=PRICE_PER_IMAGE * len(pictures), price_list=PRICE_LIST),
            provider_request_id=f"sketch-{request.generation}-{request.call}",
            usage={"images": len(pictures)},
        )

    async def _paint(self, commission: Commission) -> Picture:
        loop = asyncio.get_running_loop()
        try:
            data = await loop.run_in_executor(self._painters, paint, commission)
        except UnreadableReferenceError as error:
            raise _failed("invalid_request", str(error)) from error
        return Picture(data, CONTENT_TYPES[commission.format])

    def _commission(self, request: CallRequest, number: int) -> Commission:
        self._refuse_what_is_not_offered(request)
        width, height = _size(request.size)
        return Commission(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt or "",
            seed=str(request.generation if request.seed is None else request.seed),
            number=number,
            width=width,
            height=height,
            format=request.format or "png",
            quality=request.quality or "high",
            references=tuple(reference.data for reference in request.references),
        )

    def _refuse_what_is_not_offered(self, request: CallRequest) -> None:
        model = self.capabilities.model(request.model)
        if model is None:
            raise _failed("misconfigured", "The sketch provider has one model, sketch-1.")
        if not 1 <= len(request.images) <= model.images_per_call:
            most = model.images_per_call
            raise _failed("invalid_request", f"A sketch call makes from 1 to {most} images.")
        if request.quality not in (None, *QUALITIES):
            raise _failed("invalid_request", f"A sketch's quality is one of {QUALITIES}.")
        if request.format not in (None, *model.formats):
            raise _failed("invalid_request", "A sketch is painted as png, jpeg or webp.")
        if len(request.references) > MAX_REFERENCES:
            raise _failed(
                "invalid_request", f"A sketch takes at most {MAX_REFERENCES} reference images."
            )

    async def _have_a_fault(self) -> None:
        drawn = self._chance.random()
        if drawn < self._faults.refuse:
            raise self._refusal()
        if drawn < self._faults.refuse + self._faults.fail:
            raise self._failure()
        if drawn < self._faults.refuse + self._faults.fail + self._faults.hang:
            await asyncio.sleep(HANG_SECONDS)
            raise OutcomeUnknownError("The sketch provider hung for an hour, as it was told to.")

    def _refusal(self) -> CallFailedError:
        kinds: tuple[FailureKind, ...] = ("moderation_input", "moderation_output")
        return _failed(self._chance.choice(kinds), "The sketch provider refuses, as it was told.")

    def _failure(self) -> CallFailedError:
        message = "The sketch provider fails, as it was told."
        failures = (
            Failure(kind="unavailable", message=message),
            Failure(kind="unavailable", message=message, retry_after=timedelta(seconds=1)),
            Failure(kind="rate_limited", message=message, retry_after=timedelta(seconds=1)),
        )
        return CallFailedError(self._chance.choice(failures))

    def _enter(self, request: CallRequest, event: str, **facts: str) -> None:
        if self._ledger is None:
            return
        line = {
            "event": event,
            "generation": str(request.generation),
            "call": request.call,
            "images": request.images,
            "process": os.getpid(),
            "at": datetime.now(UTC).isoformat(),
            **facts,
        }
        try:
            _append(self._ledger, json.dumps(line) + "\n")
        except OSError:
            message = "The sketch provider's ledger cannot be written: nothing was billed."
            raise _failed("unavailable", message) from None


def _failed(kind: FailureKind, message: str) -> CallFailedError:
    return CallFailedError(Failure(kind=kind, message=message))


def _size(size: str | None) -> tuple[int, int]:
    """Width and height in pixels."""
    if not (match := SIZE.fullmatch(size or USUAL_SIZE)):
        raise _failed("invalid_request", "A sketch's size is WIDTHxHEIGHT, like 1024x768.")
    width, height = int(match[1]), int(match[2])
    if not SHORTEST_SIDE <= min(width, height) <= max(width, height) <= LONGEST_SIDE:
        raise _failed(
            "invalid_request",
            f"Each side of a sketch has from {SHORTEST_SIDE} to {LONGEST_SIDE} pixels.",
        )
    return width, height


def _append(ledger: Path, line: str) -> None:
    """One write, so that lines of many processes never mix; it is gone only if the machine is."""
    descriptor = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)
