"""What the OpenAPI document says beside the routes' own signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interfaces.rest.patterns import IDEMPOTENCY_KEY
from interfaces.rest.problem_types import (
    ANYWHERE,
    BODY_TOO_LARGE,
    BUSY,
    CONTENDED,
    IDEMPOTENCY_KEY_MALFORMED,
    IDEMPOTENCY_KEY_REUSED,
    INVALID_REQUEST,
    MALFORMED_BODY,
    NOT_ALLOWED,
    NOT_AUTHENTICATED,
    OTHER_SITE,
    PROBLEM_JSON,
    PROBLEM_TYPES,
    RATE_LIMITED,
    REQUEST_TIMEOUT,
    SUSPENDED,
    UNSUPPORTED_MEDIA_TYPE,
    ProblemType,
)
from interfaces.rest.shapes import (
    EventList,
    GenerationRequest,
    GenerationShape,
    ProblemShape,
    Shape,
)

_LOCATION = {"description": "Where it is found.", "schema": {"type": "string"}}

_IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Makes repeats of this request one, for 24 hours: a fresh UUID for each "
    "thing you want.",
    "schema": {"type": "string", "pattern": IDEMPOTENCY_KEY},
}
_PREFER: dict[str, Any] = {
    "name": "Prefer",
    "in": "header",
    "description": "`respond-async`, `wait=10`, or both.",
    "schema": {"type": "string"},
}
REPLAYED: dict[str, Any] = {
    "Idempotent-Replayed": {
        "description": "`true` when this key had been used for it before.",
        "schema": {"type": "string", "const": "true"},
    }
}

REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/GenerationRequest"}},
            "multipart/form-data": {"schema": {"$ref": "#/components/schemas/GenerationForm"}},
        },
    },
    "parameters": [_IDEMPOTENCY_KEY, _PREFER],
}


def json_body(shape: type[Shape]) -> dict[str, Any]:
    """That the body is one of these, which the route reads itself."""
    _BODIES[shape.__name__] = shape
    schema = {"$ref": f"#/components/schemas/{shape.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_BODIES: dict[str, type[Shape]] = {}
COMMAND: dict[str, Any] = {"parameters": [_IDEMPOTENCY_KEY]}
WAITED_FOR: dict[str, Any] = {"parameters": [_IDEMPOTENCY_KEY, _PREFER]}
RESUMABLE: dict[str, Any] = {
    "parameters": [
        {
            "name": "Last-Event-ID",
            "in": "header",
            "description": "The `id` of the last event that was seen of the stream.",
            "schema": {"type": "string"},
        }
    ]
}
CHANGED: dict[str, Any] = {
    "model": GenerationShape,
    "description": "It is as you wanted it",
    "headers": REPLAYED,
}
EVENT_STREAM: dict[str, Any] = {
    "model": EventList,
    "description": "A page, or the stream",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}

CREATED: dict[str, Any] = {
    "model": GenerationShape,
    "description": "It ended, with pictures",
    "headers": {"Location": _LOCATION},
}
ACCEPTED: dict[str, Any] = {
    "model": GenerationShape,
    "description": "It is under way",
    "headers": {
        "Location": _LOCATION,
        "Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}},
    },
}


JSON_COMMAND = (
    *(IDEMPOTENCY_KEY_MALFORMED, IDEMPOTENCY_KEY_REUSED),
    *(MALFORMED_BODY, REQUEST_TIMEOUT, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_REQUEST),
    *(CONTENDED, BUSY),
)
"""What any command may answer that comes as a small JSON body."""


def problems(*kinds: ProblemType) -> dict[int | str, dict[str, Any]]:
    """The answers of these kinds, and of those that can come anywhere, as problem details.

    Where a caller is needed, they may be somebody who may not, or not so often.
    """
    by_status: dict[int | str, list[ProblemType]] = {}
    of_caller = (
        (NOT_ALLOWED, OTHER_SITE, SUSPENDED, RATE_LIMITED) if NOT_AUTHENTICATED in kinds else ()
    )
    for kind in sorted({*kinds, *ANYWHERE, *of_caller}, key=PROBLEM_TYPES.index):
        by_status.setdefault(kind.status, []).append(kind)
    return {status: _answer(of_status) for status, of_status in by_status.items()}


def _answer(kinds: Sequence[ProblemType]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{ProblemShape.__name__}"}
    examples = {kind.code: {"summary": kind.title, "value": example_of(kind)} for kind in kinds}
    return {
        "description": "; ".join(kind.title for kind in kinds),
        "content": {PROBLEM_JSON: {"schema": schema, "examples": examples}},
    }


def example_of(kind: ProblemType) -> dict[str, Any]:
    """A problem of this kind as it comes over the line."""
    mistake = {"detail": "count must be 10 or less.", "pointer": "#/count"}
    errors = {"errors": [mistake]} if kind is INVALID_REQUEST else {}
    return {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": f"{kind.why} {kind.remedy}",
        "code": kind.code,
        "requestId": "3f1d9a52-7c1e-4f5b-8f3e-2f4f2f0f5a77",
        "instance": "/api/v1/generations",
        **errors,
    }


PUBLIC: dict[str, Any] = {"security": []}


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """Adds what FastAPI does not see: API keys, and the schemas that are named above."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"apiKey": []}]
    schemas = components.setdefault("schemas", {})
    shapes: tuple[type[Shape], ...] = (GenerationRequest, ProblemShape, *_BODIES.values())
    for shape in shapes:
        own = shape.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(own.pop("$defs", {}))
        schemas[shape.__name__] = own
    _forget_validation_errors(document)
    return document


def _forget_validation_errors(document: dict[str, Any]) -> None:
    """FastAPI's own answer to wrong parameters, which nobody gets here."""
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    for path in document["paths"].values():
        for operation in path.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
