"""Providers over HTTP: what they can do and how they are; switched and reordered at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from application.ports.health import Admitted
from domain.failure import Failure
from tests.e2e.stack import Stack, running, settings_for
from tests.people import new_key, new_user
from tests.people import shown as shown_by
from tests.processes import eventually

URL = "/api/v1/providers"
SKETCH = "/api/v1/admin/providers/sketch"


@pytest.fixture
async def two_apis(
    tmp_path: Path, database_url: str, redis_url: str
) -> AsyncIterator[tuple[Stack, Stack]]:
    """Of one service."""
    here, there = (settings_for(tmp_path, database_url, redis_url) for _ in range(2))
    async with running(here) as one, running(there) as other:
        yield one, other


async def shown(stack: Stack, name: str = "sketch") -> dict[str, Any]:
    answer = await stack.client.get(URL)
    assert answer.status_code == 200, answer.text
    (provider,) = [item for item in answer.json()["items"] if item["name"] == name]
    return dict(provider)


async def test_a_provider_is_shown_with_all_it_can_do(stack: Stack) -> None:
    provider = await shown(stack)

    assert (provider["enabled"], provider["place"]) == (True, 1)
    assert provider["health"] == {
        "state": "closed",
        "why": None,
        "until": None,
        "callsUnderWay": 0,
    }
    (model,) = provider["models"]
    assert model["name"] == "sketch-1"
    assert model["freeSizes"]["longest"] >= 1024
    assert model["references"]["most"] > 0
    assert float(model["prices"]["image"]) > 0
    assert provider["priceList"]
    assert provider["currency"] == "USD"


async def test_an_open_circuit_is_shown_and_so_is_that_it_is_healed(stack: Stack) -> None:
    gate = stack.container.gate()
    entered = await gate.enter("sketch", "sketch-1")
    assert isinstance(entered, Admitted)
    assert (await shown(stack))["health"]["callsUnderWay"] == 1
    failure = Failure(kind="misconfigured", of_model=True)
    await gate.leave("sketch", "sketch-1", entered.ticket, failure)
    provider = await shown(stack)
    assert provider["health"]["state"] == "closed"
    assert provider["models"][0]["health"]["state"] == "open"
    assert provider["models"][0]["health"]["why"] == "misconfigured"
    assert provider["models"][0]["health"]["until"].endswith("Z")


async def test_switched_off_at_one_api_a_provider_is_off_at_another(
    two_apis: tuple[Stack, Stack],
) -> None:
    here, there = two_apis

    answer = await here.client.post(SKETCH, json={"enabled": False})

    assert (answer.status_code, answer.json()["enabled"]) == (200, False)
    assert not (await shown(here))["enabled"]

    async def is_off() -> bool:
        return not (await shown(there))["enabled"]

    await eventually(is_off)
    refused = await there.client.post("/api/v1/generations", json={"prompt": "a cat"})
    assert (refused.status_code, refused.json()["code"]) == (422, "no-provider")
    assert "switched off" in refused.json()["detail"]


async def test_who_did_it_is_in_the_log(stack: Stack) -> None:
    await stack.client.post(SKETCH, json={"enabled": False}, headers={"X-Request-Id": "mine"})
    query = """SELECT topic, event #>> '{metadata,actor}', event #>> '{metadata,correlation_id}'
                 FROM events WHERE topic LIKE 'provider.%' ORDER BY position"""
    (listed, disabled) = await stack.rows(query)
    assert (listed[0], disabled[0]) == ("provider.listed@1", "provider.disabled@1")
    assert disabled[1].startswith("user:")
    assert disabled[2] == "mine"


async def test_a_repeat_with_the_same_key_changes_nothing(stack: Stack) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    await stack.client.post(SKETCH, json={"enabled": False}, headers=key)
    await stack.client.post(SKETCH, json={"enabled": True})

    repeated = await stack.client.post(SKETCH, json={"enabled": False}, headers=key)
    other = await stack.client.post(SKETCH, json={"enabled": True}, headers=key)

    assert repeated.headers["idempotent-replayed"] == "true"
    assert repeated.json()["enabled"] is True  # as it is now
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reused")


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"{}", "invalid-request", "must say enabled, place or both"),
        (b'{"enabled": null}', "invalid-request", "must say enabled, place or both"),
        (b'{"place": 0}', "invalid-request", "must be 1 or more"),
        (b'{"place": 1.5}', "invalid-request", "whole number"),
        (b'{"enabled": "no"}', "invalid-request", ""),
        (b'{"color": "red"}', "invalid-request", "no such field"),
        (b"[]", "invalid-request", "must be an object"),
        (b"{", "malformed-body", "no JSON"),
    ],
)
async def test_a_mistake_is_one_sentence(stack: Stack, body: bytes, code: str, says: str) -> None:
    answer = await stack.client.post(
        SKETCH, content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.json()["code"] == code
    assert says in str(answer.json())


async def test_a_provider_that_is_not_there_is_not_found(stack: Stack) -> None:
    answer = await stack.client.post("/api/v1/admin/providers/dall-e", json={"enabled": True})
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")
    assert "sketch" in answer.json()["detail"]


async def test_nobody_is_told_without_a_key(stack: Stack) -> None:
    for method, url in (("GET", URL), ("POST", SKETCH)):
        answer = await stack.client.request(method, url, headers={"Authorization": ""})
        assert answer.status_code == 401


async def test_who_is_no_administrator_may_look_and_not_switch(stack: Stack) -> None:
    store = stack.container.store()
    key = await new_key(store, await new_user(store), "read", "admin")
    assert (await stack.client.get(URL, headers=shown_by(key))).status_code == 200
    refused = await stack.client.post(SKETCH, json={"enabled": False}, headers=shown_by(key))
    assert (refused.status_code, refused.json()["code"]) == (403, "not-allowed")
    assert await stack.rows("SELECT FROM events WHERE topic LIKE 'provider.%'") == []
