"""Every error that a client can see, in one table, answered as RFC 9457 problem details."""

from __future__ import annotations

import logging
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

from application.access import KeyRefusedError, SessionOverError
from application.api_keys import (
    ApiKeyNotFoundError,
    ExpiryPassedError,
    ExpiryTooFarError,
    ScopeNotGivenError,
)
from application.following import TooManyFollowersError
from application.generations import (
    ClockUncertainError,
    ContendedError,
    DeadlineTooLongError,
    GenerationNotFoundError,
)
from application.idempotency import IdempotencyKeyReusedError
from application.in_flight import TooManyOfAllError, TooManyOfUserError
from application.login_links import LinkRefusedError
from application.logins import (
    DomainNotAllowedError,
    EmailNotVerifiedError,
    LoginNotConfiguredError,
    SessionNotFoundError,
)
from application.people import LockedOutError, UserNotFoundError
from application.ports.event_store import StoreBusyError, StoreUnavailableError, UnknownEventError
from application.ports.identity import (
    CodeRefusedError,
    IdentityProviderUnavailableError,
    IdentityUnprovenError,
)
from application.ports.images import (
    ImageKeyRefusedError,
    ImageNotFoundError,
    ImageStoreUnavailableError,
    ObjectTooLargeError,
)
from application.ports.webhooks import InsecureAddressError, WebhooksOffError
from application.providers import ProviderNotFoundError
from application.rate_limits import RateLimitedError
from application.references import TooManyReferencesError
from application.references_together import Place, UnusableReferencesError
from application.routing import NoProviderError
from application.webhooks import DeliveryNotFoundError, EndpointRemovedError
from domain.delivery import TooManyResendsError
from domain.generation import GenerationClosedError, GenerationOpenError
from domain.quota import LimitRefusedError, QuotaExceededError
from domain.user import LinkUsedError, SuspendedError
from domain.webhook import (
    EndpointDisabledError,
    EndpointNotFoundError,
    TooManyDecisionsError,
    TooManyEndpointsError,
)
from interfaces.rest import problem_types as kinds
from interfaces.rest.bursts import bursts
from interfaces.rest.carried import TooMuchCarriedError
from interfaces.rest.context import container_of, request_id
from interfaces.rest.errors import (
    AcceptedUnreadableError,
    BodyTooLargeError,
    CursorRefusedError,
    DeadlinePassedError,
    EventIdRefusedError,
    GenerationCancelledError,
    HeadTooLargeError,
    LoginCancelledError,
    LoginNotBegunError,
    LoginRefusedError,
    MalformedBodyError,
    MalformedIdempotencyKeyError,
    MediaTypeError,
    Mistake,
    ModerationRefusedError,
    NoRoomForUploadError,
    NotAllowedError,
    NotAuthenticatedError,
    NotFoundError,
    NotInPersonError,
    NotWaitedForError,
    OfGenerationError,
    OtherSiteError,
    ProcessEndsError,
    ProviderFailedError,
    RangeNotSatisfiableError,
    RequestError,
    RequestRefusedError,
    RequestTimeoutError,
    ShapeError,
    TooManyConnectionsError,
    TooMuchInFlightError,
    UnreadableRequestError,
)
from interfaces.rest.problem_types import PROBLEM_JSON, ProblemType
from interfaces.rest.rate_limit import rate_limit, seconds_until
from interfaces.rest.representation import location
from interfaces.rest.sentences import NO_SUCH_PARAMETER, sentence

log = logging.getLogger(__name__)

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="darkroom"'}
INVALID_TOKEN = {"WWW-Authenticate": 'Bearer realm="darkroom", error="invalid_token"'}
RETRY_AFTER = 2  # seconds until it is worth asking again
IN_FLIGHT = "in-flight"  # the policy that bounds a user's generations, beside the quota's windows

# --- which error is of which kind ----------------------------------------------------------------

