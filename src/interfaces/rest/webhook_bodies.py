"""What a receiver is told: the generation as the API shows it, never larger than it may be."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pydantic import Field
from pydantic_core import to_jsonable_python

from domain.delivery import Delivery
from domain.generation import Generation
from domain.webhook import EventType
from interfaces.rest.representation import of_generation
from interfaces.rest.shapes import GenerationShape, Shape

MOST_BYTES = 20_000  # what Standard Webhooks asks for
LONG, SHORT = 2000, 200  # characters


class DeliveredGenerationShape(GenerationShape):
    cut: tuple[str, ...] = Field(
        description="Which fields were shortened or emptied so that all of it has less than 20 kB: "
        "`links.self` has them whole.",
        examples=[["metadata"]],
    )


class WebhookMessageShape(Shape):
    """A delivery as Standard Webhooks has it; `data` is the generation in its final state."""

    type: EventType
    timestamp: datetime = Field(description="When it happened.")
    data: DeliveredGenerationShape


def body_of(delivery: Delivery, generation: Generation | None) -> bytes:
    """Of a test it says which endpoint it is for."""
    if generation is None:
        at = delivery.created_on
        data: dict[str, Any] = {"endpointId": str(delivery.endpoint)}
    else:
        at = generation.ended_on or delivery.created_on
        data = {**of_generation(generation).model_dump(mode="json", by_alias=True), "cut": []}
    told = {"type": delivery.type, "timestamp": to_jsonable_python(at), "data": data}
    return _cut(told)


Cut = Callable[[Any], Any]


def _shortened(most: int) -> Cut:
    return lambda text: text if text is None or len(text) <= most else f"{text[: most - 1]}…"


def _emptied(value: Any) -> Any:
    return type(value)()


# Whatever comes first is missed least; what is left behind the last is small.
CUTS: tuple[tuple[str, Cut], ...] = (
    ("prompt", _shortened(LONG)),
    ("negativePrompt", _shortened(LONG)),
    ("metadata", _emptied),
    ("referenceImages", _emptied),
    ("calls", _emptied),
    ("prompt", _shortened(SHORT)),
    ("negativePrompt", _shortened(SHORT)),
    ("bridged", _emptied),
    ("usage", _emptied),
    ("images", _emptied),
)


def _cut(told: dict[str, Any]) -> bytes:
    body, data = _json(told), told["data"]
    for name, cut in CUTS:
        if len(body) < MOST_BYTES:
            break
        shorter = cut(data[name])
        if shorter != data[name]:
            data[name] = shorter
            data["cut"] = list(dict.fromkeys([*data["cut"], name]))
            body = _json(told)
    return body


def _json(told: dict[str, Any]) -> bytes:
    return json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()
