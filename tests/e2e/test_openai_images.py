"""OpenAI's own Python SDK drives a Darkroom: pictures, edits, streams, models."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError
from openai.types import ImageEditCompletedEvent, ImageGenCompletedEvent

from infrastructure.settings import load_settings
from tests.e2e.openai_python import SIZE, client_of, picture, url_of
from tests.e2e.stack import Stack, encoded, running, settings_for

DATA_URL = f"data:image/png;base64,{base64.b64encode(encoded('PNG')).decode()}"
LAST = "SELECT originator_id FROM stored_events ORDER BY notification_id DESC LIMIT 1"


@pytest.fixture
async def painting(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[Stack]:
    """A service with a worker at work."""
    async with running(settings_for(tmp_path, database_url, redis_url)) as stack, stack.at_work():
        yield stack


@pytest.fixture
async def openai(painting: Stack) -> AsyncIterator[AsyncOpenAI]:
    async with client_of(url_of(painting)) as client:
        yield client


async def spec_of_the_last(stack: Stack) -> dict[str, Any]:
    """What the last generation was asked for with."""
    query = (
        "SELECT convert_from(state, 'UTF8')::jsonb FROM stored_events"
        " WHERE topic LIKE 'generation.requested@%' ORDER BY notification_id DESC LIMIT 1"
    )
    ((event,),) = await stack.rows(query)
    return dict(event)


async def test_a_prompt_becomes_a_picture_in_base64(openai: AsyncOpenAI) -> None:
    made = await openai.images.generate(prompt="a lighthouse", size=SIZE)

    assert made.data is not None
    (only,) = made.data
    assert picture(only.b64_json).size == (64, 48)
    assert only.url is None
    assert (made.size, made.output_format, made.quality) == ("64x48", "png", None)
    assert made.usage is not None
    assert (made.usage.total_tokens, made.usage.input_tokens_details.text_tokens) == (0, 0)
    assert made.created > 1_700_000_000


async def test_who_asks_for_urls_gets_permanent_ones(openai: AsyncOpenAI, painting: Stack) -> None:
    made = await openai.images.generate(prompt="a fox", n=2, size=SIZE, response_format="url")

    assert made.data is not None
    assert [one.b64_json for one in made.data] == [None, None]
    for one in made.data:
        assert one.url is not None
        path = httpx.URL(one.url).path
        assert (await painting.client.get(path)).content.startswith(b"\x89PNG")


async def test_everything_that_a_request_can_say_is_asked_for(
    openai: AsyncOpenAI, painting: Stack
) -> None:
    made = await openai.images.generate(
        prompt="a fox",
        model="sketch-1",
        n=2,
        size=SIZE,
        quality="xhigh",
        output_format="jpeg",
        output_compression=40,
        background="opaque",
        moderation="low",
        user="somebody",
        safety_identifier="4711",
    )

    assert made.data is not None
    assert [picture(one.b64_json).format for one in made.data] == ["JPEG", "JPEG"]
    assert (made.quality, made.background, made.output_format) == ("xhigh", "opaque", "jpeg")
    assert made.safety_identifier == "4711"
    asked = await spec_of_the_last(painting)
    assert asked["spec"] == {
        "provider": None,
        "model": "sketch-1",
        "size": "64x48",
        "aspect_ratio": None,
        "quality": "xhigh",
        "format": "jpeg",
        "count": 2,
        "seed": None,
        "background": "opaque",
        "compression": 40,
        "moderation": "low",
    }


async def test_what_retired_models_knew_is_tolerated(openai: AsyncOpenAI, painting: Stack) -> None:
    await openai.images.generate(
        prompt="a fox", model="dall-e-3", size="256x256", quality="hd", style="vivid"
    )

    spec = (await spec_of_the_last(painting))["spec"]
    assert (spec["model"], spec["quality"]) == (None, "high")
    await openai.images.generate(
        prompt="a fox", model="gpt-image-1", size="256x256", quality="standard"
    )
    assert (await spec_of_the_last(painting))["spec"]["quality"] is None


async def test_null_and_auto_leave_the_choice_to_the_model(
    openai: AsyncOpenAI, painting: Stack
) -> None:
    made = await openai.images.generate(
        prompt="a fox", model=None, n=None, size="auto", quality="auto", background="auto"
    )

    assert made.data is not None
    assert len(made.data) == 1
    spec = (await spec_of_the_last(painting))["spec"]
    assert (spec["size"], spec["quality"], spec["count"]) == (None, None, 1)
    assert made.background is None, "nobody knows whether it is"


@pytest.mark.parametrize("files", [["PNG"], ["PNG", "JPEG", "WEBP", "PNG"]], ids=["one", "four"])
async def test_pictures_are_edited(openai: AsyncOpenAI, painting: Stack, files: list[str]) -> None:
    images = [encoded(name, (8 + i, 8)) for i, name in enumerate(files)]
    made = await openai.images.edit(
        image=images if len(images) > 1 else images[0],
        prompt="as a woodcut",
        n=2,
        size=SIZE,
        output_format="webp",
        output_compression=90,
        input_fidelity="high",
        quality="low",
    )

    assert made.data is not None
    assert [picture(one.b64_json).format for one in made.data] == ["WEBP", "WEBP"]
    asked = await spec_of_the_last(painting)
    assert [reference["width"] for reference in asked["references"]] == [
        8 + i for i in range(len(files))
    ]
    assert (asked["spec"]["fidelity"], asked["spec"]["count"]) == ("high", 2)


async def test_pictures_to_edit_come_in_json_too(painting: Stack) -> None:
    made = await painting.client.post(
        "/v1/images/edits",
        json={"prompt": "as a woodcut", "size": "64x48", "images": [{"image_url": DATA_URL}] * 2},
    )

    assert made.status_code == 200, made.text
    assert picture(made.json()["data"][0]["b64_json"]).size == (64, 48)
    assert len((await spec_of_the_last(painting))["references"]) == 2


async def test_a_form_may_repeat_the_plain_name(painting: Stack) -> None:
    files = [("image", ("a.png", encoded("PNG"))), ("image", ("b.png", encoded("PNG", (9, 9))))]
    made = await painting.client.post(
        "/v1/images/edits", data={"prompt": "as a woodcut", "size": "64x48", "n": ""}, files=files
    )

    assert made.status_code == 200, made.text
    assert len((await spec_of_the_last(painting))["references"]) == 2


async def test_a_stream_ends_with_the_pictures(openai: AsyncOpenAI) -> None:
    stream = await openai.images.generate(
        prompt="a fox", n=2, size=SIZE, stream=True, partial_images=2, user="4711"
    )
    events = [event async for event in stream]

    assert [event.type for event in events] == ["image_generation.completed"] * 2
    for event in events:
        assert isinstance(event, ImageGenCompletedEvent)
        assert picture(event.b64_json).size == (64, 48)
        assert (event.size, event.quality, event.background) == ("64x48", "auto", "auto")
        assert (event.output_format, event.safety_identifier) == ("png", "4711")
        assert event.usage.total_tokens == 0


async def test_edits_are_streamed_too(openai: AsyncOpenAI) -> None:
    stream = await openai.images.edit(
        image=encoded("PNG"), prompt="as a woodcut", size=SIZE, stream=True
    )
    (event,) = [event async for event in stream]

    assert isinstance(event, ImageEditCompletedEvent)
    assert picture(event.b64_json).size == (64, 48)


async def test_a_stream_is_kept_open_until_there_is_something_to_tell(
    tmp_path: Path, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interfaces.openai.streaming.BEAT", 0.01)
    settings = settings_for(tmp_path, database_url, redis_url)
    async with running(settings) as stack:
        wish = {"prompt": "a fox", "size": "64x48", "stream": True}
        async with stack.client.stream("POST", "/v1/images/generations", json=wish) as answer:
            lines = answer.aiter_lines()
            told = [await anext(lines) for _ in range(6)]
            await stack.perform_all()
            rest = [line async for line in lines]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert told == [": it is being made", "", ": still here", "", ": still here", ""]
    assert "event: image_generation.completed" in rest


async def test_a_client_that_goes_away_cancels_nothing(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with running(settings_for(tmp_path, database_url, redis_url)) as stack:
        for wish in ({"prompt": "a fox"}, {"prompt": "a fox", "stream": True}):
            asking = asyncio.create_task(stack.client.post("/v1/images/generations", json=wish))
            while not await stack.rows("SELECT FROM work"):
                await asyncio.sleep(0.01)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await stack.perform_all()
            ((topic,),) = await stack.rows(LAST.replace("originator_id", "topic"))
            assert topic.startswith("generation.completed@")


async def test_models_are_those_of_the_providers(openai: AsyncOpenAI) -> None:
    listed = [model async for model in openai.models.list()]

    assert [(model.id, model.owned_by, model.object) for model in listed] == [
        ("sketch-1", "sketch", "model")
    ]
    assert await openai.models.retrieve("sketch-1") == listed[0]


async def test_an_answer_names_its_request_and_its_generation(
    openai: AsyncOpenAI, painting: Stack
) -> None:
    raw = await openai.images.with_raw_response.generate(
        prompt="a fox", size=SIZE, extra_headers={"X-Request-Id": "req_1", "Idempotency-Key": "k"}
    )
    again = await openai.images.with_raw_response.generate(
        prompt="a fox", size=SIZE, extra_headers={"Idempotency-Key": "k"}
    )

    assert raw.headers["x-request-id"] == "req_1"
    assert (await openai.images.generate(prompt="b", size=SIZE))._request_id
    generation = raw.headers["x-darkroom-generation"]
    assert again.headers["x-darkroom-generation"] == generation
    assert again.headers["idempotent-replayed"] == "true"
    shown = await painting.client.get(f"/api/v1/generations/{generation}")
    assert shown.json()["status"] == "completed"


async def test_models_of_a_provider_that_is_off_are_not_listed_and_not_made(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    off = {"OPENAI_API_KEY": "no-key", "DARKROOM_PROVIDERS": "sketch,openai"}
    settings = settings_for(tmp_path, database_url, redis_url)
    settings = load_settings({**settings.environ(), **off})
    async with running(settings) as stack, client_of(url_of(stack)) as client:
        assert len([model async for model in client.models.list()]) > 1
        await stack.client.post("/api/v1/admin/providers/openai", json={"enabled": False})
        await stack.container.switches().look()

        listed = [model.id async for model in client.models.list()]
        with pytest.raises(NotFoundError):
            await client.models.retrieve("gpt-image-2")
        with pytest.raises(BadRequestError, match="openai is switched off"):
            await client.images.generate(prompt="a fox", model="gpt-image-2")
        with pytest.raises(BadRequestError, match="Choose one of sketch-1, or leave it out"):
            await client.images.generate(prompt="a fox", model="gpt-9")

    assert listed == ["sketch-1"]
