"""Who makes pictures: what is asked of him, and what may come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from domain.failure import Failure
from domain.image import ContentType, Cost, Format


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
