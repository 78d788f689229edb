"""What every error of OpenAI's SDK, and of what it stands on, comes to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta

import anyio
import httpx2
import openai
from pydantic import BaseModel, ValidationError

from application.ports.providers import CallFailedError, OutcomeUnknownError
from domain.failure import Failure, FailureKind
from infrastructure.retry_after import LONGEST_WISH, seconds_of, wait_of

OUT_OF_FUNDS = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
REFUSED = ("moderation_blocked", "content_policy_violation")
OF_THE_ACCOUNT = ("unsupported_country_region_territory", "ip_not_authorized")
NOTHING_SENT = (
    *(httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout),
    httpx2.ProxyError,
)
NEVER_SENT = (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError)  # for our key or address
GATEWAY_GAVE_UP = (408, 504, 524)

BY_STATUS: dict[int, FailureKind] = {
    401: "misconfigured",
    403: "misconfigured",
    404: "misconfigured",
    408: "unavailable",
    409: "unavailable",  # a lock that somebody else holds for now
    425: "unavailable",
    429: "rate_limited",
}
BY_HUNDREDS: dict[int, FailureKind] = {
    3: "misconfigured",  # sent elsewhere: the address is not OpenAI's
    4: "invalid_request",
    5: "unavailable",
}
MESSAGES: dict[FailureKind, str] = {
    "moderation_input": "OpenAI refused the prompt or a reference image.",
    "moderation_output": "OpenAI withheld the finished picture.",
    "no_image": "OpenAI answered without a picture.",
    "invalid_request": "OpenAI refused the request as invalid.",
    "rate_limited": "OpenAI accepts no more requests for now.",
    "out_of_funds": "The credit at OpenAI is used up, or its limit is reached.",
    "misconfigured": "OpenAI refused our key, our account or the model.",
    "unavailable": "OpenAI could not serve the request.",
}
NOT_THERE = "OpenAI makes no pictures at this address: check OPENAI_BASE_URL."
NOT_ASKED = "OpenAI could not be asked: check OPENAI_API_KEY and OPENAI_BASE_URL."

_DURATION = re.compile(r"([0-9.]+)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


# OSError and EndOfStream come through where a body is read: the SDK maps them only before that.
SDK_ERRORS = (
    *(openai.OpenAIError, httpx2.HTTPError),
    *(OSError, anyio.EndOfStream, UnicodeEncodeError),
)
SdkError = openai.OpenAIError | httpx2.HTTPError | OSError | anyio.EndOfStream | UnicodeEncodeError


class _Own(BaseModel):
    """What OpenAI says itself, when it refuses: whoever stands before it words errors otherwise."""

    error: dict[str, object]


def error_of(error: SdkError) -> CallFailedError | OutcomeUnknownError:
    """What our port says instead. Nothing of the error's own text is in it."""
    if isinstance(error, openai.APIStatusError):
        return _of_answer(error)
    if isinstance(error, openai.APIConnectionError):
        return _of_connection(error.__cause__ or error)
    if isinstance(error, openai.APIResponseValidationError):
        return CallFailedError(_failure("no_image"))
    if isinstance(error, openai.APIError):
        return OutcomeUnknownError("OpenAI's answer could not be understood.")
    if isinstance(error, UnicodeEncodeError):  # the words, or a header, as our key is in
        return CallFailedError(_unspeakable(error))
    if isinstance(error, openai.OpenAIError):  # the SDK could not even ask, as for want of a key
        return CallFailedError(_failure("misconfigured", NOT_ASKED))
    return _of_connection(error)


def _unspeakable(error: UnicodeEncodeError) -> Failure:
    if error.encoding == "ascii":
        return _failure("misconfigured", NOT_ASKED)
    return _failure("invalid_request")


def _of_connection(cause: BaseException) -> CallFailedError | OutcomeUnknownError:
    name = type(cause).__name__
    if isinstance(cause, NOTHING_SENT):
        message = f"OpenAI could not be reached ({name}): check the network and OPENAI_BASE_URL."
        return CallFailedError(_failure("unavailable", message))
    if isinstance(cause, (*NEVER_SENT, httpx2.TooManyRedirects)):
        return CallFailedError(_failure("misconfigured", NOT_ASKED))
    return OutcomeUnknownError(f"The connection to OpenAI failed after the request ({name}).")


def _of_answer(error: openai.APIStatusError) -> CallFailedError | OutcomeUnknownError:
    if error.status_code in GATEWAY_GAVE_UP and not _is_openais_own(error):
        return OutcomeUnknownError(
            f"A gateway before OpenAI gave up waiting (HTTP {error.status_code})."
        )
    kind, of_model = _kind(error, error.status_code)
    failure = _failure(
        kind,
        NOT_THERE if _is_elsewhere(error) else None,
        of_model=of_model,
        retry_after=_retry_after(error.response.headers),
    )
    return CallFailedError(failure, provider_request_id=error.request_id)


def _is_elsewhere(error: openai.APIStatusError) -> bool:
    """OpenAI's own 404 is about a model, whatever its code."""
    if error.status_code == 404:
        return not _is_openais_own(error)
    return error.status_code // 100 == 3


def _is_openais_own(error: openai.APIStatusError) -> bool:
    try:
        _Own.model_validate_json(error.response.content)
    except ValidationError:
        return False
    return True


def _failure(
    kind: FailureKind,
    message: str | None = None,
    *,
    of_model: bool = False,
    retry_after: timedelta | None = None,
) -> Failure:
    message = message or MESSAGES[kind]
    return Failure(kind=kind, message=message, retry_after=retry_after, of_model=of_model)


def _kind(error: openai.APIStatusError, status: int) -> tuple[FailureKind, bool]:
    """By code and parameter, never by `type`: that is the same for what is worlds apart.

    True if only the model is in trouble.
    """
    if error.code in REFUSED:
        return _stage(error), False
    if error.code in OUT_OF_FUNDS:
        return "out_of_funds", False
    if error.code == "model_not_found" or (error.code, error.param) == ("invalid_value", "model"):
        return "misconfigured", True
    kind = BY_STATUS.get(status) or BY_HUNDREDS.get(status // 100, "unavailable")
    return kind, status == 403 and error.code not in OF_THE_ACCOUNT


def _stage(error: openai.APIStatusError) -> FailureKind:
    if error.code == "content_policy_violation":
        return "moderation_input"
    body = error.body if isinstance(error.body, Mapping) else {}
    details = body.get("moderation_details")
    stage = details.get("moderation_stage") if isinstance(details, Mapping) else None
    return "moderation_input" if stage == "input" else "moderation_output"


# --- how long to wait ----------------------------------------------------------------------------


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """What the answer asks for, at most an hour: in so many words, or by what is used up.

    None is also what asks for no wait at all.
    """
    if milliseconds := seconds_of(headers.get("retry-after-ms"), 0.001):
        return timedelta(seconds=milliseconds)
    if (wait := wait_of(headers)) is not None:
        return wait
    reset = min(_reset(headers) or 0.0, LONGEST_WISH.total_seconds())
    return timedelta(seconds=reset) if reset else None


def _reset(headers: Mapping[str, str]) -> float | None:
    """When the last of the limits is reset that nothing remains of."""
    waits = [
        _duration(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens", "input-images")
        if headers.get(f"x-ratelimit-remaining-{what}") == "0"
    ]
    return max(waits, default=None)


def _duration(text: str) -> float:
    """Seconds of what looks like `6m0s` or `120ms`."""
    found = _DURATION.findall(text)
    return sum(seconds_of(amount, _SECONDS[unit]) or 0.0 for amount, unit in found)
