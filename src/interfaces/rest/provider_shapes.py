"""What goes in and out of the providers' routes."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from application.ports.health import Obstruction, State
from domain.image import Format
from interfaces.rest.fields import Place
from interfaces.rest.shapes import Shape


class ProviderChange(Shape):
    """How a provider is wanted; what is left out stays as it is."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        validate_by_name=False,
        json_schema_extra={"minProperties": 1},
    )

    enabled: bool | SkipJsonSchema[None] = Field(
        None, description="Whether calls to it may begin; those under way go on."
    )
    place: Place | SkipJsonSchema[None] = Field(
        None, description="1 is asked first; further than the last is the last."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        said = [getattr(self, name) for name in self.model_fields_set]
        if not said or None in said:
            raise ValueError("must say enabled, place or both, and leave out what is to stay")
        return self


class CircuitShape(Shape):
    """Closed: calls are made. Open: none are, until then. Half-open: one is, which finds out.

    Unknown: what other processes learned cannot be told now; calls are made.
    """

    state: State
    why: Obstruction | None = Field(description="Of a circuit that is not closed.")
    until: datetime | None = Field(description="Of an open one: then a call finds out.")


class ProviderHealthShape(CircuitShape):
    calls_under_way: int


class FreeSizesShape(Shape):
    """Any size whose sides are multiples of `step`, within these bounds, in pixels."""

    step: int
    shortest: int
    longest: int
    min_pixels: int
    max_pixels: int
    steepest: float = Field(description="The longer side over the shorter one, at most.")
    usual_pixels: int = Field(description="What an aspect ratio without a size gets, about.")


class ReferenceRulesShape(Shape):
    """What it takes of reference images; larger ones and other formats are converted for it."""

    most: int
    formats: tuple[Format, ...]
    max_bytes: int
    max_bytes_together: int
    max_pixels: int
    longest_side: int
    shortest_side: int


class ModelShape(Shape):
    """What a model can do."""

    name: str
    sizes: tuple[str, ...] = Field(description="The only ones it makes; others by `freeSizes`.")
    free_sizes: FreeSizesShape | None
    formats: tuple[Format, ...] = Field(description="Others are converted to, after the call.")
    qualities: tuple[str, ...]
    images_per_call: int = Field(description="More pictures are made by several calls.")
    references: ReferenceRulesShape | None = Field(description="null: it takes none.")
    mask: bool
    negative_prompt: bool = Field(description="If not, it is said in the prompt.")
    seed: bool
    transparency: bool
    compression: bool
    moderation: bool = Field(description="Of pictures from words alone.")
    moderation_of_edits: bool = Field(description="Where references come along.")
    fidelity: bool
    prompt_characters: int
    watermarks: tuple[str, ...] = Field(description="Invisible marks in every picture.")
    prices: dict[str, Decimal] = Field(description="By unit, in the provider's currency.")
    health: CircuitShape = Field(description="Of this model alone.")


class ProviderShape(Shape):
    """Who makes pictures."""

    name: str
    enabled: bool
    place: int = Field(description="In the order of preference, from 1.")
    health: ProviderHealthShape
    repeat_costs: bool = Field(description="Whether a repeat after an unknown outcome may.")
    price_list: str
    currency: str
    models: tuple[ModelShape, ...] = Field(description="The first is taken where none is named.")


class ProviderList(Shape):
    """In the order in which they are asked."""

    items: tuple[ProviderShape, ...]
