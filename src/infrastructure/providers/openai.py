"""OpenAI's image models, through its own SDK: pictures from words, and edits of references."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import openai
from openai import AsyncOpenAI

from application.ports.providers import Answer, CallFailedError, CallRequest, Model, Picture
from domain.failure import Failure, FailureKind
from infrastructure.providers.openai_answer import read
from infrastructure.providers.openai_connections import http_client
from infrastructure.providers.openai_failures import SDK_ERRORS, error_of
from infrastructure.providers.openai_models import CAPABILITIES, MAX_MASK_BYTES, PRICE_LIST

__all__ = ["CAPABILITIES", "PRICE_LIST", "OpenAIProvider"]

BASE_URL = "https://api.openai.com/v1"
CONNECT_SECONDS = 10.0
READ_SECONDS = 170.0  # an answer comes whole: nothing is heard before the picture is there
WRITE_SECONDS = 60.0
MAX_ANSWER_BYTES_PER_IMAGE = 96 * 1024 * 1024  # 64 MiB of picture in base64, and some
MAX_ANSWER_BYTES = 256 * 1024 * 1024  # however many pictures there are
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
            http_client=http_client(),
        )

    async def call(self, request: CallRequest) -> Answer:
        """Make one paid request. Raises CallFailedError or OutcomeUnknownError, nothing else."""
        model = _offered(request)
        if request.mask is not None and len(request.mask.data) > MAX_MASK_BYTES:
            raise _failed("invalid_request", "OpenAI takes no mask as large as this.")
        try:
            body, request_id = await self._body(request)
        except SDK_ERRORS as error:
            raise error_of(error) from None  # the SDK's errors quote what was sent and answered
        # Of several large pictures, this takes longer than anybody else is to wait.
        return await asyncio.to_thread(read, body, request, model, request_id)

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
            most = min(MAX_ANSWER_BYTES_PER_IMAGE * len(request.images), MAX_ANSWER_BYTES)
            return await _whole(response.iter_bytes(), most), response.request_id


def _offered(request: CallRequest) -> Model:
    if (model := CAPABILITIES.model(request.model)) is None:
        raise _failed("misconfigured", "This release knows no such model of OpenAI's.")
    return model


def _headers(request: CallRequest) -> dict[str, str]:
    """What finds a call again in OpenAI's logs."""
    known_as = request.correlation_id or ""
    fits = known_as.isascii() and known_as.isprintable() and len(known_as) <= MAX_CLIENT_REQUEST_ID
    return {"X-Client-Request-Id": known_as} if known_as and fits else {}


def _generation(request: CallRequest) -> dict[str, Any]:
    return {**_wanted(request), **_given(moderation=request.moderation)}


def _edit(request: CallRequest) -> dict[str, Any]:
    """Edits take no `moderation`: the models say so, and nobody asks them for it."""
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


async def _whole(chunks: AsyncIterator[bytes], most: int) -> bytearray:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > most:
            raise _failed("no_image", f"OpenAI's answer is larger than {most} bytes.")
    return body


def _failed(kind: FailureKind, message: str) -> CallFailedError:
    return CallFailedError(Failure(kind=kind, message=message))
