"""What OpenAI answers with 200: pictures, and what they cost."""

from __future__ import annotations

import logging
import re
from binascii import a2b_base64
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from application.fitting import sides
from application.ports.providers import Answer, CallFailedError, CallRequest, Model, Picture
from domain.failure import Failure
from domain.image import CONTENT_TYPES, ContentType, Cost
from infrastructure.providers.openai_models import (
    CHARACTERS_OF_A_TOKEN,
    IMAGE_INPUT,
    IMAGE_OUTPUT,
    IMAGE_OUTPUT_TOKENS,
    MILLION,
    PRICE_LIST,
    TEXT_INPUT,
    TEXT_OUTPUT,
    TOKENS_OF_A_REFERENCE,
)

log = logging.getLogger(__name__)

MOST_TOKENS = 10**9  # more are a mistake
UNSAID_SIZE, UNSAID_QUALITY = "1024x1024", "high"  # nothing is to look cheaper than it is
SIZE = re.compile(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}")


def _none_is_zero(count: object) -> object:
    return 0 if count is None else count


Count = Annotated[int, Field(ge=0, le=MOST_TOKENS), BeforeValidator(_none_is_zero)]


class _Tokens(BaseModel):
    text_tokens: Count = 0
    image_tokens: Count = 0


class _Usage(BaseModel):
    """How tokens are split may be missing, empty, or tell of a part of them only."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    input_tokens_details: object = None
    output_tokens_details: object = None


class _Made(BaseModel):
    """An answer, as much of it as we need; one odd thing in it spoils none of the others."""

    data: object = None
    output_format: object = None
    size: object = None
    quality: object = None
    usage: object = None


def read(
    body: bytes | bytearray, request: CallRequest, model: Model, request_id: str | None
) -> Answer:
    """The pictures that a whole answer holds. Raises CallFailedError when there are none."""
    made = _made(body, request_id)
    content_type = _content_type(made, request)
    decoded = [_decoded(image) for image in _each(made.data)]
    pictures = tuple(Picture(data, content_type) for data in decoded if data)
    used = _used(made, request)
    if not pictures:
        cost = _cost(used, model.prices) if used else None
        raise _failed("OpenAI answered without a picture.", request_id, cost)
    is_told = used.get(IMAGE_OUTPUT) or used.get(TEXT_OUTPUT)
    tokens = used if is_told else _estimated(made, request, len(pictures))
    return Answer(
        pictures=pictures[: len(request.images)],
        cost=_cost(tokens, model.prices),
        provider_request_id=request_id,
        usage=used,
    )


def _made(body: bytes | bytearray, request_id: str | None) -> _Made:
    try:
        return _Made.model_validate_json(body)
    except ValidationError:
        message = "OpenAI's answer is not one that holds pictures."
        raise _failed(message, request_id) from None  # it quotes the answer


def _each(data: object) -> Sequence[object]:
    return data if isinstance(data, list) else ()


def _decoded(image: object) -> bytes | None:
    text = image.get("b64_json") if isinstance(image, Mapping) else None
    try:
        return a2b_base64(text, strict_mode=True) if isinstance(text, str) else None
    except ValueError:
        return None


def _content_type(made: _Made, request: CallRequest) -> ContentType:
    said = made.output_format or request.format or "png"
    return next((CONTENT_TYPES[name] for name in CONTENT_TYPES if name == said), "image/png")


# --- what it cost --------------------------------------------------------------------------------


def _used(made: _Made, request: CallRequest) -> Mapping[str, int]:
    """The tokens of an answer, told apart as they are priced; empty when it does not say."""
    try:
        usage = _Usage.model_validate(made.usage)
    except ValidationError:
        return {}
    tokens = _split(usage, references=bool(request.references))
    return tokens if any(tokens.values()) else {}


def _split(usage: _Usage, *, references: bool) -> Mapping[str, int]:
    """What is not said of input is of references, if there are any, and of output of pictures."""
    given, made = _told(usage.input_tokens_details), _told(usage.output_tokens_details)
    untold = max(0, usage.input_tokens - given.text_tokens - given.image_tokens)
    return {
        TEXT_INPUT: given.text_tokens + (0 if references else untold),
        IMAGE_INPUT: given.image_tokens + (untold if references else 0),
        TEXT_OUTPUT: made.text_tokens,
        IMAGE_OUTPUT: max(made.image_tokens, usage.output_tokens - made.text_tokens),
    }


def _told(details: object) -> _Tokens:
    try:
        return _Tokens.model_validate(details)
    except ValidationError:
        return _Tokens()


def _estimated(made: _Made, request: CallRequest, pictures: int) -> Mapping[str, int]:
    """What pictures of this size and quality, of these words and references, usually take."""
    log.warning("OpenAI does not say what an answer used: its cost is estimated")
    images = len(request.references) + (request.mask is not None)
    return {
        TEXT_INPUT: max(1, len(request.prompt) // CHARACTERS_OF_A_TOKEN),
        IMAGE_INPUT: TOKENS_OF_A_REFERENCE * images,
        IMAGE_OUTPUT: pictures * _tokens_of_a_picture(made, request),
    }


def _tokens_of_a_picture(made: _Made, request: CallRequest) -> int:
    said = made.size if isinstance(made.size, str) and SIZE.fullmatch(made.size) else None
    width, height = sides(said or request.size or UNSAID_SIZE)
    quality = made.quality if isinstance(made.quality, str) else ""
    square = (
        IMAGE_OUTPUT_TOKENS.get(quality)
        or IMAGE_OUTPUT_TOKENS.get(request.quality or "")
        or IMAGE_OUTPUT_TOKENS[UNSAID_QUALITY]
    )
    return square * width * height // 1024**2


def _cost(tokens: Mapping[str, int], prices: Mapping[str, Decimal]) -> Cost:
    amount = sum((prices[unit] * count for unit, count in tokens.items()), Decimal())
    return Cost(amount=amount / MILLION, price_list=PRICE_LIST)


def _failed(message: str, request_id: str | None, cost: Cost | None = None) -> CallFailedError:
    failure = Failure(kind="no_image", message=message)
    return CallFailedError(failure, provider_request_id=request_id, cost=cost)
