"""What is left of the quota, in the headers of answers and in problems."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from application.accounts import ADMINISTRATOR
from domain.quota import UserWindowType
from tests.e2e.stack import Stack, running, settings_for

URL = "/api/v1/generations"
QUOTA = "/api/v1/me/quota"
ASYNC = {"Prefer": "respond-async"}
PROMPT = {"prompt": "a lighthouse", "size": "64x64"}
NEITHER = (None, None)
MEMBER = re.compile(r'"(?P<name>[a-z-]+)"(?P<parameters>(;[a-z-]+=("[a-z]*"|[0-9]+))+)(, |$)')


def read(field: str) -> dict[str, dict[str, int | str]]:
    """Names and their parameters; all of the field has to be of this form."""
    found = list(MEMBER.finditer(field))
    assert "".join(match[0] for match in found) == field
    return {
        match["name"]: {
            key: told.strip('"') if told.startswith('"') else int(told)
            for key, told in (one.split("=") for one in match["parameters"][1:].split(";"))
        }
        for match in found
    }


def left(answer: httpx.Response) -> dict[str, tuple[int | str, int | str]]:
    """Of each policy how many units there are, and how many are left."""
    policies = read(answer.headers["ratelimit-policy"])
    limits = read(answer.headers["ratelimit"])
    assert policies.keys() == limits.keys()
    for name, policy in policies.items():
        assert policy["darkroom-unit"] == "images"
        assert 0 < int(limits[name]["t"]) <= int(policy["w"])
        days = range(28, 32) if name.endswith("monthly") else (1,)
        assert int(policy["w"]) in [day * 86_400 for day in days]
    return {name: (policies[name]["q"], limits[name]["r"]) for name in policies}


def told(answer: httpx.Response) -> tuple[str | None, str | None]:
    return answer.headers.get("ratelimit-policy"), answer.headers.get("ratelimit")


async def post(stack: Stack, headers: dict[str, str] = ASYNC, **fields: Any) -> httpx.Response:
    return await stack.client.post(URL, json={**PROMPT, **fields}, headers=headers)


async def test_what_is_left_is_told_of_every_window_with_a_limit(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    quotas = {"daily_quota": "9", "monthly_quota": "unlimited", "end_user_daily_quota": "4"}
    async with running(settings_for(tmp_path, database_url, redis_url, **quotas)) as stack:
        asked = await post(stack, count=2)
        for_jane = await post(stack, count=3, endUser="jane")
        mine = await stack.client.get(QUOTA)
        hers = await stack.client.get(QUOTA, params={"endUser": "jane"})
        same = await stack.client.get(QUOTA, headers={"If-None-Match": mine.headers["etag"]})
        cancelled = await stack.client.post(f"{URL}/{asked.json()['id']}/cancel")
        retried = await stack.client.post(f"{URL}/{asked.json()['id']}/retry", headers=ASYNC)
        async with stack.at_work():
            waited = await stack.client.post("/api/v1/generate-image", json=PROMPT)
            for_joe = await stack.client.post(
                "/v1/images/generations", json={"prompt": "a fox", "user": "joe"}
            )

    assert left(asked) == {"daily": (9, 7)}
    assert left(for_jane) == {"daily": (9, 4), "end-user-daily": (4, 1)}
    assert left(mine) == {"daily": (9, 4)}
    assert left(hers) == left(for_jane)
    assert (same.status_code, left(same)) == (304, left(mine))
    assert told(cancelled) == NEITHER
    assert (retried.status_code, left(retried)) == (202, {"daily": (9, 4)})
    assert (waited.status_code, left(waited)) == (201, {"daily": (9, 3)})
    assert (for_joe.status_code, left(for_joe)) == (
        200,
        {"daily": (9, 2), "end-user-daily": (4, 3)},
    )


async def test_who_is_refused_is_told_by_which_policies_and_what_is_left(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    quotas = {"daily_quota": "4", "monthly_quota": "5"}
    async with running(settings_for(tmp_path, database_url, redis_url, **quotas)) as stack:
        await post(stack, count=3)
        daily, both = await post(stack, count=2), await post(stack, count=3)
        never = await post(stack, count=5)
        openai = await stack.client.post("/v1/images/generations", json={"prompt": "a fox", "n": 2})

    answers = (daily, both, never, openai)
    assert [answer.status_code for answer in answers] == [429] * 4
    assert all(left(answer) == {"daily": (4, 1), "monthly": (5, 2)} for answer in answers)
    assert [answer.json()["violated-policies"] for answer in answers[:3]] == [
        ["daily"],
        ["daily", "monthly"],
        ["daily", "monthly"],
    ]
    for answer, waited_for in ((daily, "daily"), (both, "monthly"), (openai, "daily")):
        limits = read(answer.headers["ratelimit"])
        assert int(answer.headers["retry-after"]) == limits[waited_for]["t"]
    assert "retry-after" not in never.headers


async def test_a_limit_of_ones_own_that_is_below_what_is_used_leaves_nothing(
    stack: Stack,
) -> None:
    async def limit(**limits: int | None) -> None:
        given: dict[UserWindowType, int | None] = {**limits}  # type: ignore[dict-item]  # they are named like windows
        await stack.container.people().limit(ADMINISTRATOR, given, by=UUID(int=9))

    await post(stack, count=3)
    await limit(daily=2)
    refused, quota = await post(stack), await stack.client.get(QUOTA)
    await limit(daily=None, monthly=None)
    unlimited = await post(stack)
    await limit(daily=5)
    raised = await post(stack)

    assert (refused.status_code, left(refused)["daily"]) == (429, (2, 0))
    assert left(quota)["daily"] == (2, 0)
    assert [window["remaining"] for window in quota.json()["windows"]] == [0, 9_997]
    assert (unlimited.status_code, told(unlimited)) == (202, NEITHER)
    assert left(raised) == {"daily": (5, 0), "monthly": (10_000, 9_995)}


async def test_a_repeated_request_is_told_nothing_that_was_true_once(stack: Stack) -> None:
    key = {**ASYNC, "Idempotency-Key": "k"}
    first, again = await post(stack, key), await post(stack, key)

    assert left(first)["daily"] == (500, 499)
    assert again.headers["idempotent-replayed"] == "true"
    assert told(again) == NEITHER


async def test_a_picture_that_failed_has_given_back_what_it_took(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with (
        running(settings_for(tmp_path, database_url, redis_url, sketch_faults="refuse=1")) as stack,
        stack.at_work(),
    ):
        failed = await post(stack, {})
        quota = await stack.client.get(QUOTA)

    assert (failed.status_code, told(failed)) == (422, NEITHER)
    assert left(quota)["daily"] == (500, 500)


async def test_a_stream_begins_with_what_is_left(stack: Stack) -> None:
    body = {"prompt": "a fox", "size": "64x64", "stream": True}
    async with (
        stack.at_work(),
        stack.client.stream("POST", "/v1/images/generations", json=body) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert left(answer) == {"daily": (500, 499), "monthly": (10_000, 9_999)}
        await answer.aread()
