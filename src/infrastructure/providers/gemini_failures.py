"""What became of a call that the SDK raised an error for: every class that it and httpx2 have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import anyio
import httpx2
from google.genai import errors

from application.ports.providers import CallFailedError, OutcomeUnknownError
from domain.failure import Failure, FailureKind
from infrastructure.retry_after import wait_of

LONGEST_RETRY_AFTER = timedelta(days=1)
NOTHING_LEFT = re.compile(r"limit: 0\b|credits? (are|is) depleted|spending cap", re.IGNORECASE)
NOT_THERE = "Gemini makes no pictures at this address: check GEMINI_BASE_URL."
UNKNOWN_FIELD = re.compile(r"Unknown name|Cannot find field")

Outcome = CallFailedError | OutcomeUnknownError


class AnswerTooLargeError(Exception):
    """More bytes came than any answer has."""


class AnswerEncodedError(Exception):
    """It is compressed, though nobody asked for that: a few bytes may be gigabytes."""


def outcome(error: Exception) -> Outcome:
    """What an error means for the call: looked up by its class, then by those it stands on."""
    for known in type(error).__mro__:
        if known in OUTCOMES:
            return OUTCOMES[known](error)
    raise LookupError(f"{type(error).__name__} is mapped to no outcome") from error


# --- problems that Gemini answers with -----------------------------------------------------------


def _answered(error: errors.APIError) -> Outcome:
    """By status, then by what the details say; Gemini's own words are never repeated."""
    said = _Problem(error)
    if said.code in BY_STATUS:
        return BY_STATUS[said.code](said)
    if said.code >= 500:
        return _failed("unavailable", f"Gemini answered {said.code}.")
    if said.code < 300:
        return _failed("no_image", f"Gemini answered {said.code}, without a picture.")
    if said.code < 400:
        return _failed("misconfigured", NOT_THERE)
    return _failed("invalid_request", f"Gemini refused the request with {said.code}.")


class _Problem:
    """What is read in an error answer: a status, a message, and details by their type."""

    def __init__(self, error: errors.APIError) -> None:
        self.code = error.code if isinstance(error.code, int) else 0
        self.status = error.status if isinstance(error.status, str) else ""
        self.message = error.message if isinstance(error.message, str) else ""
        self._details = error.details
        self._headers = getattr(error.response, "headers", None) or {}

    def details(self, kind: str) -> Iterator[dict[str, Any]]:
        """Those of one type, as far as they are in the shape that is known."""
        body = self._details if isinstance(self._details, dict) else {}
        stated = body.get("error")
        listed = stated.get("details") if isinstance(stated, dict) else None
        for one in listed if isinstance(listed, list) else []:
            if isinstance(one, dict) and str(one.get("@type", "")).endswith(kind):
                yield one

    @property
    def is_gemini_s(self) -> bool:
        """Whether it is in Google's shape, not from somebody in between."""
        stated = self._details.get("error") if isinstance(self._details, dict) else None
        return isinstance(stated, dict) and isinstance(stated.get("status"), str)

    @property
    def reasons(self) -> set[str]:
        """Of google.rpc.ErrorInfo."""
        return {str(one.get("reason")) for one in self.details("ErrorInfo")}

    @property
    def quotas(self) -> set[str]:
        """Names of those that are used up."""
        return {
            str(one.get("quotaId"))
            for failure in self.details("QuotaFailure")
            for one in failure.get("violations") or []
            if isinstance(one, dict)
        }

    @property
    def retry_after(self) -> timedelta | None:
        """Of google.rpc.RetryInfo, seconds as in `34s` or `0.07s`; else of the header."""
        for one in self.details("RetryInfo"):
            if delay := re.fullmatch(r"(\d{1,9}(?:\.\d+)?)s", str(one.get("retryDelay"))):
                return min(timedelta(seconds=float(delay[1])), LONGEST_RETRY_AFTER)
        return wait_of(self._headers)


def _bad_request(said: _Problem) -> Outcome:
    if said.reasons & {"API_KEY_INVALID", "API_KEY_EXPIRED"} or "API key" in said.message:
        return _failed("misconfigured", "Gemini refused the key: check GEMINI_API_KEY.")
    if UNKNOWN_FIELD.search(said.message):
        return _failed(
            "misconfigured",
            "This version of Gemini's API does not know what image models need: "
            "set GEMINI_API_VERSION to v1beta.",
        )
    if said.status == "FAILED_PRECONDITION":
        return _failed("misconfigured", "Gemini does not serve this account or place.")
    return _failed("invalid_request", "Gemini refused the request as it stands.")


def _exhausted(said: _Problem) -> Outcome:
    """A minute's quota comes back soon; a day's, or one of nothing, does not."""
    of_model = any("PerModel" in quota for quota in said.quotas)
    if any("PerDay" in quota for quota in said.quotas) or NOTHING_LEFT.search(said.message):
        return CallFailedError(
            Failure(
                kind="out_of_funds",
                message="Gemini's quota is used up for longer than it is worth to wait.",
                of_model=of_model,
            )
        )
    return CallFailedError(
        Failure(
            kind="rate_limited",
            message="Gemini accepts no more requests for now.",
            retry_after=said.retry_after,
            of_model=of_model,
        )
    )


