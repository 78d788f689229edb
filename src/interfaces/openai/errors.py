"""Every error as OpenAI's clients know errors: one table, by kind of problem."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from fastapi import Request, Response
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from interfaces.rest import problem_types as kinds
from interfaces.rest.errors import Mistake, OfGenerationError, ShapeError
from interfaces.rest.problem_types import ProblemType
from interfaces.rest.problems import Told, explained

PREFIX = "/v1"
GENERATION = "X-Darkroom-Generation"  # where OpenAI's answers have no place for its id

OF_REQUEST = "invalid_request_error"
OF_IMAGE = "image_generation_user_error"
OF_SERVER = "server_error"
OF_LIMIT = "insufficient_quota"
OF_RATE = "requests"

NO_SUCH_URL = (
    "There is nothing at this address. Here are POST /v1/images/generations, POST "
    "/v1/images/edits, GET /v1/models and GET /v1/models/{model}."
)


@dataclass(frozen=True)
class OpenAIError:
    """What a kind of problem is to OpenAI's clients, whose exception classes go by the status.

    Their SDKs send a request with some statuses again by themselves: `again` says whether that is
    of any use, `Retry-After` when.
    """

    status: int
    type: str
    code: str
    again: bool = False


ERRORS: Mapping[ProblemType, OpenAIError] = {
    # the business
    kinds.NO_PROVIDER: OpenAIError(400, OF_REQUEST, "invalid_value"),
    kinds.UNUSABLE_REFERENCE_IMAGE: OpenAIError(400, OF_IMAGE, "invalid_image_file"),
    kinds.MODERATION_REFUSED: OpenAIError(400, OF_IMAGE, "moderation_blocked"),
    kinds.REQUEST_REFUSED: OpenAIError(400, OF_IMAGE, "invalid_value"),
    kinds.DEADLINE_TOO_LONG: OpenAIError(400, OF_REQUEST, "invalid_value"),
    kinds.IDEMPOTENCY_KEY_REUSED: OpenAIError(422, OF_REQUEST, "idempotency_key_reused"),
    kinds.GENERATION_CLOSED: OpenAIError(409, OF_REQUEST, "generation_closed"),
    kinds.GENERATION_OPEN: OpenAIError(409, OF_REQUEST, "generation_open"),
    kinds.GENERATION_CANCELLED: OpenAIError(409, OF_REQUEST, "generation_cancelled"),
    kinds.CONTENDED: OpenAIError(409, OF_REQUEST, "contended", again=True),
    kinds.QUOTA_EXCEEDED: OpenAIError(429, OF_LIMIT, "insufficient_quota"),
    kinds.RATE_LIMITED: OpenAIError(429, OF_RATE, "rate_limit_exceeded", again=True),
    kinds.TOO_MANY_IN_FLIGHT: OpenAIError(429, OF_RATE, "rate_limit_exceeded", again=True),
    kinds.PROVIDER_FAILED: OpenAIError(502, OF_SERVER, "provider_failed"),
    kinds.DEADLINE_PASSED: OpenAIError(504, OF_SERVER, "deadline_passed"),
    # capacity, and ourselves
    kinds.BUSY: OpenAIError(503, OF_SERVER, "service_unavailable", again=True),
    kinds.INTERNAL_ERROR: OpenAIError(500, OF_SERVER, "internal_error", again=True),
    # HTTP and JSON
    kinds.NOT_AUTHENTICATED: OpenAIError(401, OF_REQUEST, "invalid_api_key"),
    kinds.NOT_ALLOWED: OpenAIError(403, OF_REQUEST, "not_allowed"),
    kinds.OTHER_SITE: OpenAIError(403, OF_REQUEST, "other_site"),
    kinds.SUSPENDED: OpenAIError(403, OF_REQUEST, "account_suspended"),
    kinds.NOT_FOUND: OpenAIError(404, OF_REQUEST, "not_found"),
    kinds.METHOD_NOT_ALLOWED: OpenAIError(405, OF_REQUEST, "method_not_allowed"),
    kinds.REQUEST_TIMEOUT: OpenAIError(408, OF_REQUEST, "request_timeout", again=True),
    kinds.BODY_TOO_LARGE: OpenAIError(413, OF_REQUEST, "request_too_large"),
    kinds.UNSUPPORTED_MEDIA_TYPE: OpenAIError(415, OF_REQUEST, "unsupported_content_type"),
    kinds.INVALID_REQUEST: OpenAIError(400, OF_REQUEST, "invalid_value"),
    kinds.MALFORMED_BODY: OpenAIError(400, OF_REQUEST, "malformed_body"),
    kinds.IDEMPOTENCY_KEY_MALFORMED: OpenAIError(400, OF_REQUEST, "idempotency_key_malformed"),
    # of what is not served under /v1, or told before it is known what was asked for
    kinds.UNREADABLE_REQUEST: OpenAIError(400, OF_REQUEST, "unreadable_request"),
    kinds.HEAD_TOO_LARGE: OpenAIError(431, OF_REQUEST, "headers_too_large"),
    kinds.KEY_NOT_POSSIBLE: OpenAIError(422, OF_REQUEST, "key_not_possible"),
    kinds.LOCKED_OUT: OpenAIError(403, OF_REQUEST, "locks_out"),
    kinds.TOO_MANY_WEBHOOKS: OpenAIError(409, OF_REQUEST, "too_many_webhooks"),
    kinds.TOO_MANY_WEBHOOK_CHANGES: OpenAIError(409, OF_REQUEST, "too_many_webhook_changes"),
    kinds.TOO_MANY_RESENDS: OpenAIError(409, OF_REQUEST, "too_many_resends"),
    kinds.WEBHOOK_DISABLED: OpenAIError(409, OF_REQUEST, "webhook_disabled"),
    kinds.WEBHOOKS_OFF: OpenAIError(501, OF_SERVER, "webhooks_off"),
    kinds.CURSOR_REFUSED: OpenAIError(400, OF_REQUEST, "invalid_value"),
    kinds.EVENT_ID_REFUSED: OpenAIError(400, OF_REQUEST, "invalid_value"),
    kinds.RANGE_NOT_SATISFIABLE: OpenAIError(416, OF_REQUEST, "range_not_satisfiable"),
    **{
        kind: OpenAIError(
            kind.status,
            OF_SERVER if kind.status >= 500 else OF_REQUEST,
            kind.code.replace("-", "_"),
        )
        for kind in kinds.OF_LOGINS
    },
}
"""A test fails when a kind of problem is missing."""


class ParameterError(ShapeError):
    """One field is not as it must be; `code` is OpenAI's word for how."""

    def __init__(self, where: str, detail: str, *, code: str = "invalid_value") -> None:
        super().__init__((Mistake(detail, pointer=f"#/{where}"),))
        self.code = code


