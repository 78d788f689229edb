"""What each error of OpenAI's SDK, and of the HTTP client below it, comes to: none is forgotten."""

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import httpx2
import openai
import pytest

from application.ports.providers import CallFailedError, OutcomeUnknownError
from infrastructure.providers.openai_failures import SDK_ERRORS, error_of

REQUEST = httpx2.Request("POST", "https://api.openai.com/v1/images/generations")
UNKNOWN = "outcome_unknown"

BY_STATUS = {
    openai.APIStatusError: (418, "invalid_request"),
    openai.BadRequestError: (400, "invalid_request"),
    openai.AuthenticationError: (401, "misconfigured"),
    openai.OAuthError: (401, "misconfigured"),
    openai.PermissionDeniedError: (403, "misconfigured"),
    openai.NotFoundError: (404, "misconfigured"),
    openai.ConflictError: (409, "unavailable"),
    openai.UnprocessableEntityError: (422, "invalid_request"),
    openai.RateLimitError: (429, "rate_limited"),
    openai.InternalServerError: (500, "unavailable"),
}
WITHOUT_STATUS = {
    openai.OpenAIError: "misconfigured",
    openai.APIError: UNKNOWN,
    openai.APIResponseValidationError: "no_image",
    openai.APIConnectionError: UNKNOWN,
    openai.APITimeoutError: UNKNOWN,
}
OF_OTHER_USES = {  # chats, sockets, identities of machines, and mistakes of ours in using it
    "APIRemovedInV1",
    "ContentFilterFinishReasonError",
    "LengthFinishReasonError",
    "MutuallyExclusiveAuthError",
    "StreamAlreadyConsumed",
    "SubjectTokenProviderError",
    "WebSocketConnectionClosedError",
    "WebSocketQueueFullError",
    "_AmbiguousModuleClientUsageError",
}
BY_CONNECTION = {
    httpx2.HTTPError: UNKNOWN,
    httpx2.RequestError: UNKNOWN,
    httpx2.HTTPStatusError: UNKNOWN,
    httpx2.TransportError: UNKNOWN,
    httpx2.TimeoutException: UNKNOWN,
    httpx2.ConnectTimeout: "unavailable",
    httpx2.ReadTimeout: UNKNOWN,
    httpx2.WriteTimeout: UNKNOWN,
    httpx2.PoolTimeout: "unavailable",
    httpx2.NetworkError: UNKNOWN,
    httpx2.ConnectError: "unavailable",
    httpx2.ReadError: UNKNOWN,
    httpx2.WriteError: UNKNOWN,
    httpx2.CloseError: UNKNOWN,
    httpx2.ProtocolError: UNKNOWN,
    httpx2.LocalProtocolError: "misconfigured",
    httpx2.RemoteProtocolError: UNKNOWN,
    httpx2.SSEError: UNKNOWN,
    httpx2.ProxyError: "unavailable",
    httpx2.UnsupportedProtocol: "misconfigured",
    httpx2.DecodingError: UNKNOWN,
    httpx2.TooManyRedirects: "misconfigured",
}


def descendants(of: type[Any]) -> Iterator[type[Any]]:
    yield of
    for child in of.__subclasses__():
        yield from descendants(child)


def kind_of(error: Any) -> str:
    assert isinstance(error, SDK_ERRORS)
    said = error_of(error)
    return said.failure.kind if isinstance(said, CallFailedError) else UNKNOWN


def answered(status: int, error: object, headers: dict[str, str] | None = None) -> httpx2.Response:
    return httpx2.Response(status, json={"error": error}, headers=headers, request=REQUEST)


def refusal(status: int, headers: dict[str, str] | None = None, **error: Any) -> Any:
    return openai.APIStatusError(
        "quoted by nobody", response=answered(status, error, headers), body=error
    )


def page(status: int) -> Any:
    """An answer of somebody who is not OpenAI."""
    response = httpx2.Response(status, html="<h1>Nothing here</h1>", request=REQUEST)
    return openai.APIStatusError("quoted by nobody", response=response, body=None)


def failure_of(error: Any) -> Any:
    said = error_of(error)
    assert isinstance(said, CallFailedError), said
    return said.failure


def test_every_error_of_the_sdk_is_told_here() -> None:
    there_are = set(descendants(openai.OpenAIError))
    forgotten = there_are - set(BY_STATUS) - set(WITHOUT_STATUS)
    assert {error.__name__ for error in forgotten} <= OF_OTHER_USES


def test_every_error_of_the_http_client_is_told_here() -> None:
    assert set(descendants(httpx2.HTTPError)) == set(BY_CONNECTION)


@pytest.mark.parametrize("error", BY_STATUS)
def test_an_answer_with_a_status_comes_to_what_the_status_says(error: Any) -> None:
    status, kind = BY_STATUS[error]
    assert kind_of(error(response=answered(status, {}), body={}, **_message(error))) == kind


def _message(error: Any) -> dict[str, str]:
    return {} if error is openai.OAuthError else {"message": "quoted by nobody"}


