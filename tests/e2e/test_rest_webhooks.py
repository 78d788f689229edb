"""Webhooks over HTTP: made, changed, rotated, tried out, looked at; each by its owner alone."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from infrastructure.event_store.check import check
from infrastructure.event_store.follower import Follower
from infrastructure.read_models.webhook_deliveries import READ_MODEL
from interfaces.rest.webhook_bodies import body_of
from tests.e2e.stack import Stack, running, settings_for
from tests.meanwhile import meanwhile
from tests.people import new_key, new_user, shown
from tests.processes import eventually
from tests.servers.raw import said
from tests.servers.receiver import Receiver

URL = "/api/v1/webhooks"
OWN = "/api/v1/me/webhook-secret"
HOOK = "https://shop.example/hooks"
KEY = "a-secret-key-for-tests"
ALL = ["image.generation.completed", "image.generation.failed", "image.generation.cancelled"]


@pytest.fixture
async def stack(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[Stack]:
    """One that sends to this machine."""
    settings = settings_for(
        tmp_path,
        database_url,
        redis_url,
        secret_key=KEY,
        webhook_networks="127.0.0.0/8",
        webhook_retries="0,0.1",
    )
    async with running(settings) as started:
        yield started


@pytest.fixture
async def strict(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[Stack]:
    """One that sends to the public internet alone."""
    settings = settings_for(tmp_path, database_url, redis_url, secret_key=KEY)
    async with running(settings) as started:
        yield started


async def made(stack: Stack, url: str = HOOK, **fields: Any) -> dict[str, Any]:
    answer = await stack.client.post(URL, json={"url": url, **fields})
    assert answer.status_code == 201, answer.text
    webhook: dict[str, Any] = answer.json()
    return webhook


@asynccontextmanager
async def delivering(stack: Stack) -> AsyncIterator[None]:
    """As a worker and a projector do."""
    container = stack.container
    deliverer = container.deliverer(body=body_of)
    worker = container.arq_deliverer(deliver=deliverer.deliver, may_take=lambda: True)
    follower = Follower(container.database_url(), READ_MODEL)
    async with meanwhile(container.announcing().run(), worker.run(), follower.run()):
        yield


async def deliveries(stack: Stack, webhook: dict[str, Any], **query: Any) -> dict[str, Any]:
    answer = await stack.client.get(webhook["links"]["deliveries"], params=query)
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page


async def ended(stack: Stack, webhook: dict[str, Any], count: int = 1) -> list[dict[str, Any]]:
    """Its deliveries, once so many have ended."""

    async def have() -> list[dict[str, Any]]:
        items = (await deliveries(stack, webhook))["items"]
        done = [item for item in items if item["endedAt"]]
        return done if len(done) == count else []

    found: list[dict[str, Any]] = await eventually(have)
    return found


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


# --- made, changed, removed ----------------------------------------------------------------------


async def test_a_webhook_is_made_and_its_secret_shown_once(stack: Stack) -> None:
    answer = await stack.client.post(URL, json={"url": HOOK})
    webhook = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{URL}/{webhook['id']}"
    secret = webhook.pop("secret")
    assert secret.startswith("whsec_")
    assert (webhook["url"], webhook["events"], webhook["enabled"]) == (HOOK, ALL, True)
    again = await stack.client.get(webhook["links"]["self"])
    assert again.json() == webhook
    assert (await stack.client.get(URL)).json() == {"items": [webhook]}
    events = await stack.rows("SELECT convert_from(state, 'UTF8') FROM stored_events")
    assert not [state for (state,) in events if secret in state or KEY in state]


async def test_a_webhook_is_changed_disabled_and_enabled(stack: Stack) -> None:
    webhook = await made(stack)
    place = webhook["links"]["self"]
    changed = await stack.client.patch(place, json={"events": [ALL[2], ALL[1]], "enabled": False})
    assert changed.status_code == 200, changed.text
    assert changed.json()["events"] == ALL[1:]
    assert (changed.json()["enabled"], changed.json()["disabledWhy"]) == (False, "asked")
    enabled = await stack.client.patch(place, json={"enabled": True, "url": f"{HOOK}/2"})
    assert (enabled.json()["enabled"], enabled.json()["url"]) == (True, f"{HOOK}/2")


async def test_a_webhook_is_removed_once(stack: Stack) -> None:
    place = (await made(stack))["links"]["self"]
    removed = await stack.client.delete(place)
    assert (removed.status_code, removed.content) == (204, b"")
    assert code(await stack.client.get(place)) == (404, "not-found")
    assert code(await stack.client.delete(place)) == (404, "not-found")


async def test_commands_that_come_again_are_done_once(stack: Stack) -> None:
    """Also as `darkroom check` sees it."""

    def keyed(name: str) -> dict[str, str]:
        return {"Idempotency-Key": name}

    first, again = [
        await stack.client.post(URL, json={"url": HOOK}, headers=keyed("a")) for _ in range(2)
    ]
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    place = first.json()["links"]["self"]
    rotated = [
        await stack.client.post(f"{place}/rotate-secret", headers=keyed("b")) for _ in range(2)
    ]
    assert rotated[0].json()["secret"] == rotated[1].json()["secret"]
    tests = [await stack.client.post(f"{place}/test", headers=keyed("c")) for _ in range(2)]
    assert tests[0].json()["id"] == tests[1].json()["id"]
    own = [await stack.client.post(f"{OWN}/rotate", headers=keyed("d")) for _ in range(2)]
    assert own[0].json() == own[1].json()
    reused = await stack.client.post(URL, json={"url": f"{HOOK}/2"}, headers=keyed("a"))
    assert code(reused) == (422, "idempotency-key-reused")
    assert len((await stack.client.get(URL)).json()["items"]) == 1
    await stack.client.delete(place)
    removed = await stack.client.post(URL, json={"url": HOOK}, headers=keyed("a"))
    assert code(removed) == (404, "not-found")
    assert "was removed since" in removed.json()["detail"]
    assert await check(stack.container.database_url()) == []


async def test_what_is_no_webhook_is_refused(strict: Stack) -> None:
    for sent, pointer in [
        ({}, "#/url"),
        ({"url": "ftp://shop.example/"}, "#/url"),
        ({"url": HOOK, "events": []}, "#/events"),
        ({"url": HOOK, "events": ["generation.completed"]}, "#/events/0"),
        ({"url": HOOK, "secret": "mine"}, "#/secret"),
    ]:
        answer = await strict.client.post(URL, json=sent)
        assert code(answer) == (422, "invalid-request")
        assert [one["pointer"] for one in answer.json()["errors"]] == [pointer]


async def test_without_tls_nothing_is_sent_to_the_public_internet(strict: Stack) -> None:
    plain = HOOK.replace("https", "http")
    for answer in (
        await strict.client.post(URL, json={"url": plain}),
        await strict.client.post("/api/v1/generations", json={"prompt": "x", "webhookUrl": plain}),
    ):
        assert code(answer) == (422, "invalid-request")
        assert "https://" in answer.json()["detail"]


async def test_there_are_twenty_and_no_more(strict: Stack) -> None:
    for _ in range(20):
        await made(strict)
    answer = await strict.client.post(URL, json={"url": HOOK})
    assert code(answer) == (409, "too-many-webhooks")


async def test_without_a_secret_key_there_are_none(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with running(settings_for(tmp_path, database_url, redis_url)) as stack:
        for answer in (
            await stack.client.post(URL, json={"url": HOOK}),
            await stack.client.get(OWN),
            await stack.client.post(
                "/api/v1/generations", json={"prompt": "x", "webhookUrl": HOOK}
            ),
        ):
            assert code(answer) == (501, "webhooks-off")
            assert "DARKROOM_SECRET_KEY" in answer.json()["detail"]
        assert (await stack.client.get(URL)).json() == {"items": []}


# --- what comes of it ----------------------------------------------------------------------------


async def test_what_ends_is_delivered_and_the_delivery_told(stack: Stack) -> None:
    receiver = Receiver()
    async with receiver.up() as url, delivering(stack):
        webhook = await made(stack, url)
        generation = await stack.generate()
        await stack.perform_all()
        (delivery,) = await ended(stack, webhook)
    (message,) = receiver.received
    told = message.verified(webhook["secret"])
    as_shown = (await stack.client.get(generation["links"]["self"])).json()
    assert told["type"] == "image.generation.completed"
    assert told["data"] == {**as_shown, "cut": []}
    assert delivery == {
        "id": message.id,
        "webhookId": webhook["id"],
        "eventType": told["type"],
        "generationId": generation["id"],
        "status": "delivered",
        "attempts": 1,
        "lastStatus": 204,
        "error": None,
        "nextAttemptAt": None,
        "createdAt": delivery["createdAt"],
        "endedAt": delivery["endedAt"],
    }


@pytest.mark.parametrize("as_form", [False, True], ids=["json", "form"])
async def test_a_request_names_an_address_of_its_own(stack: Stack, as_form: bool) -> None:
    receiver = Receiver()
    async with receiver.up() as url, delivering(stack):
        asked = {"prompt": "a fox", "size": "64x64", "webhookUrl": url}
        form = {name: (None, value) for name, value in asked.items()}
        sent = {"files": form} if as_form else {"json": asked}
        headers = {"Prefer": "respond-async"}
        answer = await stack.client.post("/api/v1/generations", headers=headers, **sent)
        assert answer.status_code == 202, answer.text
        await stack.client.post(f"/api/v1/generations/{answer.json()['id']}/cancel")
        (message,) = await receiver.has(1)
    own = (await stack.client.get(OWN)).json()
    told = message.verified(own["secret"])
    assert (told["type"], told["data"]["id"]) == (ALL[2], answer.json()["id"])
    rotated = (await stack.client.post(f"{OWN}/rotate")).json()
    assert rotated["secret"] != own["secret"]
    assert rotated["oldSecretUntil"] is not None


async def test_a_delivery_is_sent_again_by_hand(stack: Stack) -> None:
    receiver = Receiver(answers=[said(500), said(500), said(200)])
    async with receiver.up() as url, delivering(stack):
        webhook = await made(stack, url)
        generation = await stack.generate()
        await stack.client.post(f"/api/v1/generations/{generation['id']}/cancel")
        (failed,) = await ended(stack, webhook)
        again = f"{webhook['links']['deliveries']}/{failed['id']}/resend"
        assert failed["error"]["kind"] == "refused"
        disabled = await stack.client.patch(webhook["links"]["self"], json={"enabled": False})
        assert disabled.json()["disabledWhy"] == "asked"
        assert code(await stack.client.post(again)) == (409, "webhook-disabled")
        await stack.client.patch(webhook["links"]["self"], json={"enabled": True})
        resent = await stack.client.post(again)
        assert (resent.status_code, resent.json()["status"]) == (200, "due")
        await receiver.has(3)

        async def delivered() -> bool:
            (item,) = (await deliveries(stack, webhook))["items"]
            return bool(item["status"] == "delivered")

        await eventually(delivered)
    assert len({message.id for message in receiver.received}) == 1


async def test_a_generation_tells_who_is_told_of_it_and_tells_them_again(stack: Stack) -> None:
    webhooks = Receiver()
    own = Receiver(answers=[said(500), said(500), said(200)])
    async with webhooks.up() as url, own.up() as address, delivering(stack):
        webhook = await made(stack, url)
        generation = await stack.generate(webhookUrl=address)
        place = f"/api/v1/generations/{generation['id']}/deliveries"
        assert (await stack.client.get(place)).json() == {"items": []}
        await stack.client.post(f"/api/v1/generations/{generation['id']}/cancel")

        async def both_ended() -> list[dict[str, Any]]:
            items: list[dict[str, Any]] = (await stack.client.get(place)).json()["items"]
            return items if sum(bool(item["endedAt"]) for item in items) == 2 else []

        items = await eventually(both_ended)
        by_webhook = {item["webhookId"]: item for item in items}
        assert by_webhook[webhook["id"]]["status"] == "delivered"
        failed = by_webhook[None]
        assert (failed["status"], failed["error"]["kind"]) == ("given_up", "refused")

        for item, receiver, times in (
            (failed, own, 3),
            (by_webhook[webhook["id"]], webhooks, 2),
        ):
            resent = await stack.client.post(f"{place}/{item['id']}/resend")
            assert (resent.status_code, resent.json()["status"]) == (200, "due")
            await receiver.has(times)
            assert len({message.id for message in receiver.received}) == 1
        await eventually(both_ended)

        await stack.client.patch(webhook["links"]["self"], json={"enabled": False})
        again = f"{place}/{by_webhook[webhook['id']]['id']}/resend"
        assert code(await stack.client.post(again)) == (409, "webhook-disabled")
        other = f"/api/v1/generations/{(await stack.generate())['id']}/deliveries"
        store = stack.container.store()
        somebody = shown(await new_key(store, await new_user(store), "events"))
        for item in items:
            misplaced = await stack.client.post(f"{other}/{item['id']}/resend")
            assert code(misplaced) == (404, "not-found")
            path = f"{place}/{item['id']}/resend"
            assert code(await stack.client.post(path, headers=somebody)) == (404, "not-found")


async def test_a_resend_that_comes_again_is_done_once_although_its_webhook_is_disabled(
    stack: Stack,
) -> None:
    webhook = await made(stack)
    test = (await stack.client.post(f"{webhook['links']['self']}/test")).json()
    again = f"{webhook['links']['deliveries']}/{test['id']}/resend"
    keyed = {"Idempotency-Key": "once"}
    assert (await stack.client.post(again, headers=keyed)).status_code == 200
    await stack.client.patch(webhook["links"]["self"], json={"enabled": False})
    repeated = await stack.client.post(again, headers=keyed)
    assert (repeated.status_code, repeated.headers["idempotent-replayed"]) == (200, "true")


async def test_who_decided_as_often_as_can_be_is_told_so_and_can_still_remove(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = await made(stack)
    monkeypatch.setattr("domain.webhook.MOST_DECISIONS", 2)
    monkeypatch.setattr("domain.delivery.MOST_RESENDS", 0)
    itself = webhook["links"]["self"]
    test = (await stack.client.post(f"{itself}/test")).json()
    resent = await stack.client.post(f"{itself}/deliveries/{test['id']}/resend")
    assert code(resent) == (409, "too-many-resends")
    assert code(await stack.client.post(URL, json={"url": HOOK})) == (
        409,
        "too-many-webhook-changes",
    )
    rotated = await stack.client.post(f"{itself}/rotate-secret")
    assert code(rotated) == (409, "too-many-webhook-changes")
    assert (await stack.client.delete(itself)).status_code == 204


async def test_a_test_is_sent_and_tells_of_nothing(stack: Stack) -> None:
    receiver = Receiver()
    async with receiver.up() as url, delivering(stack):
        webhook = await made(stack, url)
        asked = await stack.client.post(f"{webhook['links']['self']}/test")
        assert asked.json()["eventType"] == "webhook.test"
        (message,) = await receiver.has(1)
        (delivery,) = await ended(stack, webhook)
    told = message.verified(webhook["secret"])
    assert told["data"] == {"endpointId": webhook["id"]}
    assert (delivery["id"], delivery["generationId"]) == (asked.json()["id"], None)


async def test_deliveries_come_in_pages(stack: Stack) -> None:
    receiver = Receiver()
    async with receiver.up() as url, delivering(stack):
        webhook = await made(stack, url)
        for _ in range(3):
            await stack.client.post(f"{webhook['links']['self']}/test")
        newest_first = [item["id"] for item in await ended(stack, webhook, 3)]
    first = await deliveries(stack, webhook, limit=2)
    second = await deliveries(stack, webhook, limit=2, cursor=first["nextCursor"])
    assert [item["id"] for item in (*first["items"], *second["items"])] == newest_first
    assert second["nextCursor"] is None
    wrong = await stack.client.get(webhook["links"]["deliveries"], params={"cursor": "x"})
    assert code(wrong) == (400, "cursor-refused")


# --- whose it is ---------------------------------------------------------------------------------


async def test_somebody_elses_is_not_found(stack: Stack) -> None:
    webhook = await made(stack)
    place = webhook["links"]["self"]
    test = (await stack.client.post(f"{place}/test")).json()
    generation = f"/api/v1/generations/{(await stack.generate())['id']}/deliveries"
    store = stack.container.store()
    key = await new_key(store, await new_user(store), "events")
    stack.client.headers.update(shown(key))
    asked = [
        ("GET", place, None),
        ("PATCH", place, {"enabled": False}),
        ("DELETE", place, None),
        ("POST", f"{place}/rotate-secret", None),
        ("POST", f"{place}/test", None),
        ("GET", f"{place}/deliveries", None),
        ("POST", f"{place}/deliveries/{test['id']}/resend", None),
        ("GET", generation, None),
        ("POST", f"{generation}/{test['id']}/resend", None),
    ]
    for method, path, sent in asked:
        answer = await stack.client.request(method, path, json=sent)
        assert code(answer) == (404, "not-found"), path
    assert (await stack.client.get(URL)).json() == {"items": []}
    mine = await made(stack)
    foreign = f"{mine['links']['deliveries']}/{test['id']}/resend"
    assert code(await stack.client.post(foreign)) == (404, "not-found")


async def test_what_is_not_there_is_not_found(strict: Stack) -> None:
    webhook = await made(strict)
    for id_ in ("1", "webhook", str(UUID(int=1)), "x" * 36):
        again = f"{webhook['links']['deliveries']}/{id_}/resend"
        assert code(await strict.client.get(f"{URL}/{id_}")) == (404, "not-found")
        assert code(await strict.client.post(again)) == (404, "not-found")


async def test_nothing_of_a_webhook_is_logged(stack: Stack, lines: io.StringIO) -> None:
    receiver = Receiver(answers=[said(500), said(200)])
    async with receiver.up() as url, delivering(stack):
        webhook = await made(stack, f"{url}?token=of-mine")
        await stack.generate(prompt="an unrepeatable wish", webhookUrl=f"{url}?token=of-mine")
        await stack.perform_all()
        await receiver.has(3)
        await ended(stack, webhook)
        await asyncio.sleep(0)
    told = lines.getvalue()
    assert "a delivery was tried" in told
    for secret in ("of-mine", "/hooks", webhook["secret"], KEY, "unrepeatable", "v1,"):
        assert secret not in told, secret
