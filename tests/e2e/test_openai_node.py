"""OpenAI's own SDK for JavaScript drives a Darkroom."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.openai_python import cancel_what_is_queued, picture, url_of
from tests.e2e.stack import Stack, encoded, running, settings_for
from tests.node import HERE, MODULES, NODE, environment
from tests.processes import ADMIN_KEY
from tests.proxy import Proxy

Does = Callable[..., Awaitable[Any]]
ASKED = "SELECT FROM stored_events WHERE topic LIKE 'generation.requested@%'"


async def node(url: str, what: str, *, key: str = ADMIN_KEY, retries: int = 0) -> Any:
    """What the script says after doing this."""
    assert (MODULES / "openai").exists(), "It is not installed. Run `make test`, which does that."
    process = await asyncio.create_subprocess_exec(
        str(NODE),
        str(HERE / "openai.mjs"),
        what,
        env={
            **environment(),
            "OPENAI_BASE_URL": f"{url}/v1",
            "OPENAI_API_KEY": key,
            "RETRIES": f"{retries}",
            "PICTURE": base64.b64encode(encoded("PNG")).decode(),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return json.loads(said)


@pytest.fixture
async def stack(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[Stack]:
    settings = settings_for(tmp_path, database_url, redis_url)
    async with running(settings) as started, started.at_work():
        yield started


@pytest.fixture
def does(stack: Stack) -> Does:
    async def do(what: str, **options: Any) -> Any:
        return await node(url_of(stack), what, **options)

    return do


async def test_it_gets_pictures_and_urls(does: Does, stack: Stack) -> None:
    made = await does("generate")
    assert [picture(one["b64_json"]).size for one in made["data"]] == [(64, 48)] * 2
    assert made["usage"]["total_tokens"] == 0
    (only,) = (await does("url"))["data"]
    assert only["url"].startswith(f"{stack.settings.public_url}/images/")


@pytest.mark.parametrize(("what", "references"), [("edit", 1), ("edits", 2)])
async def test_it_edits_pictures(does: Does, stack: Stack, what: str, references: int) -> None:
    made = await does(what)

    assert picture(made["data"][0]["b64_json"]).size == (64, 48)
    counted = "SELECT jsonb_array_length(convert_from(state, 'UTF8')::jsonb -> 'references')"
    assert await stack.rows(ASKED.replace("SELECT", counted)) == [(references,)]


@pytest.mark.parametrize(
    ("what", "operation"), [("stream", "image_generation"), ("edit_stream", "image_edit")]
)
async def test_it_reads_streams(does: Does, what: str, operation: str) -> None:
    (event,) = await does(what)

    assert event["type"] == f"{operation}.completed"
    assert picture(event["b64_json"]).size == (64, 48)


async def test_it_lists_models(does: Does) -> None:
    listed = await does("models")

    assert [model["id"] for model in listed] == ["sketch-1"]
    assert await does("model") == listed[0]


@pytest.mark.parametrize(
    ("what", "key", "kind", "told"),
    [
        ("bad", ADMIN_KEY, "BadRequestError", (400, "invalid_value", "n")),
        ("mask", ADMIN_KEY, "BadRequestError", (400, "invalid_value", None)),
        ("generate", "sk-wrong", "AuthenticationError", (401, "invalid_api_key", None)),
        ("no_model", ADMIN_KEY, "NotFoundError", (404, "model_not_found", "model")),
        (
            "key_for_two",
            ADMIN_KEY,
            "UnprocessableEntityError",
            (422, "idempotency_key_reused", None),
        ),
    ],
)
async def test_it_throws_the_class_that_its_users_catch(
    does: Does, what: str, key: str, kind: str, told: tuple[Any, ...]
) -> None:
    thrown = await does(what, key=key)

    assert thrown["kind"] == kind
    assert (thrown["status"], thrown["code"], thrown["param"]) == told
    assert thrown["requestID"]


OF_SETTINGS = {
    "a used-up quota": ({"daily_quota": "1"}, "RateLimitError", (429, "insufficient_quota")),
    "a refusal": ({"sketch_faults": "refuse=1"}, "BadRequestError", (400, "moderation_blocked")),
    "a failure": ({"sketch_faults": "fail=1"}, "InternalServerError", (502, "provider_failed")),
}


@pytest.mark.parametrize("why", OF_SETTINGS)
async def test_it_throws_what_becomes_of_a_generation_and_asks_no_second_time(
    tmp_path: Path,
    database_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    why: str,
) -> None:
    of_its_own, kind, told = OF_SETTINGS[why]
    monkeypatch.setattr("domain.failure.FIRST_WAIT", timedelta(milliseconds=1))
    settings = settings_for(tmp_path, database_url, redis_url, **of_its_own)
    async with running(settings) as stack, stack.at_work():
        thrown = await node(url_of(stack), "generate", retries=2)
        asked = await stack.rows(ASKED)

    assert (thrown["kind"], (thrown["status"], thrown["code"])) == (kind, told)
    assert len(asked) == (0 if kind == "RateLimitError" else 1)


async def test_it_throws_a_conflict_for_what_somebody_cancels(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with running(settings_for(tmp_path, database_url, redis_url)) as stack:
        asking = asyncio.create_task(node(url_of(stack), "generate", retries=2))
        await cancel_what_is_queued(stack)
        thrown = await asking

    assert (thrown["kind"], thrown["status"]) == ("ConflictError", 409)
    assert thrown["code"] == "generation_cancelled"


async def test_within_a_stream_it_throws_an_api_error(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    settings = settings_for(tmp_path, database_url, redis_url, sketch_faults="refuse=1")
    async with running(settings) as stack, stack.at_work():
        thrown = await node(url_of(stack), "stream")

    assert thrown["kind"] == "APIError"
    assert (thrown["code"], thrown["type"]) == ("moderation_blocked", "image_generation_user_error")


async def test_what_it_sends_again_is_one_request(stack: Stack) -> None:
    async with Proxy(url_of(stack)) as proxy:
        proxy.cut_next_answer = True
        made = await node(proxy.url, "generate", retries=2)

    assert proxy.cuts == 1
    assert len(made["data"]) == 2
    assert len(await stack.rows(ASKED)) == 1