class ModelNotFoundError(ParameterError):
    """Somebody asks what there is about a model that there is not."""


def is_for_openai(path: str) -> bool:
    """Whether whoever asks for this path expects OpenAI's shapes."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


async def openai_error(request: Request, error: Exception) -> Response:
    """The handler of every exception under /v1."""
    kind, told = explained(request, error)
    row = ERRORS[kind]
    headers = {name: text for name, text in told.headers.items() if name != "Location"}
    headers["X-Should-Retry"] = "true" if row.again else "false"
    if isinstance(error, OfGenerationError):
        headers[GENERATION] = str(error.generation_id)
    status = 404 if isinstance(error, ModelNotFoundError) else row.status
    body = to_json({"error": _object(request, error, row, told)})
    return Response(body, status, headers, media_type="application/json")


def error_object(request: Request, error: Exception) -> dict[str, Any]:
    """The same, for where the status was sent already."""
    kind, told = explained(request, error)
    return _object(request, error, ERRORS[kind], told)


def _object(request: Request, error: Exception, row: OpenAIError, told: Told) -> dict[str, Any]:
    mistakes = told.members.get("errors") or [{}]
    pointer = mistakes[0].get("pointer", "")
    detail = mistakes[0].get("detail") or told.detail
    if isinstance(error, HTTPException) and error.status_code == 404:
        detail = NO_SUCH_URL
    code = error.code if isinstance(error, ParameterError) else row.code
    named = param(pointer)
    sent_as: Mapping[str | None, str] = getattr(request.state, "sent_as", {})
    where = sent_as.get(named, named)
    return {"message": detail, "type": row.type, "param": where, "code": code}


def param(pointer: str) -> str | None:
    """`images[0].image_url` of `#/images/0/image_url`; our reference images are their `image`."""
    parts = [unquote(part) for part in pointer.removeprefix("#").split("/") if part]
    if not parts:
        return None
    if parts[0] == "referenceImages":
        parts[0] = "image"
    return re.sub(r"\.([0-9]+)(?=\.|$)", r"[\1]", ".".join(parts))
