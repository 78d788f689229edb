"""The OpenAPI document as a whole: what stands before, between and behind the operations."""

from __future__ import annotations

from datetime import datetime
from importlib.resources import files
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import Field

from interfaces.rest.openapi import completed
from interfaces.rest.shapes import GenerationShape, Shape


def _tag(name: str, description: str) -> dict[str, str]:
    return {"name": name, "description": description, "x-displayName": name.capitalize()}


SUMMARY = "Image generation behind one durable API."
CONTACT = {"name": "Whoever runs this Darkroom"}
LICENSE = {"name": "All rights reserved", "identifier": "LicenseRef-All-rights-reserved"}
SERVERS = [{"url": "/", "description": "The service that serves this document."}]
TAGS = [
    _tag("generations", "Ask for pictures, follow them, look back over them."),
    _tag("images", "Pictures at their permanent URLs, and your reference images."),
    _tag("me", "What concerns you alone: your quota."),
    _tag("operate", "For those who run Darkroom: is it alive, is it ready."),
    _tag("webhooks", "What Darkroom will tell your server by itself."),
]
KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "Your API key, as `Authorization: Bearer <key>`. Whoever runs Darkroom gives it to "
    "you; `darkroom up` leaves the administrator's in the file `admin-key` of its data folder.",
}
NAMED = ("properties", "schemas", "patternProperties")
NOT_YET = (
    "**Not delivered yet in this release**; the shape is fixed, so that a receiver can be built "
    "today. Deliveries will follow Standard Webhooks 1.0.0: check `webhook-signature` over "
    "`{webhook-id}.{webhook-timestamp}.{body}`, answer 2xx within 15 seconds, and expect the same "
    "`webhook-id` more than once."
)


class WebhookShape(Shape):
    """A delivery as Standard Webhooks has it; `data` is the generation in its final state."""

    type: Literal["generation.completed", "generation.failed", "generation.cancelled"]
    timestamp: datetime = Field(description="When it happened.")
    data: GenerationShape


def document_of(app: FastAPI) -> dict[str, Any]:
    """The document that this application serves."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=SUMMARY,
        description=(files("interfaces.rest") / "guide.md").read_text(),
        routes=app.routes,
        tags=TAGS,
        servers=SERVERS,
        contact=CONTACT,
        license_info=LICENSE,
    )
    document = completed(document)
    document["components"]["securitySchemes"] = {"apiKey": KEY}
    _add_webhooks(document)
    _put_in_order(document)
    tidied: dict[str, Any] = _tidied(document)
    return tidied


def _put_in_order(document: dict[str, Any]) -> None:
    """The paths as their tags are listed, the schemas by name."""
    places = {tag["name"]: place for place, tag in enumerate(TAGS)}

    def place(path: tuple[str, dict[str, Any]]) -> int:
        return min(places[operation["tags"][0]] for operation in path[1].values())

    document["paths"] = dict(sorted(document["paths"].items(), key=place))
    schemas = document["components"]["schemas"]
    document["components"]["schemas"] = {_public(name): schemas[name] for name in sorted(schemas)}


def _tidied(part: Any, *, names: bool = False) -> Any:
    """Without what only our code knows: a shape is called what it shows, a field by its name.

    `names` says that the keys of this part are names of fields or schemas, not JSON Schema's.
    """
    if isinstance(part, list):
        return [_tidied(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        key: _public(value) if key == "$ref" else _tidied(value, names=key in NAMED and not names)
        for key, value in part.items()
        if names or key != "title" or "version" in part  # the document's own title stays
    }


def _public(name: str) -> str:
    return name.removesuffix("Shape")


def _add_webhooks(document: dict[str, Any]) -> None:
    shape = WebhookShape.model_json_schema(ref_template="#/components/schemas/{model}")
    for name, schema in shape.pop("$defs", {}).items():
        document["components"]["schemas"].setdefault(name, schema)
    document["components"]["schemas"][WebhookShape.__name__] = shape
    document["webhooks"] = {
        f"generation.{end}": {"post": _webhook(end)} for end in ("completed", "failed", "cancelled")
    }


def _webhook(end: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{WebhookShape.__name__}"}
    return {
        "operationId": f"onGeneration{end.capitalize()}",
        "tags": ["webhooks"],
        "summary": f"A generation was {end}" if end != "failed" else "A generation failed",
        "description": NOT_YET,
        "security": [],
        "parameters": [
            _header("webhook-id", "The same for every try of one delivery.", "msg_2KWPBgLlAfxdpx2A"),
            _header("webhook-timestamp", "Unix seconds of this try.", "1790000000"),
            _header(
                "webhook-signature",
                "`v1,` and the HMAC-SHA256 in base64; several with a space between while a secret "
                "is being changed.",
                "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
            ),
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "204": {"description": "You have it."},
            "410": {"description": "You want no more: deliveries to this address end."},
        },
    }


def _header(name: str, description: str, example: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": True,
        "description": description,
        "schema": {"type": "string"},
        "example": example,
    }
