"""What is asked of a picture, what goes in, and what came out."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, StringConstraints

from domain.aggregate import Value, usually

ContentType = Literal["image/png", "image/jpeg", "image/webp"]
Format = Literal["png", "jpeg", "webp"]
Background = Literal["auto", "opaque", "transparent"]
Moderation = Literal["auto", "low"]
Fidelity = Literal["low", "high"]
Bridged = Literal[
    "size",
    "aspect_ratio",
    "format",
    "quality",
    "negative_prompt",
    "compression",
    "moderation",
    "fidelity",
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]

CONTENT_TYPES: dict[Format, ContentType] = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
}
EXTENSIONS: dict[ContentType, str] = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
}


class ImageSpec(Value):
    """What a request says about its pictures; None leaves the choice to the provider.

    `size` is `WIDTHxHEIGHT` in pixels, `aspect_ratio` `W:H`; `count` pictures are wanted.
    `compression` is a quality from 0 to 100 for JPEG and WebP, `moderation` how strict the provider
    is, `fidelity` how closely references are kept: wishes that are dropped where nobody takes them.
    """

    provider: str | None = None
    model: str | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    quality: str | None = None
    format: Format | None = None
    count: int = Field(default=1, ge=1)
    seed: int | None = None
    background: Background | None = usually(None)
    compression: Annotated[int, Field(ge=0, le=100)] | None = usually(None)
    moderation: Moderation | None = usually(None)
    fidelity: Fidelity | None = usually(None)


class Bridge(Value):
    """What was asked for and the provider does not offer: what it got instead."""

    what: Bridged
    asked: str
    got: str


class ReferenceImage(Value):
    """A picture that a prompt refers to; its bytes lie in the image store under `key`.

    One that was taken from an earlier generation names it, and which of its pictures it was.
    """

    sha256: Sha256
    key: str
    content_type: ContentType
    width: int
    height: int
    bytes: int
    generation: UUID | None = usually(None)
    number: int | None = usually(None)


class StoredImage(Value):
    """One picture of a generation.

    `number` counts from 1, `bytes` is its length, `provenance` names the marks in it: those found,
    and those that the provider puts into every picture. A picture that was converted from another
    format says from which, and which marks it lost by that. `held` says where the bytes are: in the
    image store, or in the spool until it is back.
    """

    number: int = Field(ge=1)
    key: str
    sha256: Sha256
    content_type: ContentType
    width: int
    height: int
    bytes: int
    provenance: tuple[str, ...] = ()
    converted_from: ContentType | None = usually(None)
    provenance_lost: tuple[str, ...] = usually(())
    held: Literal["store", "spool"] = "store"


class PublishedImage(StoredImage):
    """A picture with its permanent URL."""

    url: str


class Cost(Value):
    """What a call cost, by which price list."""

    amount: Decimal
    currency: str = "USD"
    price_list: str


def image_key(generation: UUID, number: int, sha256: str, content_type: ContentType) -> str:
    """The object key of a picture: no two generations share one, so that each can be deleted."""
    return f"images/{generation}/{number}-{sha256}.{EXTENSIONS[content_type]}"


def reference_key(user: UUID, sha256: str, content_type: ContentType) -> str:
    """The object key of a reference image, under its owner, who alone is served it."""
    return f"references/{user}/{sha256}.{EXTENSIONS[content_type]}"
