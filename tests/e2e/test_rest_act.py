"""Cancelling, retrying and deleting over HTTP, each once, however often it is sent."""

from __future__ import annotations

import asyncio
import base64
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.e2e.stack import Stack, encoded, running, settings_for

URL = "/api/v1/generations"
ASYNC = {"Prefer": "respond-async"}


async def units(stack: Stack) -> int:
    windows = (await stack.client.get("/api/v1/me/quota")).json()["windows"]
    used: int = windows[0]["used"]
    return used


async def completed(stack: Stack, **fields: Any) -> dict[str, Any]:
    queued = await stack.generate(**fields)
    await stack.perform_all()
    generation: dict[str, Any] = (await stack.client.get(queued["links"]["self"])).json()
    assert generation["status"] == "completed"
    return generation


async def topics(stack: Stack, id_: str) -> list[str]:
    items = (await stack.client.get(f"{URL}/{id_}/events")).json()["items"]
    return [item["type"].removeprefix("generation.") for item in items]


# --- cancel --------------------------------------------------------------------------------------


async def test_what_is_queued_is_cancelled_at_once_and_free(stack: Stack) -> None:
    queued = await stack.generate(count=3)
    assert await units(stack) == 3

    answer = await stack.client.post(f"{URL}/{queued['id']}/cancel")

    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert answer.json()["completedAt"] is not None
    assert await units(stack) == 0
    assert await stack.rows("SELECT kind FROM work") == []
    await stack.perform_all()
    assert await topics(stack, queued["id"]) == ["requested", "cancelled"]


