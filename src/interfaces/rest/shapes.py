"""What goes in and out as JSON on /api/v1: camelCase, unknown fields of a request are errors."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from application.queue_places import WaitReason
from domain.failure import FailureKind, OnRefusal
from domain.generation import Generation, OnUnknown, Status
from domain.image import Background, Bridged, ContentType, Fidelity, Format, Moderation
from domain.quota import WindowType
from interfaces.rest.fields import (
    MOST_METADATA,
    MOST_REFERENCES,
    ONE_SHAPE,
    AspectRatio,
    Compression,
    Count,
    EndUser,
    MetadataKey,
    MetadataValue,
    Name,
    Prompt,
    ReceiverUrl,
    Seconds,
    Seed,
    Size,
    keys_are_storable,
)
from interfaces.rest.problem_types import PROBLEM_TYPES

EVENT_TYPES = tuple(
    event.topic
    for event in (
        Generation.Requested,
        Generation.CallStarted,
        Generation.CallAnswered,
        Generation.CallFailed,
        Generation.CallLost,
        Generation.CallAnsweredLate,
        Generation.Completed,
        Generation.Failed,
        Generation.Cancelled,
        Generation.Deleted,
    )
)


class Shape(BaseModel):
    """JSON with camelCase names. What was sent is never repeated in an error."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, frozen=True, hide_input_in_errors=True
    )


