"""OpenAI's image models, through its own SDK: pictures from words, and edits of references."""

from __future__ import annotations

import logging
from binascii import a2b_base64
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Annotated, Any

import openai
from openai import AsyncOpenAI
from pydantic import BaseModel, Field, ValidationError

from application.ports.providers import (
    Answer,
    CallFailedError,
    CallRequest,
    Picture,
)
from domain.failure import Failure, FailureKind
from domain.image import CONTENT_TYPES, ContentType, Cost
from infrastructure.providers.openai_failures import SDK_ERRORS, error_of
from infrastructure.providers.openai_models import (
    CAPABILITIES,
    IMAGE_INPUT,
    IMAGE_OUTPUT,
    MAX_MASK_BYTES,
    MILLION,
    PRICE_LIST,
    TEXT_INPUT,
    TEXT_OUTPUT,
)

__all__ = ["CAPABILITIES", "PRICE_LIST", "OpenAIProvider"]

log = logging.getLogger(__name__)

BASE_URL = "https://api.openai.com/v1"
CONNECT_SECONDS = 10.0
READ_SECONDS = 170.0  # an answer comes whole: nothing is heard before the picture is there
WRITE_SECONDS = 60.0
MAX_ANSWER_BYTES_PER_IMAGE = 96 * 1024 * 1024  # 64 MiB of picture in base64, and some
MAX_CLIENT_REQUEST_ID = 512  # characters


class _OpenAI(AsyncOpenAI):
    """The SDK's client; whom it asks, as whom and how is not for the environment to choose."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.organization = self.project = None
        self._custom_headers = {}


class OpenAIProvider:
    """Asks OpenAI once for each call: the SDK's own repeats are off, since each may be billed."""

    name = "openai"
    capabilities = CAPABILITIES

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self._client = _OpenAI(
            api_key=api_key,
            base_url=base_url or BASE_URL,
            max_retries=0,
            timeout=openai.Timeout(
                connect=connect_seconds,
                read=read_seconds,
                write=WRITE_SECONDS,
                pool=connect_seconds,
            ),
        )

    async def call(self, request: CallRequest) -> Answer:
        """Make one paid request. Raises CallFailedError or OutcomeUnknownError, nothing else."""
        prices = _prices(request.model)
        if request.mask is not None and len(request.mask.data) > MAX_MASK_BYTES:
            raise _failed("invalid_request", "OpenAI takes no mask as large as this.")
        try:
            body, request_id = await self._body(request)
        except SDK_ERRORS as error:
            raise error_of(error) from None  # the SDK's errors quote what was sent and answered
        return _answer(request, _read(body, request_id), request_id, prices)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()

    async def _body(self, request: CallRequest) -> tuple[bytearray, str | None]:
        """The whole answer, if it is not larger than pictures are, and its id at OpenAI."""
        images, headers = self._client.images.with_streaming_response, _headers(request)
        answering = (
            images.edit(**_edit(request), extra_headers=headers)
            if request.references
            else images.generate(**_generation(request), extra_headers=headers)
        )
        async with answering as response:
            most = MAX_ANSWER_BYTES_PER_IMAGE * len(request.images)
            return await _whole(response.iter_bytes(), most), response.request_id


def _headers(request: CallRequest) -> dict[str, str]:
    """What finds a call again in OpenAI's logs."""
    known_as = request.correlation_id or ""
    fits = known_as.isascii() and known_as.isprintable() and len(known_as) <= MAX_CLIENT_REQUEST_ID
    return {"X-Client-Request-Id": known_as} if known_as and fits else {}


def _generation(request: CallRequest) -> dict[str, Any]:
    return {**_wanted(request), **_given(moderation=request.moderation)}


def _edit(request: CallRequest) -> dict[str, Any]:
    files = [_file(picture, f"reference-{n}") for n, picture in enumerate(request.references, 1)]
    return {
        **_wanted(request),
        **_given(
            mask=request.mask and _file(request.mask, "mask"),
            input_fidelity=request.fidelity,
        ),
        # One alone goes in a field of another name than several do.
        "image": files if len(files) > 1 else files[0],
    }


def _wanted(request: CallRequest) -> dict[str, Any]:
    return {
        "prompt": request.prompt,
        "model": request.model,
        "n": len(request.images),
        **_given(
            size=request.size,
            quality=request.quality,
            background=request.background,
            output_format=request.format,
            output_compression=request.compression,
            safety_identifier=request.end_user,
        ),
    }


