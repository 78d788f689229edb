"""What a receiver is told is the generation as the API shows it, in less than 20 kB."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from domain.generation import Generation, Wish
from domain.image import ImageSpec
from domain.quota import windows_at
from interfaces.rest.representation import of_generation
from interfaces.rest.webhook_bodies import MOST_BYTES, WebhookMessageShape, body_of
from tests.generations import COST, reference_image, stored_image
from tests.webhooks import due_delivery, recorded

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def completed(*, count: int = 1, references: int = 0, **written: Any) -> Generation:
    user = uuid4()
    generation = Generation.request(
        id=uuid4(),
        user_id=user,
        spec=ImageSpec(count=count),
        wish=Wish(**{"prompt": "a lighthouse", **written}),
        windows=windows_at(NOW),
        references=(reference_image(),) * references,
    )
    return recorded(generation, NOW, *[partial(answer, n) for n in range(1, count + 1)], finish)


def answer(number: int, generation: Generation) -> None:
    call = generation.start_call(provider="sketch", model="m", images=(number,))
    images = (stored_image(generation.id, number),)
    generation.answer_call(
        call, provider_request_id=None, usage={"images": 1}, cost=COST, images=images
    )


def finish(generation: Generation) -> None:
    urls = {number: f"https://pictures.test/{number}" for number in generation.images}
    generation.finish(urls=urls, now=NOW)


def told(generation: Generation) -> dict[str, Any]:
    body = body_of(due_delivery(NOW), generation)
    assert len(body) < MOST_BYTES
    message: dict[str, Any] = json.loads(body)
    assert WebhookMessageShape.model_validate(message)
    return message


def test_it_is_what_the_api_shows() -> None:
    generation = completed()
    message = told(generation)
    shown = json.loads(of_generation(generation).model_dump_json(by_alias=True))
    assert message["data"] == {**shown, "cut": []}
    assert message["type"] == "image.generation.completed"
    assert message["timestamp"] == "2026-11-23T12:00:00Z"


@pytest.mark.parametrize(
    ("written", "cut"),
    [
        ({"prompt": "漢" * 32_000}, ["prompt"]),
        ({"metadata": {f"{n:040}": "é" * 500 for n in range(50)}}, ["metadata"]),
        (
            {"prompt": "x" * 32_000, "metadata": {f"{n}": "m" * 500 for n in range(50)}},
            ["prompt", "metadata"],
        ),
    ],
)
def test_what_is_too_large_is_cut_and_said_to_be(written: dict[str, Any], cut: list[str]) -> None:
    data = told(completed(**written))["data"]
    assert data["cut"] == cut
    assert data["imageUrl"] == "https://pictures.test/1"
    if "prompt" in cut:
        assert data["prompt"] == f"{written['prompt'][:1999]}…"


def test_the_largest_there_can_be_fits() -> None:
    generation = completed(
        count=10,
        references=16,
        prompt="漢" * 32_000,
        negative_prompt="\x01" * 32_000,
        end_user="😀" * 256,
        metadata={f"{n:040}": "😀" * 500 for n in range(50)},
    )
    data = told(generation)["data"]
    assert data["imageUrl"] == "https://pictures.test/1"
    assert data["status"] == "completed"
