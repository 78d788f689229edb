"""Who makes pictures: what each can do, what is asked of him, and what may come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from domain.failure import Failure
from domain.image import Background, ContentType, Cost, Fidelity, Format, Moderation


@dataclass(frozen=True)
class Picture:
    """Bytes of an image as they arrived."""

    data: bytes
    content_type: ContentType


@dataclass(frozen=True)
class Terms:
    """What is wanted, in a model's own terms; None leaves the choice to the provider."""

    prompt: str
    negative_prompt: str | None = None
    size: str | None = None
    quality: str | None = None
    format: Format | None = None
    background: Background | None = None
    compression: int | None = None
    moderation: Moderation | None = None
    fidelity: Fidelity | None = None


@dataclass(frozen=True, kw_only=True)
class CallRequest(Terms):
    """One paid request: `images` are the numbers (from 1) of the pictures wanted.

    All of it lies within what the model offers: sizes are of its own, references are prepared by
    its rules, the mask (a PNG as large as the first reference, alpha 0 is painted anew) comes only
    where it takes one. `correlation_id`, another for each call, goes to the provider where it takes
    one, `end_user` (a hash) where it wants to know whom it serves.
    """

    generation: UUID
    call: int
    images: tuple[int, ...]
    model: str
    seed: int | None = None
    references: tuple[Picture, ...] = ()
    mask: Picture | None = None
    end_user: str | None = None
    correlation_id: str | None = None


@dataclass(frozen=True)
class Answer:
    """What a provider made: at least one picture, at most as many as asked for, in their order.

    `usage` counts what it bills by, in the provider's own names.
    """

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
class FreeSizes:
    """Any size: sides are multiples of `step` from `shortest` to `longest`, in pixels.

    `steepest` is the longest side over the shortest; `usual_pixels` is what an aspect ratio gets.
    """

    step: int
    shortest: int
    longest: int
    max_pixels: int
    steepest: float
    min_pixels: int = 1
    usual_pixels: int = 1024 * 1024


@dataclass(frozen=True)
class ReferenceRules:
    """What reference images a model takes: how many, in which formats, how large.

    Bytes are of each image, and of all together; sides and pixels are of each.
    """

    most: int
    formats: tuple[Format, ...] = ("png", "jpeg", "webp")
    max_bytes: int = 20 * 1024 * 1024
    max_bytes_together: int = 200 * 1024 * 1024
    max_pixels: int = 40_000_000
    longest_side: int = 16_384
    shortest_side: int = 16


@dataclass(frozen=True)
class Model:
    """What one model offers.

    `sizes` (`WIDTHxHEIGHT`) are the only ones it makes, or those of `free_sizes`. `formats` and
    `qualities` have the provider's own names; empty `qualities` offer no choice. `watermarks` are
    invisible marks that it puts into every picture. `moderation` says whether one may choose how
    strict it is with words alone, `moderation_of_edits` where references come along. A model that
    is `shaped_by_reference` gives its pictures the shape of their reference. `prices` are by unit,
    in the currency of the price list: what an image, or a million tokens, costs.
    """

    name: str
    formats: tuple[Format, ...]
    sizes: tuple[str, ...] = ()
    free_sizes: FreeSizes | None = None
    qualities: tuple[str, ...] = ()
    images_per_call: int = 1
    references: ReferenceRules | None = None
    shaped_by_reference: bool = False
    mask: bool = False
    negative_prompt: bool = False
    seed: bool = False
    transparency: bool = False
    compression: bool = False
    moderation: bool = False
    moderation_of_edits: bool = False
    fidelity: bool = False
    prompt_characters: int = 32_000
    watermarks: tuple[str, ...] = ()
    prices: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True)
class Capabilities:
    """What a provider can do, as data: requests are checked and routed by it before anything costs.

    The first model is the one that is taken where none is asked for. `repeat_costs` says whether
    asking again after an unknown outcome may be billed twice.
    """

    models: tuple[Model, ...]
    repeat_costs: bool
    price_list: str
    currency: str = "USD"

    def model(self, name: str | None) -> Model | None:
        """The model of this name, the first for None; None when there is none."""
        if name is None:
            return self.models[0]
        return next((model for model in self.models if model.name == name), None)


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

    async def close(self) -> None:
        """Let go of connections; nothing is called any more."""
        ...
