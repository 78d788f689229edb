"""A generation as OpenAI answers a request for pictures, whole or as a stream's last events."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from application.pictures import Pictures
from domain.generation import Call, Generation
from domain.image import CONTENT_TYPES, ContentType, Format, PublishedImage
from interfaces.openai.shapes import ImageRequest, InputTokens, OutputTokens, Usage

Operation = Literal["image_generation", "image_edit"]

FORMATS: Mapping[ContentType, Format] = {kind: name for name, kind in CONTENT_TYPES.items()}
LARGE = 256 * 1024  # bytes: writing more than this as base64 would hold up the event loop
NOTHING_USED = Usage(
    total_tokens=0,
    input_tokens=0,
    output_tokens=0,
    input_tokens_details=InputTokens(text_tokens=0, image_tokens=0),
    output_tokens_details=OutputTokens(text_tokens=0, image_tokens=0),
)


@dataclass(frozen=True)
class Form:
    """In which form the answer is wanted: all of a request that is kept while it is waited for."""

    operation: Operation
    url: bool
    stream: bool
    quality: str | None
    background: str | None
    end_user: str | None

    @classmethod
    def wanted(cls, operation: Operation, asked: ImageRequest) -> Form:
        """As the request says it; pictures come as base64 unless it wants URLs."""
        return cls(
            operation=operation,
            url=asked.response_format == "url",
            stream=bool(asked.stream),
            quality=asked.quality,
            background=asked.background,
            end_user=asked.end_user,
        )


async def images_response(generation: Generation, form: Form, pictures: Pictures) -> dict[str, Any]:
    """OpenAI's ImagesResponse. Raises ImageNotFoundError, ImageStoreUnavailableError."""
    first = generation.published[0]
    known = {"quality": form.quality, "background": _background(form, first)}
    return {
        "created": _ended(generation),
        "data": [
            {"url": image.url} if form.url else {"b64_json": await base64_of(pictures, image)}
            for image in generation.published
        ],
        **{name: told for name, told in known.items() if told not in (None, "auto")},
        "output_format": FORMATS[first.content_type],
        "size": _size(first),
        "usage": usage_of(generation.calls.values()).model_dump(),
        **_safety_identifier(form),
    }


async def completed_event(
    generation: Generation, image: PublishedImage, form: Form, pictures: Pictures
) -> dict[str, Any]:
    """The event of one picture; what all of them used stands in the last one."""
    is_last = image is generation.published[-1]
    used = usage_of(generation.calls.values()) if is_last else NOTHING_USED
    return {
        "type": f"{form.operation}.completed",
        "b64_json": await base64_of(pictures, image),
        **({"url": image.url} if form.url else {}),
        "created_at": _ended(generation),
        "size": _size(image),
        "quality": form.quality or "auto",
        "background": _background(form, image) or "auto",
        "output_format": FORMATS[image.content_type],
        "usage": used.model_dump(),
        **_safety_identifier(form),
    }


async def base64_of(pictures: Pictures, image: PublishedImage) -> str:
    """Raises ImageNotFoundError, ImageStoreUnavailableError."""
    data = await pictures.read(image.key)
    if len(data) > LARGE:
        return (await asyncio.to_thread(b64encode, data)).decode()
    return b64encode(data).decode()


def usage_of(calls: Iterable[Call]) -> Usage:
    """Tokens of all calls, by whatever name their provider counts them."""
    used = [_with_text_apart(call.usage) for call in calls]

    def sum_of(*names: str) -> int:
        return sum(one.get(name, 0) for one in used for name in names)

    text_in = sum_of("text_input_tokens", "promptTokenCount")
    image_in = sum_of("image_input_tokens")
    image_out = sum_of("image_output_tokens", "candidatesTokensDetails.IMAGE")
    text_out = sum_of("text_output_tokens", "candidatesTokenCount", "thoughtsTokenCount")
    return Usage(
        total_tokens=text_in + image_in + text_out + image_out,
        input_tokens=text_in + image_in,
        output_tokens=text_out + image_out,
        input_tokens_details=InputTokens(text_tokens=text_in, image_tokens=image_in),
        output_tokens_details=OutputTokens(text_tokens=text_out, image_tokens=image_out),
    )


def _with_text_apart(usage: Mapping[str, int]) -> Mapping[str, int]:
    """Gemini's count of what it made holds the pictures' tokens, where it tells it at all."""
    candidates = usage.get("candidatesTokenCount", 0)
    pictures = usage.get("candidatesTokensDetails.IMAGE", 0)
    return {**usage, "candidatesTokenCount": max(0, candidates - pictures)}


def _ended(generation: Generation) -> int:
    return int((generation.ended_on or generation.created_on).timestamp())


def _size(image: PublishedImage) -> str:
    return f"{image.width}x{image.height}"


def _background(form: Form, image: PublishedImage) -> str | None:
    """What is known of it: a JPEG has nothing transparent."""
    return "opaque" if image.content_type == "image/jpeg" else form.background


def _safety_identifier(form: Form) -> dict[str, str]:
    return {"safety_identifier": form.end_user} if form.end_user else {}
