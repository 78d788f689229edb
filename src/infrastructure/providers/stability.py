"""Stability AI: one picture a call, from a prompt, or from a prompt and one reference image."""

from __future__ import annotations

import httpx

from application.ports.providers import Answer, CallFailedError, CallRequest, Picture
from domain.failure import Failure, FailureKind
from domain.image import CONTENT_TYPES, ContentType, Cost
from infrastructure.providers.offered import invalid, offered
from infrastructure.providers.stability_errors import (
    BROKEN_OFF,
    broken_off,
    identity_of,
    refused,
)
from infrastructure.providers.stability_models import (
    CAPABILITIES,
    MAX_SEED,
    PRICE_LIST,
    price_of,
    ratios_of,
    strength_of,
)

BASE_URL = "https://api.stability.ai"
CONNECT_SECONDS = 10.0
READ_SECONDS = 170.0  # nothing comes before the picture is made
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_REFUSAL_BYTES = 64 * 1024
CLIENT_ID = "darkroom"

Fields = dict[str, str]
Files = dict[str, tuple[str, bytes, str]]
NO_FILES: Files = {"none": ("none", b"", "application/octet-stream")}  # makes a form multipart


class StabilityProvider:
    """Asks `stable-image/generate`, once for each call: it repeats nothing by itself."""

    name = "stability"
    capabilities = CAPABILITIES

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self._client = httpx.AsyncClient(
            base_url=base_url or BASE_URL,
            headers={
                b"authorization": f"Bearer {api_key}".encode(),  # of whatever letters it is
                b"accept": b"image/*",
                b"accept-encoding": b"identity",  # pictures are compressed already
            },
            timeout=httpx.Timeout(read_seconds, connect=connect_seconds),
            # Calls are counted before they come here. No connection is kept: a request that meets
            # one which the other side is just closing is lost, and perhaps billed.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def call(self, request: CallRequest) -> Answer:
        """Make one paid request. Raises CallFailedError or OutcomeUnknownError, nothing else."""
        offered(request, self.capabilities, vendor="Stability")
        try:
            async with self._client.stream(
                "POST",
                f"/v2beta/stable-image/generate/{_route(request.model)}",
                data=_fields(request),
                files=_files(request),
                headers=_headers(request),
            ) as response:
                body = await _body(response)
        except BROKEN_OFF as error:
            raise broken_off(error) from None  # its text may hold the key
        except UnicodeError:  # its text holds the prompt
            raise invalid("Stability cannot be sent letters that there are not.") from None
        if response.status_code != 200:
            raise refused(response, body)
        return _answer(request, response, body)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()


def _route(model: str) -> str:
    return model if model in ("ultra", "core") else "sd3"


def _fields(request: CallRequest) -> Fields:
    fields = {"prompt": request.prompt, "output_format": request.format or "png"}
    if request.negative_prompt:
        fields["negative_prompt"] = request.negative_prompt
    if request.seed is not None:
        fields["seed"] = str(_seed(request.seed))
    if request.references:
        fields["strength"] = strength_of(request.model, request.fidelity)
    return fields | _mode(request)


def _mode(request: CallRequest) -> Fields:
    """What sd3 is told besides; made from a reference, its pictures have the reference's shape."""
    mode: Fields = {}
    if _route(request.model) == "sd3":
        mode = {
            "model": request.model,
            "mode": "image-to-image" if request.references else "text-to-image",
        }
    if request.size is not None and mode.get("mode") != "image-to-image":
        mode["aspect_ratio"] = ratios_of(request.model)[request.size]
    return mode


def _seed(wish: int) -> int:
    """The seed as it is; what Stability does not know, or takes for none (0), becomes another."""
    return wish if 1 <= wish <= MAX_SEED else 1 + wish % MAX_SEED


def _files(request: CallRequest) -> Files:
    if not request.references:
        return NO_FILES
    reference = request.references[0]
    return {"image": ("reference", reference.data, reference.content_type)}


def _headers(request: CallRequest) -> dict[str, str]:
    if request.end_user is None:
        return {}
    return {"stability-client-id": CLIENT_ID, "stability-client-user-id": request.end_user}


async def _body(response: httpx.Response) -> bytes:
    """All of it, up to what no picture or refusal is larger than; nothing of what is encoded.

    A few bytes of that may be gigabytes, and nobody asked for it.
    """
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        return b""
    most = MAX_ANSWER_BYTES if response.status_code == 200 else MAX_REFUSAL_BYTES
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > most:
            break
    return bytes(body)


def _answer(request: CallRequest, response: httpx.Response, body: bytes) -> Answer:
    """The picture, if Stability says that it is whole and within its rules."""
    verdict = response.headers.get("finish-reason")
    content_type = _content_type(response)
    if verdict == "CONTENT_FILTERED":
        message = "Stability's safety rules blurred the finished picture."
        raise _made_in_vain("moderation_output", message, request, response)
    if verdict != "SUCCESS" or content_type is None or not 0 < len(body) <= MAX_ANSWER_BYTES:
        message = "Stability answered 200 without a picture that may be shown."
        raise _made_in_vain("no_image", message, request, response)
    return Answer(
        pictures=(Picture(body, content_type),),
        cost=_cost(request),
        provider_request_id=identity_of(response),
        usage={"images": 1},
    )


def _content_type(response: httpx.Response) -> ContentType | None:
    said = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return next((known for known in CONTENT_TYPES.values() if known == said), None)


def _made_in_vain(
    kind: FailureKind, message: str, request: CallRequest, response: httpx.Response
) -> CallFailedError:
    """What Stability made is taken to be charged (see CREDITS); not somebody else's page."""
    is_theirs = "finish-reason" in response.headers or _content_type(response) is not None
    return CallFailedError(
        Failure(kind=kind, message=message),
        provider_request_id=identity_of(response),
        cost=_cost(request) if is_theirs else None,
    )


def _cost(request: CallRequest) -> Cost:
    return Cost(amount=price_of(request.model), price_list=PRICE_LIST)