async def test_a_call_under_way_is_abandoned_and_what_it_cost_is_recorded(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    slow = settings_for(tmp_path, database_url, redis_url, sketch_seconds="3")
    async with running(slow) as stack, stack.at_work():
        queued = await stack.generate()
        while "call_started" not in await topics(stack, queued["id"]):
            await asyncio.sleep(0.01)

        answer = await stack.client.post(f"{URL}/{queued['id']}/cancel")

        assert (answer.json()["status"], answer.json()["cost"]) == ("cancelled", None)
        while await stack.rows("SELECT kind FROM work"):
            await asyncio.sleep(0.01)
        assert (await topics(stack, queued["id"]))[-1] == "call_answered_late"
        assert await units(stack) == 1
        shown = (await stack.client.get(queued["links"]["self"])).json()

    assert (shown["status"], shown["images"]) == ("cancelled", [])
    assert Decimal(shown["cost"]["amount"]) == Decimal("0.001")
    assert not [*(tmp_path / "objects").rglob("*.png")]


async def test_who_waits_for_what_is_cancelled_is_told(stack: Stack) -> None:
    waiting = asyncio.create_task(
        stack.client.post(URL, json={"prompt": "a lighthouse", "size": "64x64"})
    )
    while not (due := await stack.rows("SELECT ref FROM work")):
        await asyncio.sleep(0.01)

    await stack.client.post(f"{URL}/{due[0][0]}/cancel")

    answer = await waiting
    assert (answer.status_code, answer.json()["code"]) == (409, "generation-cancelled")


async def test_what_has_ended_is_not_cancelled_and_a_second_time_is_no_error(stack: Stack) -> None:
    done, queued = await completed(stack), await stack.generate()
    await stack.client.post(f"{URL}/{queued['id']}/cancel")

    too_late = await stack.client.post(f"{URL}/{done['id']}/cancel")
    again = await stack.client.post(f"{URL}/{queued['id']}/cancel")

    assert (too_late.status_code, too_late.json()["code"]) == (409, "generation-closed")
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")
    assert (await topics(stack, queued["id"])).count("cancelled") == 1


# --- retry ---------------------------------------------------------------------------------------


async def test_a_retry_is_a_new_generation_of_the_same(stack: Stack) -> None:
    image = base64.b64encode(encoded("PNG")).decode()
    wish = {"prompt": "a fox", "seed": 7, "count": 2, "metadata": {"order": "4711"}}
    first = await completed(stack, **wish, referenceImages=[image], deadlineSeconds=60)

    async with stack.at_work():
        answer = await stack.client.post(f"{URL}/{first['id']}/retry")

    again = answer.json()
    assert (answer.status_code, again["status"]) == (201, "completed")
    assert again["retryOf"] == first["id"] != again["id"]
    assert answer.headers["location"] == f"{URL}/{again['id']}"
    for name in ("prompt", "seed", "count", "metadata", "referenceImages"):
        assert again[name] == first[name]
    assert await units(stack) == 4


async def test_a_retry_may_be_followed_instead_of_waited_for(stack: Stack) -> None:
    first = await completed(stack)

    answer = await stack.client.post(f"{URL}/{first['id']}/retry", headers=ASYNC)

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["preference-applied"] == "respond-async"


async def test_what_goes_on_is_neither_retried_nor_deleted(stack: Stack) -> None:
    queued = await stack.generate()

    retried = await stack.client.post(f"{URL}/{queued['id']}/retry")
    deleted = await stack.client.delete(f"{URL}/{queued['id']}")

    assert (retried.status_code, retried.json()["code"]) == (409, "generation-open")
    assert (deleted.status_code, deleted.json()["code"]) == (409, "generation-open")
    assert await stack.recorded() == 1


async def test_a_retry_counts_against_the_quota(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with running(settings_for(tmp_path, database_url, redis_url, daily_quota="1")) as stack:
        first = await completed(stack)

        answer = await stack.client.post(f"{URL}/{first['id']}/retry")

    assert (answer.status_code, answer.json()["code"]) == (429, "quota-exceeded")


async def test_a_retry_with_too_large_a_body_is_refused_before_anything_is_done(
    stack: Stack,
) -> None:
    done = await completed(stack)
    before = await stack.recorded()

    answer = await stack.client.post(f"{URL}/{done['id']}/retry", content=b"x" * (33 * 1024 * 1024))

    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
    assert await stack.recorded() == before


# --- delete --------------------------------------------------------------------------------------


async def test_deleting_takes_the_pictures_and_leaves_the_record(stack: Stack) -> None:
    done = await completed(stack, count=2)
    urls = [image["url"] for image in done["images"]]
    assert (await stack.client.get(urls[0])).status_code == 200

    answer = await stack.client.delete(f"{URL}/{done['id']}")

    assert answer.status_code == 200
    assert (answer.json()["images"], answer.json()["imageUrl"]) == ([], None)
    assert answer.json()["deletedAt"] is not None
    assert [(await stack.client.get(url)).status_code for url in urls] == [404, 404]
    shown = (await stack.client.get(f"{URL}/{done['id']}")).json()
    assert (shown["status"], shown["prompt"]) == ("completed", done["prompt"])
    assert shown["cost"] == done["cost"]
    assert await stack.rows("SELECT kind FROM work") == []


async def test_deleting_again_is_no_error(stack: Stack) -> None:
    done = await completed(stack)

    first = await stack.client.delete(f"{URL}/{done['id']}")
    again = await stack.client.delete(f"{URL}/{done['id']}")

    assert (again.status_code, again.json()) == (200, first.json())
    assert (await topics(stack, done["id"])).count("deleted") == 1


async def test_pictures_that_cannot_be_erased_now_are_erased_by_a_worker(stack: Stack) -> None:
    done = await completed(stack)
    folder = stack.settings.data_dir / "objects" / "images" / done["id"]
    aside = folder.rename(folder.with_suffix(".aside"))
    folder.write_text("a file where the folder should be: the disk refuses")

    answer = await stack.client.delete(f"{URL}/{done['id']}")
    await stack.perform_all()  # tries, and puts it back for later

    assert (answer.status_code, answer.json()["images"]) == (200, [])
    assert await stack.rows("SELECT kind, due_at > now() FROM work") == [("delete", True)]
    folder.unlink()
    aside.rename(folder)
    await stack.rows("UPDATE work SET due_at = now()")
    await stack.perform_all()
    assert (await stack.client.get(done["imageUrl"])).status_code == 404
    assert await stack.rows("SELECT kind FROM work") == []


# --- once ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["cancel", "retry", "delete"])
async def test_every_command_is_done_once_with_a_key(stack: Stack, action: str) -> None:
    generation = await stack.generate() if action == "cancel" else await completed(stack)
    key = {**ASYNC, "Idempotency-Key": '"once"'}

    async def act() -> httpx.Response:
        path = f"{URL}/{generation['id']}"
        if action == "delete":
            return await stack.client.delete(path, headers=key)
        return await stack.client.post(f"{path}/{action}", headers=key)

    before = await stack.recorded()
    answers = await asyncio.gather(*(act() for _ in range(30)))

    assert await stack.recorded() == before + 1
    assert len({answer.text for answer in answers}) == 1
    assert {answer.status_code for answer in answers} == {202 if action == "retry" else 200}
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 29


async def test_a_key_belongs_to_one_command(stack: Stack) -> None:
    key = {**ASYNC, "Idempotency-Key": "k"}
    first = await completed(stack)
    await stack.client.post(f"{URL}/{first['id']}/retry", headers=key)

    deleted = await stack.client.delete(f"{URL}/{first['id']}", headers=key)
    created = await stack.client.post(URL, json={"prompt": first["prompt"]}, headers=key)

    for answer in (deleted, created):
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")
    assert (await stack.client.get(first["imageUrl"])).status_code == 200


@pytest.mark.parametrize(
    ("method", "suffix"), [("POST", "/cancel"), ("POST", "/retry"), ("DELETE", "")]
)
async def test_what_is_not_there_cannot_be_changed(stack: Stack, method: str, suffix: str) -> None:
    for id_ in (uuid4(), "no-id"):
        answer = await stack.client.request(method, f"{URL}/{id_}{suffix}")
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_a_request_may_set_its_own_deadline(stack: Stack) -> None:
    sooner = await stack.generate(deadlineSeconds=60)
    usual = await stack.generate()

    too_long = await stack.client.post(URL, json={"prompt": "a fox", "deadlineSeconds": 86_400})

    assert seconds_between(sooner["createdAt"], sooner["deadlineAt"]) == 60
    assert seconds_between(usual["createdAt"], usual["deadlineAt"]) == 900
    assert (too_long.status_code, too_long.json()["code"]) == (422, "deadline-too-long")
    assert "900" in too_long.json()["detail"]


def seconds_between(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
