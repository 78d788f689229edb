"""Every error that a client can see, in one table, answered as RFC 9457 problem details."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from application.generations import ClockUncertainError, IdempotencyKeyReusedError
from application.ports import (
    ImageNotFoundError,
    ImageStoreUnavailableError,
    StoreBusyError,
    StoreUnavailableError,
)
from application.references import UnusableReferencesError
from application.routing import NoProviderError
from domain.generation import GenerationClosedError, GenerationOpenError
from domain.quota import QuotaExceededError
from interfaces.rest.context import container_of, request_id
from interfaces.rest.errors import (
    AcceptedUnreadableError,
    BodyTooLargeError,
    CursorRefusedError,
    DeadlinePassedError,
    GenerationCancelledError,
    HeadTooLargeError,
    MalformedBodyError,
    MalformedIdempotencyKeyError,
    Mistake,
    ModerationRefusedError,
    NotAuthenticatedError,
    NotFoundError,
    NotJsonError,
    OfGenerationError,
    ProviderFailedError,
    RangeNotSatisfiableError,
    RequestError,
    RequestRefusedError,
    RequestTimeoutError,
    ShapeError,
    UnreadableRequestError,
)
from interfaces.rest.representation import location
from interfaces.rest.sentences import NO_SUCH_PARAMETER, sentence

log = logging.getLogger(__name__)

RETRY_AFTER = 2  # seconds until it is worth asking again
PROBLEM_JSON = "application/problem+json"
IANA = "https://iana.org/assignments/http-problem-types#"


@dataclass(frozen=True)
class ProblemType:
    """A kind of error. `code` never changes, and neither does `type`, which is made of it."""

    status: int
    code: str
    title: str
    iana: bool = False

    @property
    def type(self) -> str:
        """The URI that identifies it."""
        return f"{IANA}{self.code}" if self.iana else f"/problems/{self.code}"


# --- the table -----------------------------------------------------------------------------------

NOT_FOUND = ProblemType(404, "not-found", "Not found")
INVALID = ProblemType(422, "invalid-request", "The request is not as it must be")
INTERNAL = ProblemType(500, "internal-error", "Something unexpected happened here")
BUSY = ProblemType(503, "temporary-reduced-capacity", "The service is not available", iana=True)

PROBLEMS: Mapping[type[Exception], ProblemType] = {
    # the business
    NoProviderError: ProblemType(422, "no-provider", "No provider can do this"),
    UnusableReferencesError: ProblemType(
        422, "unusable-reference-image", "A reference image cannot be used"
    ),
    QuotaExceededError: ProblemType(429, "quota-exceeded", "The quota is used up", iana=True),
    IdempotencyKeyReusedError: ProblemType(
        422, "idempotency-key-reused", "The Idempotency-Key belongs to another request"
    ),
    GenerationClosedError: ProblemType(
        409, "generation-closed", "The generation is in a final state"
    ),
    GenerationOpenError: ProblemType(
        409, "generation-open", "The generation is not in a final state"
    ),
    ModerationRefusedError: ProblemType(
        422, "moderation-refused", "The provider's safety rules refused it"
    ),
    RequestRefusedError: ProblemType(
        422, "request-refused", "The request cannot be fulfilled as it stands"
    ),
    ProviderFailedError: ProblemType(502, "provider-failed", "The provider made no picture"),
    DeadlinePassedError: ProblemType(504, "deadline-passed", "The picture was not made in time"),
    GenerationCancelledError: ProblemType(
        409, "generation-cancelled", "The generation was cancelled"
    ),
    ImageNotFoundError: NOT_FOUND,
    # capacity
    StoreUnavailableError: BUSY,
    StoreBusyError: BUSY,
    AcceptedUnreadableError: BUSY,
    ClockUncertainError: BUSY,
    ImageStoreUnavailableError: BUSY,
    # HTTP and JSON
    NotAuthenticatedError: ProblemType(401, "not-authenticated", "An API key is needed"),
    NotFoundError: NOT_FOUND,
    UnreadableRequestError: ProblemType(
        400, "unreadable-request", "The request cannot be read as HTTP"
    ),
    HeadTooLargeError: ProblemType(431, "head-too-large", "The headers are too large"),
    RequestTimeoutError: ProblemType(408, "request-timeout", "The request did not come in time"),
    RangeNotSatisfiableError: ProblemType(
        416, "range-not-satisfiable", "The range cannot be served"
    ),
    BodyTooLargeError: ProblemType(413, "body-too-large", "The body is too large"),
    NotJsonError: ProblemType(415, "not-json", "The body must be JSON"),
    MalformedBodyError: ProblemType(400, "malformed-body", "The body cannot be read"),
    ShapeError: INVALID,
    RequestValidationError: INVALID,
    CursorRefusedError: ProblemType(400, "cursor-refused", "The cursor is not valid"),
    MalformedIdempotencyKeyError: ProblemType(
        400, "idempotency-key-malformed", "The Idempotency-Key is malformed"
    ),
}

OF_HTTP: Mapping[int, ProblemType] = {
    404: NOT_FOUND,
    405: ProblemType(405, "method-not-allowed", "This method is not offered here"),
}


def problem_type(error: Exception) -> ProblemType:
    """Its row, or that of the nearest class it descends from."""
    if isinstance(error, HTTPException):
        return OF_HTTP.get(
            error.status_code, ProblemType(error.status_code, "http-error", str(error.detail))
        )
    rows = (PROBLEMS[cls] for cls in type(error).__mro__ if cls in PROBLEMS)
    return next(rows, INTERNAL)


# --- the answer ----------------------------------------------------------------------------------


@dataclass
class _Answer:
    detail: str
    members: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


async def problem(request: Request, error: Exception) -> Response:
    """The handler of every exception."""
    kind = problem_type(error)
    request.scope["state"]["problem"] = kind.code
    if kind.status == BUSY.status:
        log.warning("%s", error)
    answer = _answer(error, now=container_of(request).store().now)
    if kind.status == 405:
        answer.headers["Allow"] = _allowed(request)
    body = to_problem(
        kind,
        answer.detail,
        request_id=request_id(request.scope),
        instance=uri_reference(request.scope["raw_path"]),
        **answer.members,
    )
    return Response(body, kind.status, answer.headers, media_type=PROBLEM_JSON)


def to_problem(kind: ProblemType, detail: str, *, request_id: str, **members: Any) -> bytes:
    """The body of an answer, as RFC 9457 has it."""
    return to_json(
        {
            "type": kind.type,
            "title": kind.title,
            "status": kind.status,
            "detail": detail,
            "code": kind.code,
            "requestId": request_id,
            **members,
        }
    )


def uri_reference(raw_path: bytes) -> str:
    """What was asked for, as RFC 3986 writes a path: what was sent can be anything."""
    path = quote(raw_path, safe="/%:@!$&'()*+,;=~")
    path = re.sub("%(?![0-9A-Fa-f]{2})", "%25", path)
    return f"/.{path}" if path.startswith("//") else path  # two slashes would name a host


def _allowed(request: Request) -> str:
    """The methods of every route with this path."""
    routes = request.app.routes
    return ", ".join(
        method
        for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
        if any(_matches(route, {**request.scope, "method": method}) for route in routes)
    )


def _matches(route: BaseRoute, scope: Scope) -> bool:
    return route.matches(scope)[0] is Match.FULL


def _answer(error: Exception, *, now: Callable[[], datetime]) -> _Answer:
    if isinstance(error, QuotaExceededError):
        windows = {"violated-policies": [error.window.type]}
        if error.never_fits:
            return _Answer(str(error), windows)
        seconds = seconds_until(error.window.ends_at, now())
        return _Answer(str(error), windows, {"Retry-After": f"{seconds}"})
    if isinstance(error, OfGenerationError):
        headers = {"Location": location(error.generation_id), **error.headers}
        if isinstance(error, AcceptedUnreadableError):
            headers["Retry-After"] = f"{RETRY_AFTER}"
        return _Answer(str(error), {"generationId": error.generation_id}, headers)
    if isinstance(error, HTTPException):
        return _Answer(_SENTENCES.get(error.status_code, ""), headers=dict(error.headers or {}))
    if problem_type(error) is BUSY:
        return _Answer(str(error), headers={"Retry-After": f"{RETRY_AFTER}"})
    if problem_type(error) is INTERNAL:
        return _Answer("It was logged under this requestId. Try again; tell us if it stays so.")
    return _of_mistakes(error)


def _of_mistakes(error: Exception) -> _Answer:
    match error:
        case UnusableReferencesError(reasons=reasons):
            return _Answer(str(error), _errors(_reference_mistakes(reasons)))
        case RequestValidationError():
            return _Answer("Some parameters are not as they must be.", _errors(_parameters(error)))
        case RequestError(mistakes=mistakes, headers=headers):
            return _Answer(str(error), _errors(mistakes), dict(headers))
    return _Answer(str(error))


_SENTENCES = {
    404: NotFoundError.sentence,
    405: "The header Allow names the methods that are.",
}


def seconds_until(moment: datetime, now: datetime) -> int:
    """Whole seconds, never too few."""
    return max(1, math.ceil((moment - now).total_seconds()))


def _reference_mistakes(reasons: Mapping[int, str]) -> list[Mistake]:
    return [Mistake(reason, pointer=f"#/referenceImages/{i}") for i, reason in reasons.items()]


def _parameters(error: RequestValidationError) -> list[Mistake]:
    return [
        Mistake(sentence(e, "It", unknown=NO_SUCH_PARAMETER), parameter=str(e["loc"][-1]))
        for e in error.errors()
    ]


def _errors(mistakes: Sequence[Mistake]) -> dict[str, Any]:
    if not mistakes:
        return {}
    told = [
        {name: value for name, value in vars(mistake).items() if value is not None}
        for mistake in mistakes
    ]
    return {"errors": told}
