"""Stand-ins for providers and image stores, which pass the contract tests of the real ones."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, Literal

from PIL import Image

from application.ports.images import (
    ImageKeyRefusedError,
    ImageNotFoundError,
    ImageStoreUnavailableError,
    Mark,
    ObjectDiffersError,
    SeenObject,
    SeenObjects,
)
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
from domain.failure import Failure
from domain.image import ContentType, Cost
from infrastructure.image_stores.keys import checked, is_public
from tests.fakes import FakeClock

FAKE_MODEL = Model(
    name="fake-1",
    formats=("png",),
    free_sizes=FreeSizes(step=1, shortest=16, longest=4000, max_pixels=4_000_000, steepest=4),
    qualities=("fine",),
    references=ReferenceRules(most=4),
    negative_prompt=True,
    seed=True,
    prices={"image": Decimal("0.04")},
)
FAKE_CAPABILITIES = Capabilities(models=(FAKE_MODEL,), repeat_costs=True, price_list="fake-2026-11")


def offering(**offered: Any) -> Capabilities:
    """What a fake can do whose model differs in this."""
    return replace(FAKE_CAPABILITIES, models=(replace(FAKE_MODEL, **offered),))


HANG: Literal["hang"] = "hang"

Ask = Callable[[CallRequest], Awaitable[Answer]]
Told = Answer | CallFailedError | OutcomeUnknownError | Ask | Literal["hang"]


def small_png(text: str) -> bytes:
    """A whole PNG of 16 by 16 pixels in a colour of its own for each text."""
    colour = sha256(text.encode()).digest()
    out = io.BytesIO()
    Image.new("RGB", (16, 16), (colour[0], colour[1], colour[2])).save(out, "PNG")
    return out.getvalue()


def answer_to(request: CallRequest, cost: str = "0.04") -> Answer:
    """An answer with a picture for every one that was asked for."""
    return Answer(
        pictures=tuple(
            Picture(small_png(f"{request.generation} {number}"), "image/png")
            for number in request.images
        ),
        cost=Cost(
            amount=Decimal(cost) * len(request.images), price_list=FAKE_CAPABILITIES.price_list
        ),
        provider_request_id=f"fake-{request.generation}-{request.call}",
        usage={"images": len(request.images)},
    )


class FakeProvider:
    """Gives the answers it was told, in order, and after them a picture for every image asked for.

    It keeps what it was `asked`; told to HANG it never answers, told a function it asks that.
    """

    def __init__(
        self,
        told: Iterable[Told] = (),
        *,
        name: str = "fake",
        capabilities: Capabilities = FAKE_CAPABILITIES,
    ) -> None:
        self.name, self.capabilities = name, capabilities
        self.told = list(told)
        self.asked: list[CallRequest] = []

    async def close(self) -> None:
        """Nothing is open."""

    async def call(self, request: CallRequest) -> Answer:
        self.asked.append(request)
        if len(request.images) > self.capabilities.models[0].images_per_call:
            raise CallFailedError(Failure(kind="invalid_request", message="Too many images."))
        answer = self.told.pop(0) if self.told else answer_to(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Answer):
            return answer
        return await (_never() if isinstance(answer, str) else answer(request))


async def _never() -> Answer:
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    return await answer


class FakeImageStore:
    """Objects in memory, which it gives no access to while it is told to be `unavailable`.

    `before_put` and `before_look` are awaited first: to break, or to take for ever.
    """

    def __init__(self, public_url: str = "https://images.example") -> None:
        self.objects: dict[str, bytes] = {}
        self.unavailable = False
        self.before_put: Callable[[], Awaitable[None]] | None = None
        self.before_look: Callable[[], Awaitable[None]] | None = None
        self.clock = FakeClock()
        self._marks: list[Mark] = []
        self._put_on: dict[str, datetime] = {}
        self._public_url = public_url

    async def put(self, key: str, data: bytes, content_type: ContentType) -> None:
        self._check(key)
        if self.before_put is not None:
            await self.before_put()
        if self.objects.setdefault(key, data) != data:
            raise ObjectDiffersError
        self._put_on[key] = self.clock()

    async def get(self, key: str) -> bytes:
        self._check(key)
        if key not in self.objects:
            raise ImageNotFoundError(f"No object lies under {key}.")
        return self.objects[key]

    async def holds(self, key: str, *, sha256: str) -> bool:
        self._check(key)
        if self.before_look is not None:
            await self.before_look()
        return key in self.objects and _hash(self.objects[key]) == sha256

    async def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._check(key)
        for key in keys:
            self.objects.pop(key, None)

    async def walk(self, *, at_once: int) -> AsyncGenerator[SeenObjects]:
        keys = list(self.objects)
        for first in range(0, len(keys), at_once):
            there = [key for key in keys[first : first + at_once] if key in self.objects]
            for key in there:
                self._check(key)
            yield SeenObjects([SeenObject(key, self._age(key)) for key in there])

    async def forget(self, key: str, *, older_than: timedelta) -> bool:
        self._check(key)
        is_old = key in self.objects and self._age(key) > older_than
        if is_old:
            del self.objects[key]
        return is_old

    async def marks(self) -> Sequence[Mark]:
        self._refuse_if_unavailable()
        return list(self._marks)

    async def mark(self, mark: Mark, *, instead_of: Sequence[Mark] = ()) -> None:
        self._refuse_if_unavailable()
        self._marks = [mark, *(m for m in self._marks if m != mark and m not in instead_of)]

    def _age(self, key: str) -> timedelta:
        return self.clock() - self._put_on.get(key, self.clock())

    def url(self, key: str) -> str:
        if not is_public(key):
            raise ImageKeyRefusedError
        return f"{self._public_url}/{key}"

    async def close(self) -> None:
        pass

    def _check(self, key: str) -> None:
        checked(key)
        self._refuse_if_unavailable()

    def _refuse_if_unavailable(self) -> None:
        if self.unavailable:
            raise ImageStoreUnavailableError("The image store was told to be unavailable.")


def _hash(data: bytes) -> str:
    return sha256(data).hexdigest()
