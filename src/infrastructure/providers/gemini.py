"""Google Gemini: its image models, through its own SDK's generate_content."""

from __future__ import annotations

import httpx2
from google import genai
from google.genai import types
from pydantic_core import from_json

from application.ports.providers import Answer, CallRequest
from infrastructure.providers.connections import MAX_REFUSAL_BYTES, bounded, http_client
from infrastructure.providers.gemini_answer import read
from infrastructure.providers.gemini_failures import (
    OUTCOMES,
    AnswerEncodedError,
    AnswerTooLargeError,
    outcome,
)
from infrastructure.providers.gemini_models import CAPABILITIES, PRICE_LIST, SHAPES
from infrastructure.providers.offered import offered

__all__ = ["API_VERSION", "BASE_URL", "CAPABILITIES", "PRICE_LIST", "GeminiProvider"]

BASE_URL = "https://generativelanguage.googleapis.com"
API_VERSION = "v1beta"  # the SDK's v1 was seen to refuse responseModalities
SEEDS = 2**31  # it takes what fits into 32 bits with a sign
CONNECT_SECONDS = 10.0
READ_SECONDS = 180.0  # Gemini is told so, too (X-Server-Timeout)
MAX_ANSWER_BYTES = 128 * 1024 * 1024  # a picture of 4096 x 4096 in base64 has at most 67 MB


class GeminiProvider:
    """Makes one picture a call, and one request: nothing is repeated or continued by the SDK.

    The SDK is given a client of httpx2. Left to itself it would take aiohttp where that happens to
    be installed, and then send a request again, by itself, whose connection was lost.
    """

    name = "gemini"
    capabilities = CAPABILITIES

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str | None = None,
        api_version: str = API_VERSION,
        connect_seconds: float = CONNECT_SECONDS,
        read_seconds: float = READ_SECONDS,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._http = _http_client(connect_seconds, max_answer_bytes)
        self._client = genai.Client(
            api_key=api_key,
            enterprise=False,  # whatever the environment says
            http_options=types.HttpOptions(
                base_url=base_url or BASE_URL,
                api_version=api_version,
                timeout=round(read_seconds * 1000),
                httpx_async_client=self._http,
            ),
        )

    async def call(self, request: CallRequest) -> Answer:
        """Make one paid request. Raises CallFailedError or OutcomeUnknownError, nothing else."""
        model = offered(request, self.capabilities, vendor="Gemini")
        contents, config = _contents(request), _config(request)
        try:
            response = await self._client.aio.models.generate_content(
                model=model.name, contents=contents, config=config
            )
        except tuple(OUTCOMES) as error:
            # Not "from error": an SDK's error says what the provider said, key and prompt included.
            raise outcome(error) from None
        body = response.sdk_http_response.body if response.sdk_http_response else None
        return read(body, model, request.size)

    async def close(self) -> None:
        """Let go of connections; nothing is called any more."""
        await self._client.aio.aclose()
        await self._http.aclose()
        self._client.close()


def _contents(request: CallRequest) -> types.Content:
    references = [
        types.Part.from_bytes(data=picture.data, mime_type=picture.content_type)
        for picture in request.references
    ]
    prompt = types.Part.from_text(text=request.prompt)
    return types.Content(role="user", parts=[prompt, *references])


def _config(request: CallRequest) -> types.GenerateContentConfig:
    """The whole answer is asked for as it came: what the SDK makes of it lacks finishMessage."""
    aspect_ratio, image_size = SHAPES[request.size] if request.size else (None, None)
    shape = types.ImageConfig(aspect_ratio=aspect_ratio, image_size=image_size)
    return types.GenerateContentConfig(
        should_return_http_response=True,
        automatic_continuation=False,
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        candidate_count=1,
        seed=None if request.seed is None else request.seed % SEEDS,
        response_modalities=["IMAGE"],
        image_config=shape if request.size else None,
    )


# --- connections ---------------------------------------------------------------------------------


def _http_client(connect_seconds: float, max_answer_bytes: int) -> httpx2.AsyncClient:
    """Connects within a time of its own, and reads no more than there can be."""

    async def limit_connecting(request: httpx2.Request) -> None:
        limits = request.extensions["timeout"]
        request.extensions["timeout"] = {**limits, "connect": connect_seconds}

    async def limit_answer(response: httpx2.Response) -> None:
        if response.status_code != 200:
            beginning = bounded(response, MAX_REFUSAL_BYTES)
            response.stream = httpx2.ByteStream(await _problem(beginning))
            response.headers.pop("content-encoding", None)
        elif response.headers.get("content-encoding", "identity").strip().lower() != "identity":
            raise AnswerEncodedError
        else:
            response.stream = bounded(response, max_answer_bytes, AnswerTooLargeError())

    return http_client({"request": limit_connecting, "response": limit_answer})


async def _problem(stream: httpx2.AsyncByteStream) -> bytes:
    """What the answer says, if it is short and JSON; the SDK cannot read everything else."""
    body = b"".join([chunk async for chunk in stream])
    await stream.aclose()
    try:
        from_json(body)
    except ValueError:
        return b"{}"
    return body