def _no_model(said: _Problem) -> Outcome:
    if not said.is_gemini_s:
        return _failed("misconfigured", NOT_THERE)
    message = "Gemini does not have this model, or not in this version of its API."
    return CallFailedError(Failure(kind="misconfigured", message=message, of_model=True))


def _refused_key(_: _Problem) -> Outcome:
    return _failed("misconfigured", "Gemini does not permit this key to ask: check GEMINI_API_KEY.")


def _out_of_funds(_: _Problem) -> Outcome:
    return _failed("out_of_funds", "Gemini's credit is used up.")


def _unavailable(said: _Problem) -> Outcome:
    return CallFailedError(
        Failure(
            kind="unavailable",
            message=f"Gemini answered {said.code}.",
            retry_after=said.retry_after,
        )
    )


def _timed_out(said: _Problem) -> Outcome:
    """Gemini itself says so when it has given up; somebody in between only stopped waiting."""
    if said.is_gemini_s:
        return _unavailable(said)
    return OutcomeUnknownError(f"something before Gemini stopped waiting for it ({said.code})")


BY_STATUS: dict[int, Callable[[_Problem], Outcome]] = {
    400: _bad_request,
    401: _refused_key,
    402: _out_of_funds,
    403: _refused_key,
    404: _no_model,
    408: _timed_out,
    409: _unavailable,
    429: _exhausted,
    499: _unavailable,
    500: _unavailable,
    503: _unavailable,
    504: _timed_out,
    524: _timed_out,
}


# --- what happened to the connection, or to the SDK ----------------------------------------------


def _failed(kind: FailureKind, message: str) -> CallFailedError:
    return CallFailedError(Failure(kind=kind, message=message))


def _always(kind: FailureKind, message: str) -> Callable[[Exception], Outcome]:
    return lambda _: _failed(kind, message)


def _lost(error: Exception) -> Outcome:
    return OutcomeUnknownError(f"the connection to Gemini was lost ({type(error).__name__})")


_not_reached = _always(
    "unavailable", "Gemini could not be reached: check the network and GEMINI_BASE_URL."
)
_not_sent = _always(
    "misconfigured", "Gemini could not be asked: check GEMINI_API_KEY and GEMINI_BASE_URL."
)
_useless = _always("no_image", "Gemini's answer could not be read.")

OUTCOMES: dict[type[Exception], Callable[[Any], Outcome]] = {
    errors.APIError: _answered,
    errors.ClientError: _answered,
    errors.ServerError: _answered,
    errors.UnknownApiResponseError: _useless,
    errors.UnknownFunctionCallArgumentError: _useless,
    errors.UnsupportedFunctionError: _useless,
    errors.FunctionInvocationError: _useless,
    errors.ContinuationInterruptedError: _lost,
    # Nothing was sent yet:
    httpx2.ConnectError: _not_reached,
    httpx2.ConnectTimeout: _not_reached,
    httpx2.PoolTimeout: _not_reached,
    httpx2.ProxyError: _not_reached,
    httpx2.UnsupportedProtocol: _not_sent,
    httpx2.InvalidURL: _not_sent,
    httpx2.CookieConflict: _not_sent,
    httpx2.LocalProtocolError: _not_sent,
    ValueError: _not_sent,
    # Something was sent, and no whole answer came:
    httpx2.HTTPError: _lost,
    httpx2.RequestError: _lost,
    httpx2.TransportError: _lost,
    httpx2.TimeoutException: _lost,
    httpx2.NetworkError: _lost,
    httpx2.ProtocolError: _lost,
    httpx2.ReadTimeout: _lost,
    httpx2.WriteTimeout: _lost,
    httpx2.ReadError: _lost,
    httpx2.WriteError: _lost,
    httpx2.CloseError: _lost,
    httpx2.RemoteProtocolError: _lost,
    httpx2.StreamError: _lost,
    httpx2.StreamConsumed: _lost,
    httpx2.StreamClosed: _lost,
    httpx2.ResponseNotRead: _lost,
    httpx2.RequestNotRead: _lost,
    OSError: _lost,  # what httpx2 lets through, such as a bad record of TLS
    anyio.EndOfStream: _lost,
    # An answer came, and it is of no use:
    httpx2.DecodingError: _useless,
    httpx2.TooManyRedirects: _not_sent,
    httpx2.HTTPStatusError: _useless,
    httpx2.SSEError: _useless,
    AnswerTooLargeError: _useless,
    AnswerEncodedError: _useless,
    UnicodeDecodeError: _useless,
    RecursionError: _useless,  # of JSON that is nested without end
}
"""Every error that a call can end with; a test walks the classes of both libraries."""