PROBLEMS: Mapping[type[Exception], ProblemType] = {
    # the business
    NoProviderError: kinds.NO_PROVIDER,
    UnusableReferencesError: kinds.UNUSABLE_REFERENCE_IMAGE,
    DeadlineTooLongError: kinds.DEADLINE_TOO_LONG,
    QuotaExceededError: kinds.QUOTA_EXCEEDED,
    LimitRefusedError: kinds.INVALID_REQUEST,
    TooManyOfUserError: kinds.TOO_MANY_IN_FLIGHT,
    IdempotencyKeyReusedError: kinds.IDEMPOTENCY_KEY_REUSED,
    GenerationNotFoundError: kinds.NOT_FOUND,
    UserNotFoundError: kinds.NOT_FOUND,
    LockedOutError: kinds.LOCKED_OUT,
    ApiKeyNotFoundError: kinds.NOT_FOUND,
    ScopeNotGivenError: kinds.KEY_NOT_POSSIBLE,
    ExpiryPassedError: kinds.KEY_NOT_POSSIBLE,
    ExpiryTooFarError: kinds.KEY_NOT_POSSIBLE,
    GenerationClosedError: kinds.GENERATION_CLOSED,
    GenerationOpenError: kinds.GENERATION_OPEN,
    ContendedError: kinds.CONTENDED,
    ProviderNotFoundError: kinds.NOT_FOUND,
    EndpointNotFoundError: kinds.NOT_FOUND,
    EndpointRemovedError: kinds.NOT_FOUND,
    DeliveryNotFoundError: kinds.NOT_FOUND,
    TooManyEndpointsError: kinds.TOO_MANY_WEBHOOKS,
    TooManyDecisionsError: kinds.TOO_MANY_WEBHOOK_CHANGES,
    TooManyResendsError: kinds.TOO_MANY_RESENDS,
    EndpointDisabledError: kinds.WEBHOOK_DISABLED,
    InsecureAddressError: kinds.INVALID_REQUEST,
    WebhooksOffError: kinds.WEBHOOKS_OFF,
    ModerationRefusedError: kinds.MODERATION_REFUSED,
    RequestRefusedError: kinds.REQUEST_REFUSED,
    ProviderFailedError: kinds.PROVIDER_FAILED,
    DeadlinePassedError: kinds.DEADLINE_PASSED,
    GenerationCancelledError: kinds.GENERATION_CANCELLED,
    ImageNotFoundError: kinds.NOT_FOUND,
    ImageKeyRefusedError: kinds.NOT_FOUND,
    # capacity
    StoreUnavailableError: kinds.BUSY,
    StoreBusyError: kinds.BUSY,
    UnknownEventError: kinds.BUSY,
    AcceptedUnreadableError: kinds.BUSY,
    NotWaitedForError: kinds.BUSY,
    ClockUncertainError: kinds.BUSY,
    TooManyOfAllError: kinds.BUSY,
    ImageStoreUnavailableError: kinds.BUSY,
    TooManyFollowersError: kinds.BUSY,
    TooManyReferencesError: kinds.BUSY,
    TooMuchInFlightError: kinds.BUSY,
    ProcessEndsError: kinds.BUSY,
    TooMuchCarriedError: kinds.BUSY,
    NoRoomForUploadError: kinds.BUSY,
    TooManyConnectionsError: kinds.BUSY,
    # HTTP and JSON
    RateLimitedError: kinds.RATE_LIMITED,
    NotAuthenticatedError: kinds.NOT_AUTHENTICATED,
    KeyRefusedError: kinds.NOT_AUTHENTICATED,
    SessionOverError: kinds.NOT_AUTHENTICATED,
    SuspendedError: kinds.SUSPENDED,
    LinkUsedError: kinds.LINK_USED,
    LinkRefusedError: kinds.LINK_REFUSED,
    LoginNotConfiguredError: kinds.LOGIN_NOT_CONFIGURED,
    LoginNotBegunError: kinds.LOGIN_NOT_BEGUN,
    LoginCancelledError: kinds.LOGIN_CANCELLED,
    LoginRefusedError: kinds.LOGIN_REFUSED,
    CodeRefusedError: kinds.LOGIN_REFUSED,
    IdentityProviderUnavailableError: kinds.LOGIN_PROVIDER_UNAVAILABLE,
    IdentityUnprovenError: kinds.LOGIN_UNPROVEN,
    EmailNotVerifiedError: kinds.EMAIL_NOT_VERIFIED,
    DomainNotAllowedError: kinds.DOMAIN_NOT_ALLOWED,
    SessionNotFoundError: kinds.NOT_FOUND,
    NotAllowedError: kinds.NOT_ALLOWED,
    NotInPersonError: kinds.NOT_ALLOWED,
    OtherSiteError: kinds.OTHER_SITE,
    NotFoundError: kinds.NOT_FOUND,
    UnreadableRequestError: kinds.UNREADABLE_REQUEST,
    HeadTooLargeError: kinds.HEAD_TOO_LARGE,
    RequestTimeoutError: kinds.REQUEST_TIMEOUT,
    RangeNotSatisfiableError: kinds.RANGE_NOT_SATISFIABLE,
    BodyTooLargeError: kinds.BODY_TOO_LARGE,
    ObjectTooLargeError: kinds.BODY_TOO_LARGE,
    MediaTypeError: kinds.UNSUPPORTED_MEDIA_TYPE,
    MalformedBodyError: kinds.MALFORMED_BODY,
    ShapeError: kinds.INVALID_REQUEST,
    RequestValidationError: kinds.INVALID_REQUEST,
    CursorRefusedError: kinds.CURSOR_REFUSED,
    EventIdRefusedError: kinds.EVENT_ID_REFUSED,
    MalformedIdempotencyKeyError: kinds.IDEMPOTENCY_KEY_MALFORMED,
}

OF_HTTP: Mapping[int, ProblemType] = {
    404: kinds.NOT_FOUND,
    405: kinds.METHOD_NOT_ALLOWED,
}


def problem_type(error: Exception) -> ProblemType:
    """Its row, or that of the nearest class it descends from."""
    if isinstance(error, HTTPException):
        return OF_HTTP.get(error.status_code, kinds.INTERNAL_ERROR)
    rows = (PROBLEMS[cls] for cls in type(error).__mro__ if cls in PROBLEMS)
    return next(rows, kinds.INTERNAL_ERROR)


