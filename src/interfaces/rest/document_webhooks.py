"""What Darkroom tells a server by itself, in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from interfaces.rest.webhook_bodies import WebhookMessageShape

DESCRIPTION = (
    "By Standard Webhooks 1.0.0, to your webhooks and to the `webhookUrl` of a request. Check "
    "`webhook-signature` over `{webhook-id}.{webhook-timestamp}.{body}`, answer 2xx within 15 "
    "seconds, and expect the same `webhook-id` more than once. Anything else, a redirect too, is "
    "tried again after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h, later if "
    "`Retry-After` says so; the operator may have other pauses. What is told is the generation as "
    "it is when it is sent, in less than 20 kB: `cut` names what had to be left out for that."
)
ENDS = {
    "completed": "A generation was completed",
    "failed": "A generation failed",
    "cancelled": "A generation was cancelled",
}


def add_webhooks(document: dict[str, Any]) -> None:
    """To the document, with the schema of a delivery."""
    schemas = document["components"]["schemas"]
    shape = WebhookMessageShape.model_json_schema(
        ref_template="#/components/schemas/{model}", mode="serialization"
    )
    for name, schema in shape.pop("$defs", {}).items():
        schemas.setdefault(name, schema)
    schemas[WebhookMessageShape.__name__] = shape
    document["webhooks"] = {
        f"image.generation.{end}": {
            "post": _delivery(end, summary, document["components"]["examples"][end]["value"])
        }
        for end, summary in ENDS.items()
    }


def _delivery(end: str, summary: str, example: dict[str, Any]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{WebhookMessageShape.__name__}"}
    sent = {
        "type": f"image.generation.{end}",
        "timestamp": example["completedAt"],
        "data": {**example, "cut": []},
    }
    return {
        "operationId": f"onGeneration{end.capitalize()}",
        "tags": ["webhooks"],
        "summary": summary,
        "description": DESCRIPTION,
        "security": [],
        "parameters": [
            _header(
                "webhook-id",
                "The delivery's id: the same for every try of it.",
                "8a6e0804-2bd0-5672-b79d-d97027f9071a",
            ),
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
