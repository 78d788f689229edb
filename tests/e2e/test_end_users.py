"""The end users whom a backend names: kept with what is theirs, and with a quota of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infrastructure.event_store.check import check
from infrastructure.settings import Settings
from tests.e2e.stack import Stack, running, settings_for

URL = "/api/v1/generations"
QUOTA = "/api/v1/me/quota"
ASYNC = {"Prefer": "respond-async"}
JANE, JOE = "jane@example.org", "joe"
COUNTERS = "SELECT window_type, units FROM quota_counters ORDER BY 1, 2"


@pytest.fixture
async def small(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[Stack]:
    """A stack with three units a day for each end user."""
    settings = settings_for(tmp_path, database_url, redis_url, end_user_daily_quota="3")
    async with running(settings) as stack:
        yield stack


async def post(stack: Stack, **fields: Any) -> httpx.Response:
    asked = {"prompt": "a lighthouse", "size": "64x64", **fields}
    return await stack.client.post(URL, json=asked, headers=ASYNC)


# --- kept with what is theirs --------------------------------------------------------------------


async def test_who_it_is_for_is_told_wherever_the_generation_is(stack: Stack) -> None:
    made = await stack.generate(endUser=JANE)
    await stack.generate(endUser=JOE)
    nobodys = await stack.generate()
    assert (made["endUser"], nobodys["endUser"]) == (JANE, None)
    retried = await stack.client.post(f"{URL}/{made['id']}/cancel")
    assert retried.json()["endUser"] == JANE
    again = await stack.client.post(f"{URL}/{made['id']}/retry", headers=ASYNC)
    assert again.json()["endUser"] == JANE

    async with stack.followed(), asyncio.timeout(10):
        while len((await stack.client.get(URL)).json()["items"]) < 4:
            await asyncio.sleep(0.01)
        of_jane = await stack.client.get(URL, params={"endUser": JANE})
        of_nobody = await stack.client.get(URL, params={"endUser": "jane"})

    assert [item["endUser"] for item in of_jane.json()["items"]] == [JANE, JANE]
    assert of_nobody.json()["items"] == []


async def test_a_form_names_an_end_user_too(stack: Stack) -> None:
    fields = {"prompt": "a fox", "size": "64x64", "endUser": "4711"}
    parts = {name: (None, value) for name, value in fields.items()}

    answer = await stack.client.post(URL, files=parts, headers=ASYNC)

    assert answer.status_code == 202, answer.text
    assert answer.json()["endUser"] == "4711"


@pytest.mark.parametrize(
    "sent", ["", "x" * 257, "nul \0", 17], ids=["empty", "long", "nul", "no text"]
)
async def test_what_names_nobody_is_refused(stack: Stack, sent: object) -> None:
    answer = await post(stack, endUser=sent)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert [mistake["pointer"] for mistake in answer.json()["errors"]] == ["#/endUser"]
    assert await stack.recorded() == 0
    if isinstance(sent, str):
        asked = await stack.client.get(QUOTA, params={"endUser": sent})
        assert (asked.status_code, asked.json()["code"]) == (422, "invalid-request")


async def test_the_same_key_for_another_end_user_is_another_request(stack: Stack) -> None:
    headers = {**ASYNC, "Idempotency-Key": "k"}
    asked = {"prompt": "a fox", "endUser": JANE}
    first = await stack.client.post(URL, json=asked, headers=headers)
    same = await stack.client.post(URL, json=asked, headers=headers)
    other = await stack.client.post(URL, json={**asked, "endUser": JOE}, headers=headers)

    assert same.json()["id"] == first.json()["id"]
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


async def test_a_name_is_personal_data(stack: Stack) -> None:
    await stack.generate(endUser=JANE)

    [(event,)] = await stack.rows("SELECT event FROM events WHERE topic LIKE 'generation.%'")
    assert event.pop("personal")["end_user"] == JANE
    assert "jane" not in json.dumps(event)


# --- a quota of their own ------------------------------------------------------------------------


async def test_without_a_quota_nothing_is_counted_for_end_users(stack: Stack) -> None:
    await stack.generate(endUser=JANE, count=2)

    assert await stack.rows(COUNTERS) == [("daily", 2), ("monthly", 2)]


async def test_each_end_user_has_a_quota_and_nobody_else_is_held_up(small: Stack) -> None:
    assert (await post(small, endUser=JANE, count=2)).status_code == 202

    refused = await post(small, endUser=JANE, count=2)

    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (429, "quota-exceeded")
    assert problem["violated-policies"] == ["end-user-daily"]
    assert "1 of the end user's 3 daily units are left" in problem["detail"]
    assert 0 < int(refused.headers["retry-after"]) <= 24 * 3600
    assert await small.rows(COUNTERS) == [
        ("daily", 2),
        ("end-user-daily", 2),
        ("end-user-monthly", 2),
        ("monthly", 2),
    ]
    for others in ({"endUser": JOE}, {}):
        assert (await post(small, **others, count=3)).status_code == 202


async def test_a_retry_takes_from_the_end_user_again(small: Stack) -> None:
    made = await small.generate(endUser=JANE, count=2)
    await small.perform_all()

    answer = await small.client.post(f"{URL}/{made['id']}/retry", headers=ASYNC)

    assert answer.json()["violated-policies"] == ["end-user-daily"]


async def test_the_quota_of_an_end_user_is_told(small: Stack) -> None:
    await small.generate(endUser=JANE, count=2)
    await small.generate(endUser=JOE)

    told = (await small.client.get(QUOTA, params={"endUser": JANE})).json()["windows"]

    assert [(w["type"], w["limit"], w["used"], w["remaining"]) for w in told] == [
        ("daily", 500, 3, 497),
        ("monthly", 10_000, 3, 9_997),
        ("end-user-daily", 3, 2, 1),
        ("end-user-monthly", None, 2, None),
    ]


async def test_units_of_pictures_that_are_not_made_go_back_to_the_end_user(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    quota = {"end_user_daily_quota": "3", "sketch_faults": "refuse=1"}
    async with running(settings_for(tmp_path, database_url, redis_url, **quota)) as stack:
        await stack.generate(endUser=JANE, count=3)
        await stack.perform_all()
        cancelled = await stack.generate(endUser=JANE, count=3)
        await stack.client.post(f"{URL}/{cancelled['id']}/cancel")

        assert {units for _, units in await stack.rows(COUNTERS)} == {0}
        assert await check(database_url) == []


@pytest.mark.parametrize(
    ("before", "after"), [("unlimited", "3"), ("3", "unlimited")], ids=["set", "unset"]
)
async def test_units_go_back_as_they_were_taken_when_the_quota_is_changed_meanwhile(
    tmp_path: Path, database_url: str, redis_url: str, before: str, after: str
) -> None:
    def settings(quota: str) -> Settings:
        return settings_for(tmp_path, database_url, redis_url, end_user_daily_quota=quota)

    async with running(settings(before)) as stack:
        made = await stack.generate(endUser=JANE, count=2)
    async with running(settings(after)) as stack:
        await stack.client.post(f"{URL}/{made['id']}/cancel")

        assert {units for _, units in await stack.rows(COUNTERS)} == {0}
        assert await check(database_url) == []