# --- the answer ----------------------------------------------------------------------------------


@dataclass
class Told:
    """What an answer says of an error; `members` are those that problem details have besides."""

    detail: str
    members: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


async def problem(request: Request, error: Exception) -> Response:
    """The handler of every exception."""
    kind, told = explained(request, error)
    body = to_problem(
        kind,
        told.detail,
        request_id=request_id(request.scope),
        instance=uri_reference(request.scope["raw_path"]),
        **told.members,
    )
    return Response(body, kind.status, told.headers, media_type=PROBLEM_JSON)


def explained(request: Request, error: Exception) -> tuple[ProblemType, Told]:
    """Of which kind it is, and what is said of it, in whatever form; the log hears of it."""
    kind = problem_type(error)
    request.scope["state"]["problem"] = kind.code
    if kind.status == kinds.BUSY.status:
        log.warning("%s", error)
    told = told_of(error, now=container_of(request).store().now)
    if kind.status == 405:
        told.headers["Allow"] = _allowed(request)
    return kind, told


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


def told_of(error: Exception, *, now: Callable[[], datetime]) -> Told:
    """The sentence, and what stands beside it."""
    if isinstance(error, QuotaExceededError):
        return _of_quota(error, now())
    if isinstance(error, OfGenerationError):
        headers = {"Location": location(error.generation_id), **error.headers}
        if problem_type(error) is kinds.BUSY:
            headers["Retry-After"] = f"{RETRY_AFTER}"
        return Told(str(error), {"generationId": error.generation_id}, headers)
    if isinstance(error, HTTPException):
        return Told(_SENTENCES.get(error.status_code, ""), headers=dict(error.headers or {}))
    if problem_type(error) is kinds.BUSY:
        told = KNOWN_TO_NEWER if isinstance(error, UnknownEventError) else str(error)
        return Told(told, headers={"Retry-After": f"{RETRY_AFTER}"})
    if problem_type(error) is kinds.INTERNAL_ERROR:
        return Told("It was logged under this requestId. Try again; tell us if it stays so.")
    return _with_members(error)


def _of_quota(error: QuotaExceededError, now: datetime) -> Told:
    """Waiting is until the last of the exceeded windows is over."""
    policies = {"violated-policies": [one.window.type for one in error.exceeded]}
    headers = rate_limit(error.allowances, now)
    if not error.never_fits:
        headers["Retry-After"] = f"{seconds_until(error.told.window.ends_at, now)}"
    return Told(str(error), policies, headers)


def _with_members(error: Exception) -> Told:
    match error:
        case TooManyOfUserError():
            violated = {"violated-policies": [IN_FLIGHT]}
            return Told(str(error), violated, {"Retry-After": f"{RETRY_AFTER}"})
        case UnusableReferencesError(reasons=reasons):
            return Told(str(error), _errors(_reference_mistakes(reasons)))
        case RateLimitedError(used_up=used_up, standings=standings, seconds=seconds):
            violated = {"violated-policies": [one.limit.policy for one in used_up]}
            headers = {"Retry-After": f"{seconds}", **bursts(standings)}
            return Told(str(error), violated, headers)
        case RequestValidationError():
            return Told("Some parameters are not as they must be.", _errors(_parameters(error)))
        case KeyRefusedError():
            return Told(f"{error} {NotAuthenticatedError.sentence}", headers=dict(INVALID_TOKEN))
        case NotAuthenticatedError() | SessionOverError():
            return Told(str(error), headers=dict(CHALLENGE))
        case RequestError(mistakes=mistakes, headers=headers):
            return Told(str(error), _errors(mistakes), dict(headers))
    return Told(str(error))


KNOWN_TO_NEWER = (
    "A newer release has recorded something of this generation that the process that answered does"
    " not know. Ask again: another one may, and soon all do."
)
_SENTENCES = {
    404: NotFoundError.sentence,
    405: "The header Allow names the methods that are.",
}


def _reference_mistakes(reasons: Mapping[Place, str]) -> list[Mistake]:
    return [
        Mistake(reason, pointer="#/mask" if place == "mask" else f"#/referenceImages/{place}")
        for place, reason in reasons.items()
    ]


def _parameters(error: RequestValidationError) -> list[Mistake]:
    return [
        Mistake(sentence(e, "It", unknown=NO_SUCH_PARAMETER), parameter=_parameter(e["loc"]))
        for e in error.errors()
    ]


def _parameter(loc: Sequence[int | str]) -> str:
    """Its name; in front of it stands where it was sent, behind it what is wrong inside."""
    return str(loc[min(1, len(loc) - 1)])


def _errors(mistakes: Sequence[Mistake]) -> dict[str, Any]:
    if not mistakes:
        return {}
    told = [
        {name: value for name, value in vars(mistake).items() if value is not None}
        for mistake in mistakes
    ]
    return {"errors": told}
