"""What OpenAI's SDK sends again by itself is taken for what it had asked for before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types import ImagesResponse

from tests.e2e.openai_python import SIZE, client_of, url_of
from tests.e2e.stack import Stack, encoded, running, settings_for
from tests.proxy import Proxy

PROMPT: dict[str, Any] = {"prompt": "a fox", "size": SIZE}
ASKED = "SELECT originator_id FROM stored_events WHERE topic LIKE 'generation.requested@%'"


@pytest.fixture
async def stack(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[Stack]:
    """A service at which nobody works yet."""
    async with running(settings_for(tmp_path, database_url, redis_url)) as started:
        yield started


async def until_asked(stack: Stack, times: int = 1) -> None:
    async with asyncio.timeout(10):
        while len(await stack.rows(ASKED)) < times:
            await asyncio.sleep(0.01)


def bytes_of(made: ImagesResponse) -> str:
    assert made.data is not None
    assert made.data[0].b64_json is not None
    return made.data[0].b64_json


@pytest.mark.parametrize("operation", ["generate", "edit"])
async def test_an_answer_that_is_lost_is_given_again_and_nothing_is_made_twice(
    stack: Stack, operation: str
) -> None:
    more = {"image": encoded("PNG")} if operation == "edit" else {}
    async with (
        Proxy(url_of(stack)) as proxy,
        client_of(proxy.url, retries=2) as client,
        stack.at_work(),
    ):
        proxy.cut_next_answer = True
        raw = await getattr(client.images.with_raw_response, operation)(**PROMPT, **more)

    assert proxy.cuts == 1
    assert raw.http_request.headers["x-stainless-retry-count"] == "1"
    assert raw.headers["idempotent-replayed"] == "true"
    ((only,),) = await stack.rows(ASKED)
    assert raw.headers["x-darkroom-generation"] == str(only)


async def test_a_client_that_waits_for_less_than_a_picture_takes_gets_it_at_its_repeat(
    stack: Stack,
) -> None:
    async with client_of(url_of(stack), retries=5, timeout=1) as client:
        asking = asyncio.create_task(client.images.with_raw_response.generate(**PROMPT))
        await until_asked(stack)
        await asyncio.sleep(1.2)  # it has given its first connection up
        await stack.perform_all()
        raw = await asking

    assert int(raw.http_request.headers["x-stainless-retry-count"]) >= 1
    assert len(await stack.rows(ASKED)) == 1


async def test_equal_requests_are_two_and_their_repeats_get_one_picture_each(
    stack: Stack,
) -> None:
    async with Proxy(url_of(stack)) as proxy, client_of(proxy.url, retries=2) as client:
        asking = [asyncio.create_task(client.images.generate(**PROMPT)) for _ in range(3)]
        await until_asked(stack, 3)
        proxy.cut()
        async with stack.at_work():
            made = await asyncio.gather(*asking)

    assert len({bytes_of(one) for one in made}) == 3
    assert len(await stack.rows(ASKED)) == 3


async def test_who_waits_at_a_process_that_leaves_gets_the_picture_from_another(
    tmp_path: Path, database_url: str, redis_url: str, stack: Stack
) -> None:
    settings = settings_for(tmp_path, database_url, redis_url)
    async with (
        Proxy(url_of(stack)) as proxy,
        client_of(proxy.url, retries=2) as client,
        running(settings) as other,
    ):
        asking = asyncio.create_task(client.images.with_raw_response.generate(**PROMPT))
        await until_asked(stack)
        stack.container.waiting().stop()
        async with asyncio.timeout(10):
            while stack.container.waiting()._under_way:
                await asyncio.sleep(0.01)
        proxy.lead_to(url_of(other))
        async with other.at_work():
            raw = await asking

    assert raw.headers["idempotent-replayed"] == "true"
    assert len(await stack.rows(ASKED)) == 1


async def test_who_does_not_repeat_is_told_that_it_goes_on(stack: Stack) -> None:
    async with client_of(url_of(stack)) as client:
        asking = asyncio.create_task(client.images.generate(**PROMPT))
        await until_asked(stack)
        while not stack.container.waiting()._under_way:
            await asyncio.sleep(0.01)
        stack.container.waiting().stop()
        with pytest.raises(openai.InternalServerError) as told:
            await asking

    assert told.value.status_code == 503
    assert told.value.response.headers["retry-after"] == "2"
    assert "It was accepted and goes on" in str(told.value)
    ((only,),) = await stack.rows(ASKED)
    assert told.value.response.headers["x-darkroom-generation"] == str(only)


async def test_a_client_that_does_not_number_what_it_sends_always_asks_anew(stack: Stack) -> None:
    async with stack.at_work():
        for _ in range(2):
            made = await stack.client.post("/v1/images/generations", json=PROMPT)
            assert made.status_code == 200
    assert len(await stack.rows(ASKED)) == 2
    assert await stack.rows("SELECT FROM idempotency_keys") == []


async def test_a_repeat_of_what_was_accepted_is_answered_when_nobody_could_make_it_any_more(
    stack: Stack,
) -> None:
    async def send(number: int) -> httpx.Response:
        return await stack.client.post(
            "/v1/images/edits",
            data={"prompt": "a fox", "size": SIZE, "model": "sketch-1"},
            files={"image": encoded("PNG")},
            headers={"X-Stainless-Retry-Count": f"{number}"},
        )

    async with stack.at_work():
        first = await send(0)
        assert first.status_code == 200, first.text
        [reference] = (stack.settings.data_dir / "objects" / "references").rglob("*.png")
        reference.unlink()
        await stack.client.post("/api/v1/admin/providers/sketch", json={"enabled": False})
        await stack.container.switches().look()

        repeat, anew = await send(1), await send(0)

    assert repeat.status_code == 200, repeat.text
    assert repeat.headers["idempotent-replayed"] == "true"
    assert repeat.json()["data"] == first.json()["data"]
    assert not reference.exists(), "it was stored again, for nothing"
    assert anew.status_code == 400
    assert "switched off" in anew.json()["error"]["message"]