class GenerationRequest(Shape):
    """One request for pictures."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        validate_by_name=False,
        json_schema_extra=ONE_SHAPE,
    )

    prompt: Prompt = Field(description="What to paint.")
    negative_prompt: Prompt | None = Field(None, description="What to leave out.")
    provider: Name | None = Field(None, description="Leave it out to have one chosen.")
    model: Name | None = Field(None, description="One of the provider's models.")
    size: Size | None = Field(None, description="WIDTHxHEIGHT in pixels.", examples=["1024x1024"])
    aspect_ratio: AspectRatio | None = Field(
        None, description="W:H, where no size is given.", examples=["16:9"]
    )
    quality: Name | None = Field(None, description="What the model calls it: `high`, `low`.")
    format: Format | None = Field(None, description="Left out, the provider's own.")
    count: Count = Field(1, description="How many pictures, a unit each.")
    seed: Seed | None = Field(None, description="The same seed, the same picture, where offered.")
    background: Background | None = Field(None, description="`transparent` where a model can.")
    compression: Compression | None = Field(
        None, description="How good a JPEG or WebP is, from 0 to 100."
    )
    moderation: Moderation | None = Field(
        None, description="`low` asks the provider to be less strict, where it can be asked."
    )
    fidelity: Fidelity | None = Field(
        None, description="How closely references are kept, where there is a choice."
    )
    reference_images: list[Annotated[str, Field(min_length=1)]] = Field(
        default_factory=list,
        max_length=MOST_REFERENCES,
        description="PNG, JPEG or WebP images as base64 or data URLs, or ids of completed "
        "generations of yours; `{id}/{number}` for another than the first picture.",
        repr=False,
    )
    mask: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="A PNG with an alpha channel, as base64 or data URL, as large as the first "
        "reference image, which is painted anew where the mask is transparent.",
        repr=False,
    )
    metadata: dict[MetadataKey, MetadataValue] = Field(
        default_factory=dict,
        max_length=MOST_METADATA,
        description="Yours to keep with it: 50 keys of 40 characters, values of 500.",
        json_schema_extra=keys_are_storable,
    )
    end_user: EndUser | None = Field(
        None,
        description="Whom of your users it is for, as you call them: better an id than a name. The "
        "operator may give each a quota of its own.",
    )
    webhook_url: ReceiverUrl | None = Field(
        None,
        description="Where to tell you of its end, beside your webhooks: signed with the secret "
        "that `GET /api/v1/me/webhook-secret` shows.",
        examples=["https://shop.example/hooks"],
    )
    on_unknown: OnUnknown = Field(
        "repeat",
        description="Whether a call whose outcome is unknown may be repeated, and so billed twice.",
    )
    on_refusal: OnRefusal = Field(
        "fail",
        description="Whether another provider may be asked for what one of them refuses.",
    )
    deadline_seconds: Seconds | None = Field(
        None,
        description="When it is ended with what there is, counted from the request. The operator "
        "sets the longest, which is also what holds if you leave it out. Where it is shorter than "
        "a call may take, a call that it cuts off counts.",
    )


class ImageShape(Shape):
    url: str
    sha256: str
    content_type: ContentType
    width: int
    height: int
    bytes: int
    provenance: tuple[str, ...] = Field(
        description="Marks of where it comes from: `c2pa`, `synthid`. New ones may come.",
        examples=[["c2pa"]],
    )
    converted_from: ContentType | None = Field(
        description="What the provider made, where it does not offer the format asked for."
    )
    provenance_lost: tuple[str, ...] = Field(description="Marks that the conversion removed.")


class ReferenceImageShape(Shape):
    url: str = Field(description="Where you alone can get it, on this service.")
    sha256: str
    content_type: ContentType
    width: int
    height: int
    generation: UUID | None = Field(description="Of which generation it is a picture, if of one.")
    number: int | None = Field(description="Which of that generation's pictures.")


class CostShape(Shape):
    """What all calls cost together."""

    amount: Decimal = Field(examples=["0.0010"])
    currency: str
    price_list: str


class CallShape(Shape):
    """One paid request to a provider."""

    number: int
    provider: str
    model: str
    images: tuple[int, ...]
    outcome: Literal["open", "answered", "failed", "lost"]
    passed_over: dict[str, str] = Field(
        description="Why providers that come before this one were not asked.",
        examples=[{"openai": "out_of_funds"}],
    )


class BridgeShape(Shape):
    """What the provider does not offer as it was asked for, and what it was given instead."""

    what: Bridged
    asked: str = Field(examples=["1024x768"])
    got: str = Field(examples=["1024x1024"])


class ErrorShape(Shape):
    kind: FailureKind
    message: str


class LinksShape(Shape):
    self: str
    events: str
    job: str


class GenerationShape(Shape):
    """A generation as it is now."""

    id: UUID
    status: Status
    prompt: str
    negative_prompt: str | None
    provider: str | None
    model: str | None
    size: str | None
    aspect_ratio: str | None
    quality: str | None
    format: Format | None
    count: int
    seed: int | None
    background: Background | None
    compression: int | None
    moderation: Moderation | None
    fidelity: Fidelity | None
    bridged: tuple[BridgeShape, ...] = Field(
        description="What the provider does otherwise than was asked for."
    )
    image_url: str | None = Field(description="The first image's permanent URL, once completed.")
    images: tuple[ImageShape, ...]
    missing: int = Field(description="How many of `count` there will never be.")
    reference_images: tuple[ReferenceImageShape, ...]
    mask: ReferenceImageShape | None
    calls: tuple[CallShape, ...] = Field(description="What providers were asked for.")
    cost: CostShape | None
    usage: dict[str, int] = Field(description="As the provider counts it: tokens, images.")
    error: ErrorShape | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None = Field(description="When it reached its final state.")
    deadline_at: datetime = Field(description="When it is ended with what there is.")
    deleted_at: datetime | None = Field(description="Since when its pictures are gone.")
    on_unknown: OnUnknown
    on_refusal: OnRefusal
    retry_of: UUID | None
    metadata: dict[str, str]
    end_user: str | None = Field(description="Whom of your users it is for, if you said so.")
    links: LinksShape


class GenerationList(Shape):
    items: tuple[GenerationShape, ...]
    next_cursor: str | None


class QueueShape(Shape):
    """Where a queued generation stands, and why it waits.

    `place` counts from 1 and is null when it is far away, or with a worker already.
    """

    place: int | None = Field(examples=[3])
    reason: WaitReason
    detail: str = Field(examples=["About 2 others are before it. All 8 places are taken."])


class JobPayloadShape(Shape):
    """What was asked for, without what you wrote."""

    provider: str | None
    model: str | None
    size: str | None
    aspect_ratio: str | None
    quality: str | None
    format: Format | None
    count: int
    seed: int | None
    background: Background | None
    compression: int | None
    moderation: Moderation | None
    fidelity: Fidelity | None
    reference_images: int = Field(description="How many.")


class JobResultShape(Shape):
    """What came of it, once completed."""

    images: tuple[str, ...] = Field(description="The pictures' permanent URLs.")
    missing: int


class JobLinksShape(Shape):
    self: str
    generation: str
    events: str


class JobShape(Shape):
    """How far a generation is; the job's id is the generation's."""

    id: UUID
    type: Literal["generation"]
    status: Status
    payload: JobPayloadShape
    result: JobResultShape | None
    queue: QueueShape | None = Field(description="While it is queued.")
    error_message: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None = Field(description="When it reached its final state.")
    links: JobLinksShape


class EventShape(Shape):
    """One decision; `data` depends on `type`."""

    position: int = Field(description="In the log; `Last-Event-ID` and `after` take it.")
    type: str = Field(
        description="What was decided. New ones may come.",
        examples=["generation.requested"],
        json_schema_extra={"x-extensible-enum": list(EVENT_TYPES)},
    )
    version: int = Field(description="Of the form of `data`.")
    recorded_at: datetime
    actor: str
    correlation_id: str | None
    data: dict[str, Any]


class EventList(Shape):
    items: tuple[EventShape, ...]
    next_cursor: str | None


class QuotaWindowShape(Shape):
    """Without a limit both `limit` and `remaining` are null."""

    type: WindowType = Field(description="Those that begin with `end-user-` are your end user's.")
    limit: int | None
    used: int
    remaining: int | None
    starts_at: datetime
    resets_at: datetime


class QuotaShape(Shape):
    windows: tuple[QuotaWindowShape, ...]


class ErrorDetail(Shape):
    """One mistake: where it is, in the body by JSON pointer, and what is wrong with it."""

    detail: str
    pointer: str | None = Field(None, examples=["#/prompt"])
    parameter: str | None = None


class ProblemShape(Shape):
    """An error as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    code: str = Field(
        description="Decide by this one. New ones may come.",
        json_schema_extra={"x-extensible-enum": [kind.code for kind in PROBLEM_TYPES]},
    )
    request_id: str
    errors: tuple[ErrorDetail, ...] | None = Field(
        None, description="What is wrong with single fields or parameters."
    )
    generation_id: UUID | None = Field(None, description="Of the generation that failed.")
    violated_policies: tuple[WindowType, ...] | None = Field(
        None, alias="violated-policies", description="The windows whose quota is used up."
    )


class ProblemTypeShape(Shape):
    """A kind of error: what happened (`title`), why, and what to do (`remedy`)."""

    type: str
    code: str
    status: int
    title: str
    why: str
    remedy: str


class ProblemTypeList(Shape):
    items: tuple[ProblemTypeShape, ...]


def shortened(text: str, most: int = 60) -> str:
    """Fit for a message: printable, and no longer than that."""
    clean = "".join(c if c.isprintable() else "?" for c in text[:most])
    return clean if len(text) <= most else f"{clean}…"
