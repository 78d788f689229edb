"""A server that speaks OpenAI's image routes: strict, with every error and unknown on demand.

Options, `OPTIONS` where nothing is told: `picture_bytes`, how large each picture is at least;
`output_details`, whether usage says what the output tokens were, which it often does not;
`completed_per_image`, whether a stream of several pictures has a completed event for each, or one
for the first; `usage`, what usage says instead; `partials`, how many partial pictures come at most,
however many are asked for; `done`, whether a stream ends with `[DONE]`; `verified`, whether the
organization is, which the newest models ask for.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.servers.openai_errors import (
    FLOOD,
    GATEWAY_TIMEOUT_IN_JSON,
    MOVED,
    NO_KEY,
    PROXY_PAGES,
    REFUSALS,
    WRONG_KEY,
    RefusedError,
    error_answer,
    flood,
    moved,
    unverified,
)
from tests.servers.openai_files import IMAGES
from tests.servers.openai_models import MODELS, output_tokens, pixels_of
from tests.servers.openai_requests import Ask, edit_asked, generation_asked
from tests.servers.pictures import picture
from tests.servers.protocol import ProtocolServer, Seen, Switches, seen

KEY = "sk-test-openai-4f1d8c2b7a90"
CREATED = 1_713_833_628
TOKENS_OF_AN_IMAGE = 323  # of each that comes along
SPOILT_ANSWERS = (
    *("not_an_image", "not_base64", "no_b64", "empty_data", "null_data", "one_too_few", "one_more"),
    *("no_usage", "odd_usage", "no_input_details", "not_json", "not_an_object", "stream_error"),
    *("odd_image", "compressed"),
)
"""200, and paid for, but not as it should be."""

OPTIONS: dict[str, Any] = {
    "picture_bytes": 0,
    "output_details": False,
    "usage": {},
    "completed_per_image": True,
    "partials": 3,
    "done": True,
    "verified": True,
}
Asked = Callable[[Request], Awaitable[Ask]]


def server() -> ProtocolServer:
    """Speaks `/v1/images/generations`, `/v1/images/edits` and `/v1/models` to who has the KEY."""
    routes = _Routes()
    spoken = ProtocolServer(
        [
            Route("/v1/images/generations", routes.generations, methods=["POST"]),
            Route("/v1/images/edits", routes.edits, methods=["POST"]),
            Route("/v1/models", routes.models, methods=["GET"]),
            Route("/v1/models/{model}", routes.model, methods=["GET"]),
        ],
        errors=(*REFUSALS, *PROXY_PAGES, GATEWAY_TIMEOUT_IN_JSON, *MOVED, FLOOD, *SPOILT_ANSWERS),
    )
    routes.switches = spoken.switches
    return spoken


class _Routes:
    """Checks who asks and what, has the fault that was drawn, and paints."""

    switches: Switches

    async def generations(self, request: Request) -> Response:
        return await self._answer(request, generation_asked, "image_generation")

    async def edits(self, request: Request) -> Response:
        return await self._answer(request, edit_asked, "image_edit")

    async def models(self, request: Request) -> Response:
        try:
            _check_key(request)
        except RefusedError as refusal:
            return _with_headers(refusal.answer())
        listed = [_listed(name) for name in MODELS]
        return _with_headers(JSONResponse({"object": "list", "data": listed}))

    async def model(self, request: Request) -> Response:
        name = request.path_params["model"]
        try:
            _check_key(request)
            if name not in MODELS:
                raise RefusedError(
                    404,
                    f"The model '{name}' does not exist",
                    "invalid_request_error",
                    "model_not_found",
                    "model",
                )
        except RefusedError as refusal:
            return _with_headers(refusal.answer())
        return _with_headers(JSONResponse(_listed(name)))

    async def _answer(self, request: Request, read: Asked, event: str) -> Response:
        noted = seen(request)
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        prompt = ""
        try:
            _check_key(request)
            ask = await read(request)
            prompt = ask.prompt
            _note(noted, ask, request)
            options = {**OPTIONS, **self.switches.options}
            if ask.model.verified_only and not options["verified"]:
                raise unverified(ask.model.name)
        except RefusedError as refusal:
            return _with_headers(refusal.answer(prompt=prompt, key=key), noted)
        if (error := error_answer(noted.fault, prompt=prompt, key=key)) is not None:
            return _with_headers(error, noted) if noted.fault in REFUSALS else error
        if noted.fault in MOVED:
            return moved(noted.fault, request)
        if noted.fault == FLOOD:
            return flood(noted)
        noted.billed = True
        made = _Made(ask, options, noted)
        return _with_headers(made.stream(event) if ask.stream else made.whole(), noted)


def _check_key(request: Request) -> None:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise replace(NO_KEY)
    if key != KEY:
        raise replace(WRONG_KEY)


def _listed(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "system"}


def _note(noted: Seen, ask: Ask, request: Request) -> None:
    """What tests look at: the fields, which files came in which of them, and headers."""
    noted.facts.update(ask.facts)
    noted.facts["images"] = ask.n
    noted.facts["prompt_characters"] = len(ask.prompt)
    noted.facts["files"] = [file.field for file in ask.files]
    noted.facts["references"] = sum(file.field in IMAGES for file in ask.files)
    noted.facts["retry_count"] = request.headers.get("x-stainless-retry-count")
    noted.facts["accept_encoding"] = request.headers.get("accept-encoding")
    noted.facts["idempotency_key"] = request.headers.get("idempotency-key")


def _with_headers(answer: Response, noted: Seen | None = None) -> Response:
    request_id = f"req_{uuid4().hex}"
    if noted is not None:
        noted.facts["request_id"] = request_id
    headers = {
        "x-request-id": request_id,
        "openai-organization": "org-test",
        "openai-processing-ms": "12",
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "120ms",
    }
    for name, value in headers.items():
        answer.headers.setdefault(name, value)
    return answer


@dataclass
class _Made:
    """The pictures of one request, as a whole or as a stream, spoilt by the fault."""

    ask: Ask
    options: dict[str, Any]
    noted: Seen

    def whole(self) -> Response:
        if self.noted.fault == "not_json":
            return Response(b'{"created": 1713833628, "data": [', media_type="application/json")
        if self.noted.fault == "not_an_object":
            return JSONResponse(["pictures"])
        answer = JSONResponse(
            {"created": CREATED, "data": self._data(), **self._said(), **self._usage(self.ask.n)}
        )
        if self.noted.fault == "compressed":
            body, encoding = gzip.compress(bytes(answer.body)), {"content-encoding": "gzip"}
            return Response(body, headers=encoding, media_type="application/json")
        return answer

    def stream(self, event: str) -> Response:
        return StreamingResponse(self._events(event), media_type="text/event-stream")

    async def _events(self, event: str) -> AsyncIterator[str]:
        for number in range(1, self.ask.n + 1):
            for index in range(min(self.ask.partial_images, self.options["partials"])):
                yield self._event(
                    f"{event}.partial_image",
                    b64_json=self._painted(f"partial {index} of {number}"),
                    partial_image_index=index,
                )
            if self.noted.fault == "stream_error":
                yield _lines("error", {"type": "error", "error": _IN_STREAM})
                return
            if number == 1 or self.options["completed_per_image"]:
                yield self._event(
                    f"{event}.completed", b64_json=self._painted(str(number)), **self._usage(1)
                )
        if self.options["done"]:
            yield "data: [DONE]\n\n"

    def _event(self, event: str, **more: Any) -> str:
        return _lines(event, {"type": event, "created_at": CREATED, **self._said(), **more})

    def _said(self) -> dict[str, Any]:
        width, height = pixels_of(self.ask.size)
        said = {
            "background": "transparent" if self.ask.background == "transparent" else "opaque",
            "output_format": self.ask.format,
            "quality": "medium" if self.ask.quality == "auto" else self.ask.quality,
            "size": f"{width}x{height}",
        }
        if self.ask.safety_identifier:
            said["safety_identifier"] = self.ask.safety_identifier
        return said

    def _data(self) -> list[dict[str, Any]] | None:
        fault = self.noted.fault
        if fault == "null_data":
            return None
        if fault == "empty_data":
            return []
        if fault == "no_b64":
            return [{"url": "https://images.example/1.png"} for _ in range(self.ask.n)]
        count = self.ask.n + {"one_too_few": -1, "one_more": 1}.get(fault or "", 0)
        data: list[Any] = [{"b64_json": self._painted(str(number + 1))} for number in range(count)]
        return [{"b64_json": 7}, *data[1:]] if fault == "odd_image" else data

    def _painted(self, number: str) -> str:
        if self.noted.fault == "not_an_image":
            return b64encode(b"these bytes are no picture").decode()
        if self.noted.fault == "not_base64":
            return "%%% weder Base64 noch ASCII: ß %%%"
        painted = picture(
            f"{self.ask.prompt} {number}",
            pixels_of(self.ask.size),
            self.ask.format,
            transparent=self.ask.background == "transparent",
            at_least=self.options["picture_bytes"],
        )
        return b64encode(painted).decode()

    def _usage(self, images: int) -> dict[str, Any]:
        """Tokens as they are billed, whether or not the answer tells them."""
        text = max(1, len(self.ask.prompt) // 4)
        image = TOKENS_OF_AN_IMAGE * len(self.ask.files)
        output = output_tokens(self.ask.size, self.ask.quality) * images
        self.noted.facts["tokens"] = [text, image, output]
        if self.noted.fault == "no_usage":
            return {}
        if self.noted.fault == "odd_usage":
            return {"usage": {"input_tokens": "many", "output_tokens": -1}}
        usage: dict[str, Any] = {
            "total_tokens": text + image + output,
            "input_tokens": text + image,
            "output_tokens": output,
        }
        if self.noted.fault != "no_input_details":
            usage["input_tokens_details"] = {"text_tokens": text, "image_tokens": image}
        if self.options["output_details"]:
            usage["output_tokens_details"] = {"text_tokens": 0, "image_tokens": output}
        return {"usage": {**usage, **self.options["usage"]}}


_IN_STREAM = {
    "type": "image_generation_user_error",
    "code": "moderation_blocked",
    "message": "Your request was rejected by the safety system.",
    "param": None,
    "moderation_details": {"moderation_stage": "output", "categories": ["violence"]},
}


def _lines(event: str, data: dict[str, Any]) -> str:
    return f"event: {event}\ndata: {json.dumps(data)}\n\n"
