"""What Darkroom will tell a server by itself, in the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from interfaces.rest.shapes import GenerationShape, Shape

NOT_YET = (
    "**Not delivered yet in this release.** The shape is fixed, so that a receiver can be built "
    "today. Deliveries will follow Standard Webhooks 1.0.0: check `webhook-signature` over "
    "`{webhook-id}.{webhook-timestamp}.{body}`, answer 2xx within 15 seconds, and expect the same "
    "`webhook-id` more than once."
)
ENDS = {
    "completed": "A generation was completed",
    "failed": "A generation failed",
    "cancelled": "A generation was cancelled",
}


class WebhookShape(Shape):
    """A delivery as Standard Webhooks has it; `data` is the generation in its final state."""

    type: Literal["generation.completed", "generation.failed", "generation.cancelled"]
    timestamp: datetime = Field(description="When it happened.")
    data: GenerationShape


def add_webhooks(document: dict[str, Any]) -> None:
    """To the document, with the schema of a delivery."""
    schemas = document["components"]["schemas"]
    shape = WebhookShape.model_json_schema(
        ref_template="#/components/schemas/{model}", mode="serialization"
    )
    for name, schema in shape.pop("$defs", {}).items():
        schemas.setdefault(name, schema)
    schemas[WebhookShape.__name__] = shape
    document["webhooks"] = {
        f"generation.{end}": {
            "post": _delivery(end, summary, document["components"]["examples"][end]["value"])
        }
        for end, summary in ENDS.items()
    }


def _delivery(end: str, summary: str, example: dict[str, Any]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{WebhookShape.__name__}"}
    sent = {
        "type": f"generation.{end}",
        "timestamp": example["completedAt"],
        "data": example,
    }
    return {
        "operationId": f"onGeneration{end.capitalize()}",
        "tags": ["webhooks"],
        "summary": summary,
        "description": NOT_YET,
        "security": [],
        "parameters": [
            _header("webhook-id", "The same for every try of one delivery.", "msg_2KWPBgLlAfxdpx"),
            _header("webhook-timestamp", "Unix seconds of this try.", "1795507200"),
            _header(
                "webhook-signature",
                "`v1,` and the HMAC-SHA256 in base64; several of them, with a space between, while "
                "a secret is being changed.",
                "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
            ),
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": sent}},
        },
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
