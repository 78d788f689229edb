"""What becomes of a call to Stability AI that brings no picture, by status, name or exception."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import anyio
import httpx
from pydantic_core import from_json

from application.ports.providers import CallFailedError, OutcomeUnknownError
from domain.failure import Failure, FailureKind
from infrastructure.retry_after import wait_of

TIMED_OUT_FOR = timedelta(seconds=60)  # after 150 requests within ten seconds
IDENTITY = re.compile(r"[A-Za-z0-9_-]{1,64}")

BY_NAME: Mapping[str, FailureKind] = {
    "content_moderation": "moderation_input",
    "public_figure": "moderation_input",
    "invalid_language": "invalid_request",
}
BY_STATUS: Mapping[int, FailureKind] = {
    400: "invalid_request",
    401: "misconfigured",
    402: "out_of_funds",
    403: "misconfigured",
    404: "misconfigured",
    408: "unavailable",
    413: "invalid_request",
    422: "invalid_request",
    429: "rate_limited",
}
BY_HUNDRED: Mapping[int, FailureKind] = {
    2: "no_image",
    3: "misconfigured",
    4: "invalid_request",
    5: "unavailable",
}
GATEWAY_TIMED_OUT = (408, 504, 524)
"""Somebody on the way gave up waiting, while Stability goes on, unless it says so itself."""

SENTENCES: Mapping[FailureKind, str] = {
    "moderation_input": "Stability's safety rules refused the prompt or the reference image",
    "invalid_request": "Stability refused the request",
    "misconfigured": "Stability refused the key, the model or the address",
    "out_of_funds": "Stability's credits are used up",
    "rate_limited": "Stability takes no more requests for a minute",
    "unavailable": "Stability is not available",
    "no_image": "Stability answered without a picture",
}

NOTHING_WAS_SENT: Mapping[type[Exception], FailureKind] = {
    httpx.ConnectError: "unavailable",
    httpx.ConnectTimeout: "unavailable",
    httpx.PoolTimeout: "unavailable",
    httpx.ProxyError: "unavailable",
    httpx.UnsupportedProtocol: "misconfigured",
    httpx.LocalProtocolError: "misconfigured",  # such as a key that no header can hold
}
BROKEN_OFF = (httpx.HTTPError, OSError, anyio.EndOfStream)
"""The last two are what httpx lets through, such as a bad record of TLS."""
BrokenOff = httpx.HTTPError | OSError | anyio.EndOfStream


@dataclass(frozen=True)
class _Said:
    """The body of a refusal. Its texts are never repeated: some echo parts of the key."""

    id: str = ""
    name: str = ""
    blames_model: bool = False


def broken_off(error: BrokenOff) -> CallFailedError | OutcomeUnknownError:
    """What a call comes to that brought no whole answer."""
    what = type(error).__name__
    if type(error) not in NOTHING_WAS_SENT:
        return OutcomeUnknownError(f"The connection to Stability was lost: {what}.")
    kind = NOTHING_WAS_SENT[type(error)]
    message = f"No connection to Stability could be made: {what}."
    return CallFailedError(Failure(kind=kind, message=message))


def refused(response: httpx.Response, body: bytes) -> CallFailedError | OutcomeUnknownError:
    """What an answer comes to that is not a 200."""
    said, status = _said(body), response.status_code
    if status in GATEWAY_TIMED_OUT and not said.name:
        return OutcomeUnknownError(f"A gateway before Stability stopped waiting: HTTP {status}.")
    kind = BY_NAME.get(said.name) or BY_STATUS.get(status) or _by_hundred(status)
    of_model = status == 404 or (status == 400 and said.blames_model)
    if of_model:
        kind = "misconfigured"
    failure = Failure(
        kind=kind,
        message=f"{SENTENCES[kind]}: HTTP {status}.",
        retry_after=_retry_after(response),
        of_model=of_model,
    )
    return CallFailedError(failure, provider_request_id=identity_of(response) or _clean(said.id))


def _by_hundred(status: int) -> FailureKind:
    return BY_HUNDRED.get(status // 100, "unavailable")


def identity_of(response: httpx.Response) -> str | None:
    """The provider's own name for the request."""
    return _clean(response.headers.get("x-request-id", ""))


def _said(body: bytes) -> _Said:
    try:
        told = from_json(body)
    except ValueError:
        return _Said()  # somebody on the way has answered
    if not isinstance(told, dict):
        return _Said()
    errors = told.get("errors")
    return _Said(
        id=_text(told.get("id")),
        name=_text(told.get("name")),
        blames_model=isinstance(errors, list) and any(_text(e)[:6] == "model:" for e in errors),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _clean(identity: str) -> str | None:
    return identity if IDENTITY.fullmatch(identity) else None


def _retry_after(response: httpx.Response) -> timedelta | None:
    """What the provider asks for, and after a 429 never less than the minute it lets nobody in."""
    wish = wait_of(response.headers)
    if response.status_code == 429:
        return max(wish or TIMED_OUT_FOR, TIMED_OUT_FOR)
    return wish