def _given(**fields: object) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _file(picture: Picture, name: str) -> tuple[str, bytes, str]:
    extension = picture.content_type.removeprefix("image/")
    return f"{name}.{extension}", picture.data, picture.content_type


# --- what comes back -----------------------------------------------------------------------------


Count = Annotated[int, Field(ge=0)]


class _Tokens(BaseModel):
    text_tokens: Count = 0
    image_tokens: Count = 0


class _Usage(BaseModel):
    """Details may be missing: then input is of references if there were any, output of pictures."""

    input_tokens: Count = 0
    output_tokens: Count = 0
    input_tokens_details: _Tokens | None = None
    output_tokens_details: _Tokens | None = None


class _Image(BaseModel):
    b64_json: str | None = None


class _Made(BaseModel):
    """An answer, as much of it as we need: pictures, and facts beside them that may be odd."""

    data: list[_Image] | None = None
    output_format: object = None
    usage: object = None


async def _whole(chunks: AsyncIterator[bytes], most: int) -> bytearray:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > most:
            raise _failed("no_image", f"OpenAI's answer is larger than {most} bytes.")
    return body


def _read(body: bytearray, request_id: str | None) -> _Made:
    try:
        return _Made.model_validate_json(body)
    except ValidationError:
        message = "OpenAI's answer is not one that holds pictures."
        raise _failed("no_image", message, request_id=request_id) from None  # it quotes the answer


def _answer(
    request: CallRequest, made: _Made, request_id: str | None, prices: Mapping[str, Decimal]
) -> Answer:
    tokens = _tokens(_usage(made), references=bool(request.references))
    cost = _cost(tokens, prices)
    decoded = [_decoded(image) for image in made.data or ()]
    content_type = _content_type(made, request)
    pictures = tuple(Picture(data, content_type) for data in decoded if data)
    if not pictures:
        message = "OpenAI answered without a picture."
        raise _failed("no_image", message, request_id=request_id, cost=cost)
    return Answer(
        pictures=pictures[: len(request.images)],
        cost=cost,
        provider_request_id=request_id,
        usage=tokens,
    )


def _decoded(image: _Image) -> bytes | None:
    try:
        return a2b_base64(image.b64_json or "", strict_mode=True)
    except ValueError:
        return None


def _content_type(made: _Made, request: CallRequest) -> ContentType:
    said = made.output_format or request.format or "png"
    return next((CONTENT_TYPES[name] for name in CONTENT_TYPES if name == said), "image/png")


def _usage(made: _Made) -> _Usage | None:
    """What was used, if the answer says so: without it, pictures are worth having all the same."""
    try:
        return _Usage.model_validate(made.usage)
    except ValidationError:
        log.warning("OpenAI does not say what an answer used: no cost is recorded for it")
        return None


def _tokens(usage: _Usage | None, *, references: bool) -> dict[str, int]:
    """The tokens of an answer, told apart as they are priced."""
    if usage is None:
        return {}
    given, made = usage.input_tokens_details, usage.output_tokens_details
    if given is None:
        image_given = usage.input_tokens if references else 0
        given = _Tokens(text_tokens=usage.input_tokens - image_given, image_tokens=image_given)
    if made is None:
        made = _Tokens(image_tokens=usage.output_tokens)
    return {
        TEXT_INPUT: given.text_tokens,
        IMAGE_INPUT: given.image_tokens,
        TEXT_OUTPUT: made.text_tokens,
        IMAGE_OUTPUT: made.image_tokens,
    }


def _prices(model: str) -> Mapping[str, Decimal]:
    if (offered := CAPABILITIES.model(model)) is None:
        raise _failed("misconfigured", "This release knows no such model of OpenAI's.")
    return offered.prices


def _cost(tokens: Mapping[str, int], prices: Mapping[str, Decimal]) -> Cost:
    amount = sum((prices[unit] * count for unit, count in tokens.items()), Decimal())
    return Cost(amount=amount / MILLION, price_list=PRICE_LIST)


def _failed(
    kind: FailureKind, message: str, *, request_id: str | None = None, cost: Cost | None = None
) -> CallFailedError:
    failure = Failure(kind=kind, message=message)
    return CallFailedError(failure, provider_request_id=request_id, cost=cost)
