"""Bounds on generations in flight, of one user and of all, as whoever asks is told of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from infrastructure.event_store.check import check
from tests.e2e.openai_python import PROMPT, client_of, url_of
from tests.e2e.stack import Stack, running, settings_for
from tests.people import new_key, new_user, shown

URL = "/api/v1/generations"
WISH = {"prompt": "a lighthouse", "size": "64x64"}


@pytest.fixture
async def small(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[Stack]:
    bounds = {"most_in_flight": "3", "most_in_flight_per_user": "2"}
    async with running(settings_for(tmp_path, database_url, redis_url, **bounds)) as stack:
        yield stack


async def ask(stack: Stack, key: str | None = None, **headers: str) -> httpx.Response:
    """By the owner of this key, or by the administrator."""
    told = {"Prefer": "respond-async", **(shown(key) if key else {}), **headers}
    return await stack.client.post(URL, json=WISH, headers=told)


async def somebody(stack: Stack) -> str:
    store = stack.container.store()
    return await new_key(store, await new_user(store), "generate")


def refused(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert int(answer.headers["Retry-After"]) > 0
    problem: dict[str, Any] = answer.json()
    return problem


async def test_who_has_as_many_in_flight_as_may_be_is_refused_and_nobody_else(small: Stack) -> None:
    first, second = [(await ask(small)).json() for _ in range(2)]
    problem = refused(await ask(small), 429)
    assert problem["type"] == "/problems/too-many-in-flight"
    assert problem["violated-policies"] == ["in-flight"]
    assert "2 generations are in flight for you" in problem["detail"]
    assert (await ask(small, await somebody(small))).status_code == 202

    await small.client.post(f"{first['links']['self']}/cancel")
    assert (await ask(small)).status_code == 202
    refused(await ask(small), 429)
    await small.perform_all()
    assert (await small.client.get(second["links"]["self"])).json()["status"] == "completed"
    assert (await ask(small)).status_code == 202
    assert await check(small.container.database_url()) == []


async def test_over_the_bound_of_all_the_service_is_busy(small: Stack) -> None:
    keys = [None, await somebody(small), await somebody(small), await somebody(small)]
    answers = [await ask(small, key) for key in keys]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 503]
    problem = refused(answers[3], 503)
    assert problem["code"] == "temporary-reduced-capacity"
    assert "3 generations are in flight here" in problem["detail"]


async def test_a_failed_generation_makes_room_and_its_retry_takes_it(small: Stack) -> None:
    queued = (await ask(small)).json()
    await small.client.post(f"{queued['links']['self']}/cancel")
    again = f"{queued['links']['self']}/retry"
    headers = {"Prefer": "respond-async"}
    for _ in range(2):
        assert (await small.client.post(again, headers=headers)).status_code == 202
    refused(await small.client.post(again, headers=headers), 429)


async def test_a_repeat_is_answered_by_what_it_made_however_much_is_in_flight(
    small: Stack,
) -> None:
    key = {"Idempotency-Key": '"one"'}
    made = await ask(small, **key)
    await ask(small)
    refused(await ask(small), 429)
    repeated = await ask(small, **key)
    assert (repeated.status_code, repeated.json()["id"]) == (202, made.json()["id"])
    refused(await ask(small, **{"Idempotency-Key": '"other"'}), 429)
    await small.perform_all()
    assert (await ask(small, **{"Idempotency-Key": '"other"'})).status_code == 202


async def test_openais_clients_are_told_of_a_rate_limit_and_to_come_back(small: Stack) -> None:
    for _ in range(2):
        await ask(small)
    async with client_of(url_of(small)) as client:
        with pytest.raises(openai.RateLimitError) as of_user:
            await client.images.generate(**PROMPT)
    assert (of_user.value.code, of_user.value.type) == ("rate_limit_exceeded", "requests")
    assert of_user.value.response.headers["x-should-retry"] == "true"
    assert int(of_user.value.response.headers["retry-after"]) > 0

    await ask(small, await somebody(small))
    async with client_of(url_of(small)) as client:
        client.api_key = await somebody(small)
        with pytest.raises(openai.InternalServerError) as of_all:
            await client.images.generate(**PROMPT)
    assert (of_all.value.status_code, of_all.value.code) == (503, "service_unavailable")
    assert of_all.value.response.headers["x-should-retry"] == "true"
