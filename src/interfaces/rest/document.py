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

SUMMARY = "Image generation behind one durable API."
CONTACT = {"name": "Whoever runs this Darkroom"}
LICENSE = {"name": "All rights reserved", "identifier": "LicenseRef-All-rights-reserved"}
SERVERS = [{"url": "/", "description": "The service that serves this document."}]
TAGS = [
    {"name": "generations", "description": "Ask for pictures, follow them, look back over them."},
    {"name": "images", "description": "Pictures at their permanent URLs, and reference images."},
    {"name": "me", "description": "What concerns you alone: your quota."},
    {"name": "operate", "description": "For those who run Darkroom: is it alive, is it ready."},
    {"name": "webhooks", "description": "What Darkroom will tell your server by itself."},
]
KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "Your API key, as `Authorization: Bearer <key>`. Whoever runs Darkroom gives it to "
    "you; `darkroom up` leaves the administrator's in the file `admin-key` of its data folder.",
}
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
    return document


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
