"""What the server for Gemini answers when it does not do what it was asked to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.responses import JSONResponse, Response

TYPES = "type.googleapis.com/google.rpc"

Json = dict[str, Any]


def problem(code: int, status: str, message: str, *details: Json) -> Response:
    """An error in Google's shape."""
    error: Json = {"code": code, "message": message, "status": status}
    if details:
        error["details"] = list(details)
    return JSONResponse({"error": error}, code)


def bad_request(message: str) -> Response:
    """What is wrong with the request itself."""
    return problem(400, "INVALID_ARGUMENT", message)


def _api_key_invalid() -> Response:
    return problem(
        400,
        "INVALID_ARGUMENT",
        "API key not valid. Please pass a valid API key.",
        {
            "@type": f"{TYPES}.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": "generativelanguage.googleapis.com"},
        },
        {
            "@type": f"{TYPES}.LocalizedMessage",
            "locale": "en-US",
            "message": "API key not valid. Please pass a valid API key.",
        },
    )


def _exhausted(quota_id: str, limit: int, retry: str | None) -> Response:
    metric = "generativelanguage.googleapis.com/generate_content_requests"
    model = "gemini-nano-banana-2.1"
    violation = {
        "quotaMetric": metric,
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": model},
    }
    if limit:
        violation["quotaValue"] = str(limit)
    details: list[Json] = [
        {"@type": f"{TYPES}.QuotaFailure", "violations": [violation]},
        {"@type": f"{TYPES}.Help", "links": [{"description": "Learn more", "url": "https://x"}]},
    ]
    if retry:
        details.append({"@type": f"{TYPES}.RetryInfo", "retryDelay": retry})
    message = (
        "You exceeded your current quota, please check your plan and billing details.\n"
        f"* Quota exceeded for metric: {metric}, limit: {limit}, model: {model}"
    )
    return problem(429, "RESOURCE_EXHAUSTED", message, *details)


def _page(status: int, charset: str) -> Response:
    """What something in between says, in its own alphabet."""
    page = "<h1>Mauvaise passerelle, désolé</h1>"
    return Response(page.encode(charset), status, media_type="text/html")


PER_MINUTE = "GenerateRequestsPerMinutePerProjectPerModel"
PER_DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"

ERRORS: dict[str, Callable[[], Response]] = {
    "rate_limited": partial(_exhausted, PER_MINUTE, 10, "34s"),
    "rate_limited_briefly": partial(_exhausted, PER_MINUTE, 10, "0.074824224s"),
    "rate_limited_silently": partial(problem, 429, "RESOURCE_EXHAUSTED", "Resource exhausted."),
    "quota_of_the_day": partial(_exhausted, PER_DAY, 100, "34s"),
    "quota_of_zero": partial(_exhausted, PER_MINUTE + "-FreeTier", 0, "34s"),
    "no_credit": partial(
        problem, 429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted. Please top up."
    ),
    "invalid_argument": partial(bad_request, "Request contains an invalid argument."),
    "api_key_invalid": _api_key_invalid,
    "location_refused": partial(
        problem, 400, "FAILED_PRECONDITION", "User location is not supported for the API use."
    ),
    "permission_denied": partial(
        problem, 403, "PERMISSION_DENIED", "The caller does not have permission"
    ),
    "not_found": partial(problem, 404, "NOT_FOUND", "Requested entity was not found."),
    "internal": partial(problem, 500, "INTERNAL", "An internal error has occurred. Please retry."),
    "unavailable": partial(
        problem, 503, "UNAVAILABLE", "The model is overloaded. Please try again later."
    ),
    "deadline_exceeded": partial(
        problem, 504, "DEADLINE_EXCEEDED", "The request timed out. Please try again."
    ),
    "bad_gateway": partial(_page, 502, "utf-8"),
    "bad_gateway_in_latin": partial(_page, 502, "latin-1"),
    "gateway_timeout": partial(_page, 504, "utf-8"),
    "gateway_timeout_in_latin": partial(_page, 504, "latin-1"),
    "request_timeout": partial(_page, 408, "utf-8"),
    "origin_timeout": partial(_page, 524, "utf-8"),
    "problem_without_end": partial(Response, b"[" * 200_000, 500),
    "moved": partial(
        Response, b"", 307, {"location": "/v1beta/models/gemini-3-pro-image:generateContent"}
    ),
    "no_content": partial(Response, b"", 204),
}
