"""What the OpenAPI document says beside the routes' own signatures."""

from __future__ import annotations

from typing import Any

from interfaces.rest.shapes import GenerationRequest, GenerationShape, ProblemShape

TITLES = {
    400: "The request cannot be read",
    401: "An API key is needed",
    404: "Not found, or not yours",
    408: "The body did not come in time",
    409: "The generation was cancelled",
    413: "The body is too large",
    415: "The body must be JSON",
    416: "The range cannot be served",
    422: "The request is not as it must be, cannot be done, or was refused",
    429: "The quota is used up",
    502: "The provider made no picture",
    503: "The service is not available",
    504: "The picture was not made in time",
}
_LOCATION = {"description": "Where it is found.", "schema": {"type": "string"}}

REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/GenerationRequest"}}
        },
    },
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Makes repeats of this request one, for 24 hours.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        },
        {
            "name": "Prefer",
            "in": "header",
            "description": "`respond-async`, `wait=10`, or both.",
            "schema": {"type": "string"},
        },
    ],
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


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of these statuses as problem details."""
    schema = {"$ref": f"#/components/schemas/{ProblemShape.__name__}"}
    content = {"application/problem+json": {"schema": schema}}
    return {
        status: {"description": TITLES[status], "content": content} for status in sorted(statuses)
    }


PUBLIC: dict[str, Any] = {"security": []}


def completed(document: dict[str, Any]) -> dict[str, Any]:
    """Adds what FastAPI does not see: API keys, and the schemas that are named above."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"apiKey": []}]
    schemas = components.setdefault("schemas", {})
    for shape in (GenerationRequest, ProblemShape):
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
