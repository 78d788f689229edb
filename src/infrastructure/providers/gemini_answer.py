"""What Gemini's answers mean: a picture and its cost, or why there is none though it answered."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.alias_generators import to_camel

from application.ports.providers import Answer, CallFailedError, Model, Picture
from domain.failure import Failure, FailureKind
from domain.image import CONTENT_TYPES, ContentType, Cost
from infrastructure.providers.gemini_models import (
    DEFAULT_RESOLUTION,
    IMAGE_TOKENS,
    PRICE_LIST,
    SHAPES,
)

MILLION = 1_000_000
FINISHED: dict[str, FailureKind | None] = {
    "FINISH_REASON_UNSPECIFIED": None,
    "STOP": None,
    "MAX_TOKENS": None,
    "OTHER": None,
    "NO_IMAGE": None,
    "IMAGE_OTHER": None,
    "CONTINUATION": None,
    "MALFORMED_FUNCTION_CALL": None,
    "UNEXPECTED_TOOL_CALL": None,
    "TOO_MANY_TOOL_CALLS": None,
    "MISSING_THOUGHT_SIGNATURE": None,
    "MALFORMED_RESPONSE": None,
    "LANGUAGE": "invalid_request",
    "PUP_LIMITED_DISABLED": "misconfigured",
    "SAFETY": "moderation_output",
    "RECITATION": "moderation_output",
    "BLOCKLIST": "moderation_output",
    "PROHIBITED_CONTENT": "moderation_output",
    "SPII": "moderation_output",
    "IMAGE_SAFETY": "moderation_output",
    "IMAGE_PROHIBITED_CONTENT": "moderation_output",
    "IMAGE_RECITATION": "moderation_output",
    "ESCALATION": "moderation_output",
    "MODEL_ARMOR": "moderation_output",
}
"""Why a model stopped, and which failure that is; None is none, as long as there is a picture."""

Count = Annotated[int, Field(ge=0), BeforeValidator(lambda count: count or 0)]


def _unless_odd(value: object, read: ValidatorFunctionWrapHandler) -> object:
    """None for what is in no known shape: a picture beside it is paid for, and kept."""
    try:
        return read(value)
    except ValidationError:
        return None


UnlessOdd = WrapValidator(_unless_odd)


class _Said(BaseModel):
    """A part of an answer; fields that nobody here needs are left out."""

    model_config = ConfigDict(
        alias_generator=to_camel, extra="ignore", frozen=True, hide_input_in_errors=True
    )


class _Blob(_Said):
    mime_type: str | None = None
    data: str | None = None


class _Part(_Said):
    thought: bool | None = None
    inline_data: _Blob | None = None


class _Content(_Said):
    parts: list[_Part] | None = None


class _Candidate(_Said):
    content: _Content | None = None
    finish_reason: Annotated[str | None, UnlessOdd] = None
    finish_message: Annotated[str | None, UnlessOdd] = None


class _PromptFeedback(_Said):
    block_reason: object = None  # any at all is one


class _ModalityCount(_Said):
    modality: str | None = None
    token_count: Count = 0


class _Usage(_Said):
    """Tokens; those of an answer may or may not be split by what they are of."""

    prompt_token_count: Count = 0
    candidates_token_count: Count = 0
    thoughts_token_count: Count = 0
    candidates_tokens_details: list[_ModalityCount] | None = None

    @property
    def image_tokens(self) -> int:
        """Output tokens that are said to be pictures."""
        return sum(one.token_count for one in self._listed if one.modality == "IMAGE")

    @property
    def tokens_besides(self) -> int:
        """Output tokens that are said to be something else."""
        return sum(one.token_count for one in self._listed if one.modality != "IMAGE")

    @property
    def _listed(self) -> list[_ModalityCount]:
        return self.candidates_tokens_details or []


class _Response(_Said):
    candidates: list[_Candidate] | None = None
    prompt_feedback: Annotated[_PromptFeedback | None, UnlessOdd] = None
    response_id: Annotated[str | None, UnlessOdd] = None
    usage_metadata: Annotated[_Usage | None, UnlessOdd] = None


def read(body: str | None, model: Model, size: str | None) -> Answer:
    """The picture in a whole answer of status 200. Raises CallFailedError."""
    try:
        response = _Response.model_validate_json(body or "{}")
    except ValidationError:
        raise _no_image("Gemini's answer could not be read.") from None
    candidate = next(iter(response.candidates or ()), _Candidate())
    counted = response.usage_metadata
    usage = counted if counted and _counts(counted) else None
    failure = _refusal(response, candidate)
    if failure is None:
        try:
            picture = _picture(candidate)
        except CallFailedError as error:
            failure = error.failure
    if failure is not None:
        raise CallFailedError(
            failure,
            provider_request_id=response.response_id,
            cost=_cost_of_nothing(candidate, usage, model),
        )
    return Answer(
        pictures=(picture,),
        cost=_cost(usage, model) if usage else _usual_cost(model, size),
        provider_request_id=response.response_id,
        usage=_counts(usage) if usage else {},
    )


# --- the picture, or why there is none -----------------------------------------------------------


def _refusal(response: _Response, candidate: _Candidate) -> Failure | None:
    """A refusal counts whatever came with it: such a picture is never shown."""
    feedback = response.prompt_feedback
    if feedback and feedback.block_reason:
        return Failure(kind="moderation_input", message="Gemini's safety rules refused the prompt.")
    kind = FINISHED.get(candidate.finish_reason or "STOP")
    if kind is None:
        return None
    return Failure(
        kind=kind, message=f"Gemini withheld the picture: it stopped at {candidate.finish_reason}."
    )


def _picture(candidate: _Candidate) -> Picture:
    """The last one that is not a thought: earlier ones are tries. Raises CallFailedError."""
    parts = (candidate.content and candidate.content.parts) or []
    for part in reversed(parts):
        if part.inline_data and not part.thought:
            return _decoded(part.inline_data)
    known = candidate.finish_reason if candidate.finish_reason in FINISHED else "no known reason"
    raise _no_image(f"Gemini answered without a picture: it stopped at {known}.")


def _decoded(blob: _Blob) -> Picture:
    content_type = _content_type(blob.mime_type)
    if content_type is None:
        raise _no_image("Gemini answered with something that is no picture.")
    try:
        data = base64.b64decode(blob.data or "", altchars=b"-_", validate=True)
    except binascii.Error:
        raise _no_image("Gemini's picture was not in base64.") from None
    if not data:
        raise _no_image("Gemini's picture was empty.")
    return Picture(data, content_type)


def _content_type(mime_type: str | None) -> ContentType | None:
    return next((known for known in CONTENT_TYPES.values() if known == mime_type), None)


def _no_image(message: str) -> CallFailedError:
    return CallFailedError(Failure(kind="no_image", message=message))


# --- usage and cost ------------------------------------------------------------------------------


def _counts(usage: _Usage) -> Mapping[str, int]:
    counted = {
        "promptTokenCount": usage.prompt_token_count,
        "candidatesTokenCount": usage.candidates_token_count,
        "thoughtsTokenCount": usage.thoughts_token_count,
        "candidatesTokensDetails.IMAGE": usage.image_tokens,
    }
    return {name: count for name, count in counted.items() if count}


def _cost(usage: _Usage, model: Model, *, has_picture: bool = True) -> Cost:
    """By the tokens. What a picture had, if nobody said it, is all that nothing else had."""
    output, images = usage.candidates_token_count, usage.image_tokens
    if has_picture and not images:
        images = max(output - usage.tokens_besides, 0)
    text = max(output - images, 0) + usage.thoughts_token_count
    return _priced(model, read=usage.prompt_token_count, text=text, images=images)


def _usual_cost(model: Model, size: str | None) -> Cost:
    """What one picture usually has, where nobody counted: its cost is known to that."""
    _, resolution = SHAPES.get(size or "", ("", DEFAULT_RESOLUTION))
    return _priced(model, images=IMAGE_TOKENS[model.name][resolution])


def _cost_of_nothing(candidate: _Candidate, usage: _Usage | None, model: Model) -> Cost | None:
    """What is billed though no picture can be shown; None where nothing is, or nobody knows."""
    is_free = "not be charged" in (candidate.finish_message or "")
    if usage is None or is_free or candidate.finish_reason == "IMAGE_OTHER":
        return None
    parts = (candidate.content and candidate.content.parts) or []
    return _cost(usage, model, has_picture=any(part.inline_data for part in parts))


def _priced(model: Model, *, read: int = 0, text: int = 0, images: int = 0) -> Cost:
    prices = model.prices
    amount = (
        prices["million_input_tokens"] * read
        + prices["million_text_output_tokens"] * text
        + prices["million_image_output_tokens"] * images
    ) / Decimal(MILLION)
    return Cost(amount=amount, price_list=PRICE_LIST)
