"""From a prompt to a permanent URL, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from application.accounts import ADMINISTRATOR
from application.ports.event_store import Accepted, Command
from domain.failure import Failure
from domain.generation import Generation
from tests.e2e.stack import Stack, running, settings_for
from tests.generations import events_of, new_generation, request_command

URL = "/api/v1/generations"
ASYNC = {"Prefer": "respond-async"}
PROMPT = {"prompt": "a lighthouse in fog", "size": "64x64"}


@pytest.mark.parametrize("url", [URL, "/api/v1/generate-image"])
async def test_a_prompt_becomes_a_permanent_url(stack: Stack, url: str) -> None:
    async with stack.at_work():
        answer = await stack.client.post(url, json=PROMPT)

    assert answer.status_code == 201
    generation = answer.json()
    assert answer.headers["location"] == f"{URL}/{generation['id']}"
    picture = await stack.client.get(generation["imageUrl"])
    assert picture.headers["content-type"] == "image/png"
    assert sha256(picture.content).hexdigest() == generation["images"][0]["sha256"]


async def test_a_completed_generation_tells_everything(stack: Stack) -> None:
    wish = {**PROMPT, "negativePrompt": "boats", "seed": 7, "count": 2, "format": "webp"}
    async with stack.at_work():
        answer = await stack.client.post(URL, json={**wish, "metadata": {"order-id": "4711"}})

    told: dict[str, Any] = answer.json()
    path = f"{URL}/{told['id']}"
    job = f"/api/v1/jobs/{told['id']}"
    assert told["links"] == {"self": path, "events": f"{path}/events", "job": job}
    assert {name: told[name] for name in wish} == wish
    assert told["metadata"] == {"order-id": "4711"}
    assert (told["status"], told["missing"], told["error"]) == ("completed", 0, None)
    assert (told["provider"], told["model"]) == ("sketch", "sketch-1")
    assert told["imageUrl"] == told["images"][0]["url"]
    assert [image["contentType"] for image in told["images"]] == ["image/webp"] * 2
    assert {(image["width"], image["height"]) for image in told["images"]} == {(64, 64)}
    assert [call["outcome"] for call in told["calls"]] == ["answered"] * 2
    assert isinstance(told["cost"]["amount"], str)
    assert Decimal(told["cost"]["amount"]) == Decimal("0.002")
    assert (told["cost"]["currency"], bool(told["cost"]["priceList"])) == ("USD", True)
    assert told["createdAt"] <= told["startedAt"] <= told["completedAt"]
    assert told["createdAt"].endswith("Z")
    assert told["retryOf"] is None


async def test_what_waits_is_shown_as_it_is_now(stack: Stack) -> None:
    queued = await stack.generate()

    assert (queued["status"], queued["imageUrl"], queued["cost"]) == ("queued", None, None)
    await stack.perform_all()
    assert (await stack.client.get(queued["links"]["self"])).json()["status"] == "completed"


# --- waiting -------------------------------------------------------------------------------------


async def test_who_does_not_want_to_wait_is_told_where_to_look(stack: Stack) -> None:
    answer = await stack.client.post(URL, json=PROMPT, headers=ASYNC)

    assert answer.status_code == 202
    assert answer.json()["status"] == "queued"
    assert answer.headers["location"] == f"{URL}/{answer.json()['id']}"
    assert answer.headers["preference-applied"] == "respond-async"
    assert answer.headers["vary"] == "Prefer"
    assert int(answer.headers["retry-after"]) > 0
    looked_at = await stack.client.get(answer.headers["location"])
    assert looked_at.json() == answer.json(), "it is told as it was recorded"


@pytest.mark.parametrize("prefer", ["wait=0", "respond-async, wait=0", "wait=1"])
async def test_a_longer_work_is_answered_when_the_wait_is_over(stack: Stack, prefer: str) -> None:
    answer = await stack.client.post(URL, json=PROMPT, headers={"Prefer": prefer})

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["preference-applied"] == prefer


async def test_the_server_limits_every_wait(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    settings = settings_for(tmp_path, database_url, redis_url, wait_seconds="0.2")
    async with running(settings) as stack:
        answer = await stack.client.post(URL, json=PROMPT, headers={"Prefer": "wait=600"})

    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=0.2"


async def test_who_waits_is_answered_as_soon_as_it_ended(stack: Stack) -> None:
    headers = {"Prefer": "respond-async, wait=20"}
    waiting = asyncio.create_task(stack.client.post(URL, json=PROMPT, headers=headers))
    async with stack.at_work():
        answer = await waiting

    assert answer.status_code == 201
    assert answer.headers["preference-applied"] == "wait=20"


async def test_another_process_may_do_the_waiting(stack: Stack, tmp_path: Path) -> None:
    url = stack.container.database_url()
    settings = settings_for(tmp_path, url, stack.container.redis_url())
    async with running(settings) as other, stack.at_work():
        answer = await other.client.post(URL, json=PROMPT)

    assert answer.status_code == 201
    users = await stack.rows("SELECT count(*) FROM stored_events WHERE topic LIKE 'user.%'")
    assert users == [(1,)]


async def test_a_client_that_goes_away_leaves_nobody_waiting(stack: Stack) -> None:
    post = asyncio.create_task(stack.client.post(URL, json=PROMPT))
    while not stack.watched():
        await asyncio.sleep(0.01)

    post.cancel()
    await asyncio.gather(post, return_exceptions=True)

    async with asyncio.timeout(5):
        while stack.watched():
            await asyncio.sleep(0.01)
    assert await stack.recorded() == 1


# --- generations that end without a picture ------------------------------------------------------


@pytest.fixture
def rehearsal(tmp_path: Path, database_url: str, redis_url: str) -> Any:
    """A stack whose provider has faults."""

    def with_faults(faults: str, **changed: str) -> Any:
        settings = settings_for(tmp_path, database_url, redis_url, sketch_faults=faults, **changed)
        return running(settings)

    return with_faults


async def test_a_refused_prompt_is_a_problem(rehearsal: Any) -> None:
    async with rehearsal("refuse=1") as stack, stack.at_work():
        answer = await stack.client.post(URL, json=PROMPT)
        shown = await stack.client.get(answer.headers["location"])

    assert answer.status_code == 422
    problem = answer.json()
    assert (problem["type"], problem["status"]) == ("/problems/moderation-refused", 422)
    assert problem["generationId"] == shown.json()["id"]
    assert problem["detail"] == shown.json()["error"]["message"]
    assert shown.json()["error"]["kind"].startswith("moderation")
    assert PROMPT["prompt"] not in answer.text


async def test_a_provider_that_fails_is_a_problem(stack: Stack) -> None:
    waiting = asyncio.create_task(stack.client.post(URL, json=PROMPT))
    id_ = await placed(stack)
    await record(stack, id_, fail)

    answer = await waiting

    assert answer.status_code == 502
    assert answer.json()["code"] == "provider-failed"
    assert answer.json()["generationId"] == str(id_)
    assert answer.headers["location"] == f"{URL}/{id_}"


async def test_a_picture_that_is_not_made_in_time_is_a_problem(rehearsal: Any) -> None:
    times = {"deadline_seconds": "0.5", "call_seconds": "0.4"}
    async with rehearsal("hang=1", **times) as stack, stack.at_work():
        answer = await stack.client.post(URL, json=PROMPT)

    assert answer.status_code == 504
    assert answer.json()["code"] == "deadline-passed"


async def test_a_cancelled_generation_is_a_problem(stack: Stack) -> None:
    waiting = asyncio.create_task(stack.client.post(URL, json=PROMPT))
    id_ = await placed(stack)
    await record(stack, id_, lambda generation: generation.cancel(by=ADMINISTRATOR))

    answer = await waiting

    assert answer.status_code == 409
    assert answer.json()["code"] == "generation-cancelled"
    assert answer.json()["generationId"] == str(id_)


async def placed(stack: Stack) -> UUID:
    """The generation that somebody waits for."""
    while not (rows := await stack.rows("SELECT ref FROM work")):
        await asyncio.sleep(0.01)
    id_: UUID = rows[0][0]
    return id_


async def record(stack: Stack, id_: UUID, decide: Callable[[Generation], None]) -> None:
    """Let something be decided elsewhere."""
    store = stack.container.store()
    generation = await store.get(Generation, id_)
    assert generation is not None
    decide(generation)
    assert isinstance(await store.append(Command(events=events_of(generation))), Accepted)


def fail(generation: Generation) -> None:
    """It ends as a provider without credit lets it end."""
    now = generation.created_on
    call = generation.start_call(provider="sketch", model="sketch-1", images=(1,))
    generation.fail_call(call, Failure(kind="out_of_funds"), now=now, jitter=0.0)
    generation.finish(urls={}, now=now)


# --- following -----------------------------------------------------------------------------------


async def test_the_events_tell_who_decided_what_for_which_request(stack: Stack) -> None:
    answer = await stack.client.post(
        URL,
        json={**PROMPT, "metadata": {"snake_case": "kept"}},
        headers={**ASYNC, "X-Request-Id": "request-1"},
    )
    await stack.perform_all()

    page = (await stack.client.get(answer.json()["links"]["events"])).json()

    requested, started, answered, completed = page["items"]
    assert [event["type"] for event in page["items"]] == [
        "generation.requested",
        "generation.call_started",
        "generation.call_answered",
        "generation.completed",
    ]
    assert requested["actor"] == f"user:{ADMINISTRATOR}"
    assert completed["actor"].startswith("worker:")
    assert {event["correlationId"] for event in page["items"]} == {"request-1"}
    assert {event["version"] for event in page["items"]} == {1}
    assert requested["position"] < started["position"] < answered["position"]
    assert requested["data"]["personal"]["metadata"] == {"snake_case": "kept"}
    assert requested["data"]["onUnknown"] == "repeat"
    assert requested["data"]["apiKeyId"] == "admin"
    assert answered["data"]["images"][0]["contentType"] == "image/png"
    assert page["nextCursor"] is None


async def test_events_come_in_pages(stack: Stack) -> None:
    generation = await stack.generate()
    await stack.perform_all()
    url: str | None = f"{generation['links']['events']}?limit=3"
    types: list[str] = []

    while url:
        answer = await stack.client.get(url)
        types += [event["type"] for event in answer.json()["items"]]
        url = answer.links["next"]["url"] if "next" in answer.links else None

    assert len(types) == len(set(types)) == 4


@pytest.mark.parametrize("suffix", ["", "/events"])
async def test_somebody_elses_generation_is_not_found(stack: Stack, suffix: str) -> None:
    theirs = new_generation(stack.container.store().now())
    await stack.container.store().append(request_command(theirs))

    answer: httpx.Response = await stack.client.get(f"{URL}/{theirs.id}{suffix}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert "lighthouse" not in answer.text