def test_errors_without_a_status_are_told_apart() -> None:
    response = answered(200, {})
    made = {
        openai.OpenAIError: openai.OpenAIError("no key"),
        openai.APIError: openai.APIError("in a stream", REQUEST, body=None),
        openai.APIResponseValidationError: openai.APIResponseValidationError(response, None),
        openai.APIConnectionError: openai.APIConnectionError(request=REQUEST),
        openai.APITimeoutError: openai.APITimeoutError(REQUEST),
    }
    assert {error: kind_of(instance) for error, instance in made.items()} == WITHOUT_STATUS


@pytest.mark.parametrize("error", BY_CONNECTION)
def test_a_connection_fails_before_or_after_the_request_was_sent(error: Any) -> None:
    raw = (
        error("broken", request=REQUEST, response=answered(200, {}))
        if error is httpx2.HTTPStatusError
        else error("broken")
    )
    assert kind_of(raw) == BY_CONNECTION[error]
    wrapped = openai.APIConnectionError(request=REQUEST)
    wrapped.__cause__ = raw
    assert kind_of(wrapped) == BY_CONNECTION[error]


@pytest.mark.parametrize(
    "error", [ssl.SSLError("bad record"), OSError(5, "io"), anyio.EndOfStream()]
)
def test_what_breaks_below_the_http_client_leaves_the_outcome_unknown(error: Any) -> None:
    assert isinstance(error_of(error), OutcomeUnknownError)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, "misconfigured"),
        (400, "invalid_request"),
        (408, "unavailable"),
        (499, "invalid_request"),
        (500, "unavailable"),
        (504, "unavailable"),
        (599, "unavailable"),
    ],
)
def test_a_status_without_a_class_of_its_own_is_told_too(status: int, kind: str) -> None:
    assert kind_of(refusal(status, code=None)) == kind


@pytest.mark.parametrize(
    ("error", "settings"),
    [
        (refusal(302), ["OPENAI_BASE_URL"]),
        (page(404), ["OPENAI_BASE_URL"]),
        (refusal(404, code=None), []),
        (refusal(404, code="DeploymentNotFound"), []),
        (refusal(404, code="model_not_found"), []),
        (refusal(401), []),
        (httpx2.ConnectError("no such host"), ["OPENAI_BASE_URL"]),
        (httpx2.UnsupportedProtocol("no scheme"), ["OPENAI_API_KEY", "OPENAI_BASE_URL"]),
        (openai.OpenAIError("no key"), ["OPENAI_API_KEY", "OPENAI_BASE_URL"]),
    ],
)
def test_the_setting_to_look_at_is_named_where_openai_is_not_there(
    error: Any, settings: list[str]
) -> None:
    assert re.findall(r"OPENAI_\w+", failure_of(error).message) == settings


@pytest.mark.parametrize("status", [408, 504, 524])
@pytest.mark.parametrize("said", ["<html>", "", '{"message": "timed out"}', '{"error": "late"}'])
def test_a_gateway_that_gave_up_does_not_know_what_became_of_the_call(
    status: int, said: str
) -> None:
    page = httpx2.Response(status, text=said, request=REQUEST)
    error = openai.InternalServerError("page", response=page, body={"message": "timed out"})
    assert kind_of(error) == UNKNOWN


def test_codes_and_parameters_decide_and_the_type_does_not() -> None:
    same = {"type": "image_generation_user_error"}
    kinds = [
        kind_of(refusal(400, code="moderation_blocked", **same)),
        kind_of(refusal(400, code="billing_hard_limit_reached", **same)),
        kind_of(refusal(400, code="invalid_value", param="model", **same)),
        kind_of(refusal(400, code="invalid_value", param="size", **same)),
    ]
    assert kinds == ["moderation_output", "out_of_funds", "misconfigured", "invalid_request"]


@pytest.mark.parametrize("details", [None, [], "input", {}, {"moderation_stage": 7}])
def test_a_refusal_whose_stage_is_not_told_is_one_of_the_picture(details: object) -> None:
    error = refusal(400, code="moderation_blocked", moderation_details=details)
    assert kind_of(error) == "moderation_output"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "0"}, None),
        ({"retry-after": "3", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "-4"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e300"}, 3600),
        ({"retry-after": "soon"}, None),
        ({"x-ratelimit-reset-requests": "7s"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m1s"}, 361),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "?"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9.9.9s"}, None),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "99999d"}, 3600),
    ],
)
def test_the_wait_that_openai_asks_for_is_heard(
    headers: dict[str, str], seconds: float | None
) -> None:
    failure = failure_of(refusal(429, headers, code="rate_limit_exceeded"))
    assert failure.retry_after == (None if seconds is None else timedelta(seconds=seconds))


def test_a_wait_until_a_date_is_heard() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    waits = failure_of(refusal(429, {"retry-after": soon})).retry_after
    assert timedelta(seconds=60) < waits <= timedelta(seconds=90)
    past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    assert failure_of(refusal(429, {"retry-after": past})).retry_after is None


def test_an_answer_is_found_again_by_its_id_when_it_is_an_error_too() -> None:
    said = error_of(refusal(500, {"x-request-id": "req_1"}))
    assert isinstance(said, CallFailedError)
    assert said.provider_request_id == "req_1"
