"""Every error that OpenAI's image routes answer, by the name of the fault that brings it about."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)

from tests.servers.protocol import Seen

USER_ERROR = "image_generation_user_error"
BAD_REQUEST = "invalid_request_error"
PROXY_PAGE = (
    "<html><head><title>{status}</title></head><body><h1>{status}</h1><hr>nginx</body></html>"
)


@dataclass(eq=False)
class RefusedError(Exception):
    """An error as OpenAI words it; `{prompt}` in a message is the caller's, `{key}` what he sent.

    The real one does quote both at times: nobody may show its text to a user.
    """

    status: int
    message: str
    type: str
    code: str | None = None
    param: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, *, prompt: str = "", key: str = "") -> Response:
        """The answer that carries it."""
        message = self.message.replace("{prompt}", prompt).replace("{key}", key)
        error = {
            "message": message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
            **self.more,
        }
        return JSONResponse({"error": error}, self.status, headers=dict(self.headers))


def unknown_parameter(name: str) -> RefusedError:
    """There is no such field, or the model has none."""
    return RefusedError(
        400, f"Unknown parameter: '{name}'.", BAD_REQUEST, "unknown_parameter", name
    )


def missing(name: str) -> RefusedError:
    """A field that has to be there is not."""
    return RefusedError(
        400,
        f"Missing required parameter: '{name}'.",
        BAD_REQUEST,
        "missing_required_parameter",
        name,
    )


def wrong_type(name: str, expected: str, got: object) -> RefusedError:
    """A field is of another JSON type."""
    message = f"Invalid type for '{name}': expected {expected}, but got {_kind(got)} instead."
    return RefusedError(400, message, BAD_REQUEST, "invalid_type", name)


def invalid_value(name: str, got: object, supported: str) -> RefusedError:
    """A field has a value that is not supported."""
    return RefusedError(
        400,
        f"Invalid value: '{got}'. Supported values are: {supported}.",
        USER_ERROR,
        "invalid_value",
        name,
    )


def refused(name: str, message: str, code: str | None = None) -> RefusedError:
    """Something else is wrong with a field."""
    return RefusedError(400, message, BAD_REQUEST, code, name)


def duplicate(name: str) -> RefusedError:
    """A field comes twice that may come once."""
    return refused(
        name,
        f"Duplicate parameter: '{name}'. You provided multiple values for this parameter, whereas "
        "only one is allowed. If you are trying to provide a list of values, use the array syntax "
        f"instead e.g. '{name}[]=<value>'.",
        "duplicate_parameter",
    )


def retired(model: str) -> RefusedError:
    """The model was there once."""
    message = f"The model '{model}' has been retired. Use a GPT image model instead."
    return RefusedError(400, message, USER_ERROR, "invalid_value", "model")


def unverified(model: str) -> RefusedError:
    """The organization has not shown who it is, which this model asks for."""
    return RefusedError(
        403,
        f"Your organization must be verified to use the model `{model}`. Please go to: "
        "https://platform.openai.com/settings/organization/general and click on Verify "
        "Organization.",
        BAD_REQUEST,
    )


NO_KEY = RefusedError(
    401,
    "You didn't provide an API key. You need to provide your API key in an Authorization header "
    "using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
    BAD_REQUEST,
)
WRONG_KEY = RefusedError(
    401,
    "Incorrect API key provided: {key}. You can find your API key at "
    "https://platform.openai.com/account/api-keys.",
    BAD_REQUEST,
    "invalid_api_key",
)


def _kind(value: object) -> str:
    kinds = {bool: "a boolean", int: "an integer", float: "a decimal", str: "a string"}
    return kinds.get(type(value), "an array" if isinstance(value, list) else "an object")


def _moderation(stage: str | None) -> RefusedError:
    details = {"moderation_stage": stage, "categories": ["violence"]}
    return RefusedError(
        400,
        "Your request was rejected by the safety system. If you believe this is an error, contact "
        f"us at help.openai.com and include the request ID req_{uuid4().hex}. "
        "safety_violations=[violence]. The prompt was: {prompt}",
        USER_ERROR,
        "moderation_blocked",
        more={"moderation_details": details} if stage else {},
    )


def _rate_limit(kind: str, headers: Mapping[str, str]) -> RefusedError:
    return RefusedError(
        429,
        f"Rate limit reached for gpt-image-2 in organization org-test on {kind} per min: "
        "Limit 5, Used 5, Requested 1.",
        kind,
        "rate_limit_exceeded",
        headers=headers,
    )


_LIMIT, _REMAINING, _RESET = (
    f"x-ratelimit-{what}-input-images" for what in ("limit", "remaining", "reset")
)

REFUSALS: dict[str, RefusedError] = {
    "moderation_input": _moderation("input"),
    "moderation_output": _moderation("output"),
    "moderation_unknown": _moderation("unknown"),
    "moderation_without_stage": _moderation(None),
    "insufficient_quota": RefusedError(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
    ),
    "billing_hard_limit_reached": RefusedError(
        400,
        "Billing hard limit has been reached.",
        "image_generation_user_error",
        "billing_hard_limit_reached",
    ),
    "rate_limit_exceeded": _rate_limit("requests", {"retry-after": "7", "retry-after-ms": "6500"}),
    "rate_limit_in_seconds": _rate_limit("tokens", {"retry-after": "20"}),
    "rate_limit_by_reset": _rate_limit(
        "input-images", {_LIMIT: "5", _REMAINING: "0", _RESET: "1m12s"}
    ),
    "rate_limit_without_wait": _rate_limit("requests", {}),
    "invalid_api_key": WRONG_KEY,
    "unverified_organization": unverified("gpt-image-2.6-sunburst"),
    "unsupported_country": RefusedError(
        403,
        "Country, region, or territory not supported",
        "request_forbidden",
        "unsupported_country_region_territory",
    ),
    "retired_model": retired("gpt-image-1"),
    "no_such_model": RefusedError(
        404,
        "The model `gpt-image-9` does not exist or you do not have access to it.",
        BAD_REQUEST,
        "model_not_found",
    ),
    "no_such_route": RefusedError(404, "Invalid URL (POST /v2/images)", BAD_REQUEST),
    "bad_size": invalid_value("size", "7x7", "'1024x1024' and 'auto'"),
    "conflict": RefusedError(409, "The resource is locked.", BAD_REQUEST),
    "too_large": RefusedError(413, "The request body is too large.", BAD_REQUEST),
    "unprocessable": RefusedError(422, "Unprocessable: {prompt}", BAD_REQUEST),
    "server_error": RefusedError(
        500,
        "The server had an error while processing your request. Sorry about that!",
        "server_error",
        "server_error",
    ),
    "overloaded": RefusedError(
        503,
        "The engine is currently overloaded, please try again later.",
        "server_error",
        headers={"retry-after": "3"},
    ),
}

PROXY_PAGES = {
    "bad_gateway": "502 Bad Gateway",
    "request_timeout": "408 Request Time-out",
    "gateway_timeout": "504 Gateway Time-out",
    "proxy_timeout": "524 A timeout occurred",
    "too_large_for_proxy": "413 Request Entity Too Large",
    "login_page": "200 Please log in",
}
"""Somebody between us and OpenAI answers, in HTML."""
GATEWAY_TIMEOUT_IN_JSON = "gateway_timeout_in_json"
MOVED = {"moved": 302, "moved_elsewhere": 307}
"""Sent there again, or to another host, which is this server by another name."""
FLOOD = "flood"
FLOOD_BYTES = 256 * 1024 * 1024


def error_answer(fault: str | None, *, prompt: str, key: str) -> Response | None:
    """What is answered instead of a picture; None when the fault is none of these."""
    if fault in REFUSALS:
        return REFUSALS[fault].answer(prompt=prompt, key=key)
    if fault in PROXY_PAGES:
        status = PROXY_PAGES[fault]
        return HTMLResponse(PROXY_PAGE.format(status=status), int(status[:3]))
    if fault == GATEWAY_TIMEOUT_IN_JSON:
        return JSONResponse({"message": "Endpoint request timed out"}, 504)
    return None


def moved(fault: str, request: Request) -> Response:
    """Not here: whoever follows is seen a second time."""
    url = request.url.replace(hostname="localhost") if fault == "moved_elsewhere" else request.url
    return RedirectResponse(url, MOVED[fault])


def flood(noted: Seen) -> Response:
    """A refusal of 256 MB; `flood` among the facts is how much of it was taken."""

    async def body() -> AsyncIterator[bytes]:
        noted.facts["flood"] = 0
        while noted.facts["flood"] < FLOOD_BYTES:
            yield b"x" * 65_536
            noted.facts["flood"] += 65_536

    return StreamingResponse(body(), 400, media_type="application/json")
