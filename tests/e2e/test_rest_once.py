"""A request is done once, however often it is sent, and never beyond the quota."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.stack import Stack, running, settings_for

URL = "/api/v1/generations"
ASYNC = {"Prefer": "respond-async"}
PROMPT = {"prompt": "a lighthouse in fog", "size": "64x64"}


async def test_a_repeated_request_is_one_generation(stack: Stack) -> None:
    key = {"Idempotency-Key": '"8e03978e-40d5"'}
    async with stack.at_work():
        first = await stack.client.post(URL, json=PROMPT, headers=key)
        again = await stack.client.post(
            URL, json=PROMPT, headers={"Idempotency-Key": "8e03978e-40d5"}
        )

    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert await units(stack) == 1


async def test_concurrent_repeats_wait_for_the_same_generation(stack: Stack) -> None:
    key = {"Idempotency-Key": "k"}
    async with stack.at_work():
        posts = [stack.client.post(URL, json=PROMPT, headers=key) for _ in range(20)]
        answers = await asyncio.gather(*posts)

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 19
    assert await units(stack) == 1


async def test_the_same_request_may_be_written_differently(stack: Stack) -> None:
    key = {**ASYNC, "Idempotency-Key": "k"}
    first = await stack.client.post(URL, json={**PROMPT, "count": 1}, headers=key)
    again = await stack.client.post(
        "/api/v1/generate-image",
        content=b'{ "size":"64x64", "prompt":"a lighthouse\\u0020in fog", "metadata": {} }',
        headers={**key, "Content-Type": "application/json; charset=utf-8"},
    )

    assert again.json()["id"] == first.json()["id"]


async def test_a_key_with_another_request_is_refused(stack: Stack) -> None:
    key = {**ASYNC, "Idempotency-Key": "k"}
    await stack.client.post(URL, json=PROMPT, headers=key)

    answer = await stack.client.post(URL, json={**PROMPT, "seed": 8}, headers=key)

    assert answer.status_code == 422
    assert answer.json()["code"] == "idempotency-key-reused"
    assert await units(stack) == 1


async def test_a_replayed_failure_says_that_it_is_one(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    key = {"Idempotency-Key": "k"}
    async with (
        running(settings_for(tmp_path, database_url, redis_url, sketch_faults="refuse=1")) as stack,
        stack.at_work(),
    ):
        first = await stack.client.post(URL, json=PROMPT, headers=key)
        again = await stack.client.post(URL, json=PROMPT, headers=key)

    assert (first.status_code, again.status_code) == (422, 422)
    assert first.json()["generationId"] == again.json()["generationId"]
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_malformed_key_is_refused(stack: Stack) -> None:
    answer = await stack.client.post(URL, json=PROMPT, headers={"Idempotency-Key": '"open'})

    assert answer.status_code == 400
    assert answer.json()["code"] == "idempotency-key-malformed"
    assert await stack.recorded() == 0


async def units(stack: Stack) -> int:
    query = "SELECT units FROM quota_counters WHERE window_type = 'daily'"
    return int((await stack.rows(query))[0][0])


# --- the quota -----------------------------------------------------------------------------------


@pytest.fixture
async def small(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[Stack]:
    """A stack with three units a day."""
    async with running(settings_for(tmp_path, database_url, redis_url, daily_quota="3")) as stack:
        yield stack


async def test_the_quota_is_told(small: Stack) -> None:
    await small.generate(count=2)

    daily, monthly = (await small.client.get("/api/v1/me/quota")).json()["windows"]

    assert (daily["type"], daily["limit"], daily["used"], daily["remaining"]) == ("daily", 3, 2, 1)
    assert (monthly["type"], monthly["used"], monthly["remaining"]) == ("monthly", 2, 9998)
    assert daily["startsAt"] < daily["resetsAt"] <= monthly["resetsAt"]


async def test_what_exceeds_the_quota_is_refused(small: Stack) -> None:
    await small.generate(count=2)

    answer = await small.client.post(URL, json={**PROMPT, "count": 2}, headers=ASYNC)

    assert answer.status_code == 429
    problem = answer.json()
    assert problem["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert problem["violated-policies"] == ["daily"]
    assert 0 < int(answer.headers["retry-after"]) <= 24 * 3600
    assert await small.recorded() == 1


async def test_a_key_is_recorded_as_a_hash_of_which_the_event_has_a_copy(stack: Stack) -> None:
    key = {**ASYNC, "Idempotency-Key": "order of jane@example.org"}
    await stack.client.post(URL, json=PROMPT, headers=key)

    kept = await stack.rows("SELECT key, fingerprint FROM idempotency_keys")
    told = await stack.rows(
        "SELECT event #>> '{metadata,idempotency,key}',"
        " event #>> '{metadata,idempotency,fingerprint}' FROM events WHERE topic LIKE 'gen%'"
    )
    assert kept == told
    everything = await stack.rows("SELECT event::text FROM events")
    assert "jane" not in f"{kept} {everything}"
