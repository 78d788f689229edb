"""What goes wrong is raised by OpenAI's own Python SDK as the class that its users catch."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from tests.e2e.openai_python import (
    PROMPT,
    SIZE,
    cancel_what_is_queued,
    client_of,
    painting,
    url_of,
)
from tests.e2e.stack import Stack, encoded, running, settings_for

IMAGES = "/v1/images/generations"
JSON = {"Content-Type": "application/json"}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def client(shared: Stack) -> AsyncIterator[AsyncOpenAI]:
    async with client_of(url_of(shared)) as made:
        yield made


# --- before anything is asked for ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "param", "code", "message"),
    [
        ({"size": "huge"}, "size", "invalid_value", "1024x1024"),
        ({"size": "8x8"}, "size", "invalid_value", "16 to 4096"),
        ({"n": 11}, "n", "invalid_value", "`n` must be 10 or less"),
        ({"prompt": ""}, "prompt", "invalid_value", "`prompt`"),
        ({"model": "gpt-9"}, "model", "invalid_value", "Choose one of sketch-1"),
        ({"quality": "best"}, "quality", "invalid_value", "'low', 'medium'"),
        ({"output_format": "gif"}, "output_format", "invalid_value", "'png', 'jpeg' or 'webp'"),
        ({"output_compression": 101}, "output_compression", "invalid_value", "100 or less"),
        ({"partial_images": 4}, "partial_images", "invalid_value", "3 or less"),
        ({"response_format": "file"}, "response_format", "invalid_value", "'url' or 'b64_json'"),
        (
            {"background": "transparent", "output_format": "jpeg"},
            "background",
            "invalid_value",
            "png or webp",
        ),
        ({"extra_body": {"n": "2"}}, "n", "invalid_type", "`n` must be a whole number"),
        ({"extra_body": {"colour": "red"}}, "colour", "unknown_parameter", "no field `colour`"),
        ({"svg": {"model": "x"}}, "svg", "unsupported_parameter", "not offered here"),
        ({"frame_count": 3}, "frame_count", "unsupported_parameter", "not offered here"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_a_wrong_field_is_a_bad_request_that_names_it(
    client: AsyncOpenAI, shared: Stack, wish: dict[str, Any], param: str, code: str, message: str
) -> None:
    before = await shared.recorded()

    with pytest.raises(openai.BadRequestError) as refused:
        await client.images.generate(**{**PROMPT, **wish})

    assert (refused.value.param, refused.value.code) == (param, code)
    assert refused.value.type == "invalid_request_error"
    assert message in str(refused.value)
    assert refused.value.request_id == refused.value.response.headers["x-request-id"]
    assert await shared.recorded() == before


async def test_no_prompt_is_a_missing_parameter(shared: Stack) -> None:
    answer = await shared.client.post(IMAGES, json={})

    assert answer.status_code == 400
    assert answer.json() == {
        "error": {
            "message": "`prompt` is missing. Send it.",
            "type": "invalid_request_error",
            "param": "prompt",
            "code": "missing_required_parameter",
        }
    }


@pytest.mark.parametrize(
    ("image", "param", "message"),
    [
        ({"image_url": "https://example.com/a.png"}, "images[0].image_url", "nothing is fetched"),
        ({"file_id": "file-1"}, "images[0].file_id", "No files are kept here, but"),
        ({}, "images[0].image_url", "`image_url` is missing"),
        (
            {"image_url": "data:image/png;base64,AAAA"},
            "images[0].image_url",
            "no PNG, JPEG or WebP",
        ),
    ],
)
async def test_a_picture_that_is_none_or_elsewhere_is_refused_with_a_sentence(
    shared: Stack, image: dict[str, str], param: str, message: str
) -> None:
    answer = await shared.client.post("/v1/images/edits", json={**PROMPT, "images": [image]})

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert message in error["message"]


@pytest.mark.parametrize(
    ("mask", "param", "message"),
    [
        ({"file_id": "file-1"}, "mask.file_id", "send the mask itself, as a data URL"),
        ({"file_id": f"{UUID(int=1)}"}, "mask.file_id", "send the mask itself, as a data URL"),
        ({"image_url": "https://example.com/m.png"}, "mask.image_url", "nothing is fetched"),
    ],
)
async def test_a_mask_that_is_none_or_elsewhere_is_refused_with_a_sentence(
    shared: Stack, mask: dict[str, str], param: str, message: str
) -> None:
    picture = f"data:image/png;base64,{b64encode(encoded('PNG')).decode()}"
    wish = {**PROMPT, "images": [{"image_url": picture}], "mask": mask}

    answer = await shared.client.post("/v1/images/edits", json=wish)

    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == param
    assert message in error["message"]


async def test_a_picture_that_was_not_made_is_named_as_it_was_sent(shared: Stack) -> None:
    picture = f"data:image/png;base64,{b64encode(encoded('PNG')).decode()}"
    images = [{"image_url": picture}, {"file_id": f"{UUID(int=1)}"}]

    answer = await shared.client.post("/v1/images/edits", json={**PROMPT, "images": images})

    assert answer.json()["error"]["param"] == "images[1].file_id"


async def test_what_is_no_image_is_a_bad_request(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.images.edit(image=[encoded("PNG"), b"no image at all"], **PROMPT)

    assert (refused.value.param, refused.value.code) == ("image[1]", "invalid_image_file")
    assert refused.value.type == "image_generation_user_error"


async def test_an_edit_without_a_picture_or_with_too_many_is_a_bad_request(
    client: AsyncOpenAI, shared: Stack
) -> None:
    for number in (0, 17):
        files = [("image[]", ("a.png", encoded("PNG"))) for _ in range(number)]
        form = {"data": {"prompt": "a fox"}, "files": files or [("mask", ("m.png", b"x"))]}
        answer = await shared.client.post("/v1/images/edits", **form)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "image")
    bare = await shared.client.post("/v1/images/edits", json=PROMPT)
    assert (bare.status_code, bare.json()["error"]["param"]) == (400, "images")


async def test_a_wrong_key_is_an_authentication_error(shared: Stack) -> None:
    async with client_of(url_of(shared), key="sk-wrong") as stranger:
        for asking in (
            stranger.images.generate(**PROMPT),
            stranger.images.edit(image=encoded("PNG"), **PROMPT),
            stranger.models.retrieve("sketch-1"),
        ):
            with pytest.raises(openai.AuthenticationError) as refused:
                await asking
            assert refused.value.code == "invalid_api_key"


async def test_what_is_not_there_is_not_found(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as no_model:
        await client.models.retrieve("gpt-9")
    with pytest.raises(openai.NotFoundError) as no_route:
        await client.chat.completions.create(model="gpt-9", messages=[])

    assert (no_model.value.param, no_model.value.code) == ("model", "model_not_found")
    assert "POST /v1/images/generations" in str(no_route.value)


async def test_errors_of_http_have_openais_shape_too(shared: Stack) -> None:
    answers = [
        await shared.client.get(IMAGES),
        await shared.client.post(IMAGES, content=b"{", headers={"Content-Type": "text/plain"}),
        await shared.client.post(IMAGES, content=b"{", headers=JSON),
        await shared.client.post(IMAGES, content=bytes(33 * 1024 * 1024), headers=JSON),
        await shared.client.post(IMAGES, json=PROMPT, headers={"Idempotency-Key": '"'}),
        await shared.client.post("/v1", json=PROMPT),
    ]

    codes = [(answer.status_code, answer.json()["error"]["code"]) for answer in answers]
    assert codes == [
        (405, "method_not_allowed"),
        (415, "unsupported_content_type"),
        (400, "malformed_body"),
        (413, "request_too_large"),
        (400, "idempotency_key_malformed"),
        (404, "not_found"),
    ]
    assert answers[0].headers["allow"] == "POST"
    for answer in answers:
        assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-request-id"]
    assert (await shared.client.get("/v2")).json()["code"] == "not-found", "elsewhere it is ours"


async def test_a_key_that_was_used_for_something_else_is_unprocessable(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    keyed = {"extra_headers": {"Idempotency-Key": "k"}}
    async with painting(tmp_path, database_url, redis_url) as (client, _):
        await client.images.generate(**PROMPT, **keyed)
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            await client.images.generate(prompt="a hare", size=SIZE, **keyed)
    assert refused.value.code == "idempotency_key_reused"


async def test_a_used_up_quota_is_a_rate_limit_that_no_sdk_runs_against(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    settings = {"daily_quota": "1"}
    async with painting(tmp_path, database_url, redis_url, **settings) as (client, _):
        await client.images.generate(**PROMPT)
        with pytest.raises(openai.RateLimitError) as refused:
            await client.with_options(max_retries=2).images.generate(**PROMPT)
    assert (refused.value.code, refused.value.type) == ("insufficient_quota",) * 2
    assert int(refused.value.response.headers["retry-after"]) > 0
    assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"


async def test_an_end_users_quota_is_of_that_end_user_alone(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    settings = {"end_user_daily_quota": "1"}
    async with painting(tmp_path, database_url, redis_url, **settings) as (client, _):
        await client.images.generate(**PROMPT, user="first")
        await client.images.generate(**PROMPT, user="first", safety_identifier="second")
        with pytest.raises(openai.RateLimitError) as refused:
            await client.images.generate(**PROMPT, safety_identifier="first")
        await client.images.generate(**PROMPT)
    assert refused.value.code == "insufficient_quota"


# --- after it was accepted -----------------------------------------------------------------------

FAULTS = {
    "refuse": (openai.BadRequestError, "moderation_blocked", "The provider's safety rules"),
    "fail": (openai.InternalServerError, "provider_failed", "The provider "),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_generation_that_fails_is_an_error_of_its_class_once(
    tmp_path: Path,
    database_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    expected, code, sentence = FAULTS[fault]
    monkeypatch.setattr("domain.failure.FIRST_WAIT", timedelta(milliseconds=1))
    settings = {"sketch_faults": f"{fault}=1"}
    async with painting(tmp_path, database_url, redis_url, **settings) as (client, stack):
        with pytest.raises(expected) as failed:
            await client.with_options(max_retries=2).images.generate(**PROMPT)
        asked = await stack.rows("SELECT FROM stored_events WHERE topic LIKE '%.requested@%'")
    assert failed.value.code == code
    assert sentence in str(failed.value)
    assert failed.value.response.headers["x-darkroom-generation"]
    assert len(asked) == 1
    assert failed.value.response.request.headers["x-stainless-retry-count"] == "0"


async def test_a_deadline_that_passes_is_a_servers_error(
    tmp_path: Path, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("domain.failure.FIRST_WAIT", timedelta(minutes=1))
    settings = {"sketch_faults": "fail=1", "call_seconds": "1", "deadline_seconds": "1"}
    async with painting(tmp_path, database_url, redis_url, **settings) as (client, _):
        with pytest.raises(openai.InternalServerError) as failed:
            await client.images.generate(**PROMPT)
    assert (failed.value.status_code, failed.value.code) == (504, "deadline_passed")


async def test_pictures_that_were_deleted_are_not_found_by_a_repeat(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    keyed = {"extra_headers": {"Idempotency-Key": "k"}}
    async with painting(tmp_path, database_url, redis_url) as (client, stack):
        made = await client.images.with_raw_response.generate(**PROMPT, **keyed)
        its = f"/api/v1/generations/{made.headers['x-darkroom-generation']}"
        assert (await stack.client.delete(its)).status_code == 200
        with pytest.raises(openai.NotFoundError) as refused:
            await client.images.generate(**PROMPT, **keyed)
    assert "its pictures were deleted" in str(refused.value)


async def test_what_somebody_cancels_is_a_conflict(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with (
        running(settings_for(tmp_path, database_url, redis_url)) as stack,
        client_of(url_of(stack), retries=2) as client,
    ):
        asking = asyncio.create_task(client.images.generate(**PROMPT))
        await cancel_what_is_queued(stack)
        with pytest.raises(openai.ConflictError) as refused:
            await asking
    assert refused.value.code == "generation_cancelled"
    assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"


async def test_a_failure_within_a_stream_is_an_api_error(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    settings = {"sketch_faults": "refuse=1"}
    async with painting(tmp_path, database_url, redis_url, **settings) as (client, _):
        stream = await client.images.generate(**PROMPT, stream=True)
        with pytest.raises(openai.APIError) as failed:
            await anext(aiter(stream))
    assert type(failed.value) is openai.APIError
    assert (failed.value.code, failed.value.type) == (
        "moderation_blocked",
        "image_generation_user_error",
    )
    assert "safety rules" in str(failed.value)


async def test_a_mistake_before_a_stream_keeps_its_status(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        await client.images.generate(**PROMPT, stream=True, model="gpt-9")


async def test_a_mask_that_no_model_takes_is_a_bad_request(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.images.edit(image=encoded("PNG"), mask=encoded("PNG"), **PROMPT)

    assert refused.value.code == "invalid_value"
    assert "takes no mask" in str(refused.value)
