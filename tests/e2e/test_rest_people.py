"""Keys, preferences and users over HTTP: what people and administrators do with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from application.accounts import ADMINISTRATOR
from application.fresh import FRESH
from domain.user import Preferences, User
from infrastructure.event_store.follower import Follower
from infrastructure.read_models.api_keys import READ_MODEL
from interfaces.rest.authentication import SESSION
from tests.e2e.stack import Stack
from tests.meanwhile import meanwhile
from tests.people import new_key, new_session, new_user, record, shown
from tests.processes import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
ME = "/api/v1/me"
KEYS = "/api/v1/me/keys"
USERS = "/api/v1/admin/users"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(shared: Stack) -> AsyncIterator[Stack]:
    """With the list of keys up to date."""
    async with meanwhile(Follower(shared.container.database_url(), READ_MODEL).run()):
        yield shared


@pytest_asyncio.fixture(loop_scope="module")
async def user(stack: Stack) -> User:
    return await new_user(stack.container.store())


@pytest_asyncio.fixture(loop_scope="module")
async def person(stack: Stack, user: User) -> AsyncIterator[httpx.AsyncClient]:
    """That user, logged in, on a page of the service."""
    cookie = f"{SESSION}={await new_session(stack.container.store(), user)}"
    headers = {"Cookie": cookie, "Sec-Fetch-Site": "same-origin"}
    url = stack.settings.public_url
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        yield client


async def listed(client: httpx.AsyncClient, url: str, count: int) -> list[dict[str, Any]]:
    """The list, once it is so long: it may be behind for a moment."""
    found: list[dict[str, Any]] = []

    async def all_there() -> bool:
        found[:] = (await client.get(url)).json()["items"]
        return len(found) == count

    await eventually(all_there)
    return found


# --- keys -----------------------------------------------------------------------------------------


async def test_a_person_has_a_key_issued_uses_it_and_revokes_it(
    stack: Stack, person: httpx.AsyncClient, user: User
) -> None:
    wanted = {"name": "shop", "scopes": ["read"], "expiresAt": "2199-01-01T00:00:00Z"}
    issued = await person.post(KEYS, json=wanted)
    assert (issued.status_code, issued.headers["cache-control"]) == (201, "no-store")
    key = issued.json()["key"]
    me = (await stack.client.get(ME, headers=shown(key))).json()
    assert (me["id"], me["scopes"], me["apiKeyId"]) == (str(user.id), ["read"], issued.json()["id"])
    (entry,) = await listed(person, KEYS, 1)
    assert entry["name"] == "shop"
    assert entry["prefix"] == key[:10]
    assert key not in str(entry)
    assert (await person.delete(f"{KEYS}/{entry['id']}")).status_code == 204
    refused = await stack.client.get(ME, headers=shown(key))
    assert refused.status_code in (200, 401)  # within a second

    async def is_revoked() -> bool:
        return (await listed(person, KEYS, 1))[0]["revokedAt"] is not None

    await eventually(is_revoked)


async def test_a_key_has_scopes_to_generate_and_read_unless_told_otherwise(
    person: httpx.AsyncClient,
) -> None:
    issued = (await person.post(KEYS, json={"name": "k"})).json()
    assert (issued["scopes"], issued["expiresAt"]) == (["generate", "read"], None)


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        ({}, "#/name"),
        ({"name": ""}, "#/name"),
        ({"name": "k", "scopes": []}, "#/scopes"),
        ({"name": "k", "scopes": ["paint"]}, "#/scopes/0"),
        ({"name": "k", "expiresAt": "tomorrow"}, "#/expiresAt"),
        ({"name": "k", "expiresAt": "2999-01-01T00:00:00"}, "#/expiresAt"),
        ({"name": "k", "colour": "red"}, "#/colour"),
    ],
)
async def test_a_key_that_cannot_be_is_refused_with_a_reason(
    person: httpx.AsyncClient, wanted: dict[str, Any], pointer: str
) -> None:
    refused = await person.post(KEYS, json=wanted)
    told = refused.json()
    assert (refused.status_code, told["code"]) == (422, "invalid-request")
    assert told["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    "wanted",
    [
        {"scopes": ["read", "admin"]},
        {"expiresAt": "2020-01-01T00:00:00Z"},
        {"expiresAt": "2200-01-01T00:00:00Z"},
        {"expiresAt": "9999-12-31T23:59:59-14:00"},
    ],
)
async def test_a_key_that_would_be_of_no_use_is_not_issued(
    person: httpx.AsyncClient, wanted: dict[str, Any]
) -> None:
    refused = await person.post(KEYS, json={"name": "k", **wanted})
    assert (refused.status_code, refused.json()["code"]) == (422, "key-not-possible")


async def test_a_repeated_issue_is_one_key_that_is_shown_once(person: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    first = await person.post(KEYS, json={"name": "k"}, headers=headers)
    again = await person.post(KEYS, json={"name": "k"}, headers=headers)
    assert first.json()["key"] is not None
    assert (again.status_code, again.json()["key"]) == (201, None)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]


async def test_nobody_sees_or_revokes_anothers_keys(
    stack: Stack, person: httpx.AsyncClient
) -> None:
    store = stack.container.store()
    other = await new_user(store)
    await new_key(store, other, "read")
    (key,) = await listed(stack.client, f"{USERS}/{other.id}/keys", 1)
    assert (await person.delete(f"{KEYS}/{key['id']}")).status_code == 404
    assert (await person.get(KEYS)).json()["items"] == []
    assert (await stack.client.delete(f"/api/v1/admin/keys/{key['id']}")).status_code == 204
    assert (await stack.client.delete(f"/api/v1/admin/keys/{uuid4()}")).status_code == 404
    assert (await stack.client.delete("/api/v1/admin/keys/none")).status_code == 404


async def test_an_administrator_issues_a_key_for_a_user_and_it_says_who_did(
    stack: Stack, user: User
) -> None:
    issued = await stack.client.post(f"{USERS}/{user.id}/keys", json={"name": "for you"})
    assert issued.status_code == 201
    me = await stack.client.get(ME, headers=shown(issued.json()["key"]))
    assert me.json()["id"] == str(user.id)
    query = f"SELECT event->>'by' FROM events WHERE originator_id = '{issued.json()['id']}'"
    assert await stack.rows(query) == [(str(ADMINISTRATOR),)]
    nobody = await stack.client.post(f"{USERS}/{uuid4()}/keys", json={"name": "k"})
    assert nobody.status_code == 404


async def test_keys_come_in_pages(person: httpx.AsyncClient) -> None:
    for number in range(3):
        await person.post(KEYS, json={"name": f"{number}"})
    await listed(person, KEYS, 3)
    page = await person.get(KEYS, params={"limit": 2})
    rest = await person.get(page.links["next"]["url"])
    names = [item["name"] for one in (page, rest) for item in one.json()["items"]]
    assert names == ["2", "1", "0"]
    assert "next" not in rest.links
    assert (await person.get(KEYS, params={"cursor": "x"})).status_code == 400


# --- preferences ----------------------------------------------------------------------------------


async def test_requests_inherit_what_their_user_prefers(
    stack: Stack, person: httpx.AsyncClient
) -> None:
    preferred = {"provider": "sketch", "size": "48x32", "format": "webp"}
    answer = await person.put(f"{ME}/preferences", json=preferred)
    assert answer.status_code == 200
    assert {k: v for k, v in answer.json().items() if v is not None} == preferred
    async with stack.at_work():
        made = await person.post("/api/v1/generations", json={"prompt": "x"})
        other = await person.post("/api/v1/generations", json={"prompt": "x", "format": "png"})
    (image,) = made.json()["images"]
    assert (image["contentType"], image["width"], image["height"]) == ("image/webp", 48, 32)
    assert other.json()["images"][0]["contentType"] == "image/png"
    assert (await person.get(ME)).json()["preferences"]["size"] == "48x32"
    await person.put(f"{ME}/preferences", json={})
    assert set((await person.get(ME)).json()["preferences"].values()) == {None}


async def test_who_prefers_what_is_gone_is_told_that_it_was_preferred(
    stack: Stack, person: httpx.AsyncClient, user: User
) -> None:
    store = stack.container.store()
    user.prefer(Preferences(provider="nobody"), by=user.id)
    await record(store, user)
    await asyncio.sleep(FRESH)
    refused = await person.post("/api/v1/generations", json={"prompt": "x"})
    assert (refused.status_code, refused.json()["code"]) == (422, "no-provider")
    assert "user's preferences" in refused.json()["detail"]
    said = await person.post("/api/v1/generations", json={"prompt": "x", "provider": "nobody"})
    assert "preferences" not in said.json()["detail"]


@pytest.mark.parametrize(
    ("preferred", "code"),
    [
        ({"provider": "nobody"}, "no-provider"),
        ({"size": "48x32", "aspectRatio": "1:1"}, "invalid-request"),
        ({"size": "large"}, "invalid-request"),
        ({"colour": "red"}, "invalid-request"),
    ],
)
async def test_what_cannot_be_preferred_is_refused(
    person: httpx.AsyncClient, preferred: dict[str, str], code: str
) -> None:
    refused = await person.put(f"{ME}/preferences", json=preferred)
    assert (refused.status_code, refused.json()["code"]) == (422, code)


# --- users ----------------------------------------------------------------------------------------


async def test_an_administrator_makes_another_who_then_may(
    stack: Stack, person: httpx.AsyncClient, user: User
) -> None:
    assert (await person.get(f"{USERS}/{user.id}")).status_code == 403
    changed = await stack.client.patch(f"{USERS}/{user.id}", json={"role": "administrator"})
    assert changed.json()["role"] == "administrator"

    async def may() -> bool:
        return (await person.get(f"{USERS}/{user.id}")).status_code == 200

    await eventually(may)
    own = await person.patch(f"{USERS}/{user.id}", json={"role": "user"})
    assert (own.status_code, own.json()["code"]) == (403, "locks-out")
    first = await person.patch(f"{USERS}/{ADMINISTRATOR}", json={"suspended": True})
    assert first.status_code == 403


async def test_an_administrator_gives_a_user_limits_and_takes_them_back(
    stack: Stack, person: httpx.AsyncClient, user: User
) -> None:
    async def limits() -> list[int | None]:
        windows = (await person.get(f"{ME}/quota")).json()["windows"]
        return [window["limit"] for window in windows]

    async def ask(count: int) -> int:
        body = {"prompt": "x", "count": count}
        headers = {"Prefer": "respond-async"}
        return (await person.post("/api/v1/generations", json=body, headers=headers)).status_code

    configured = await limits()
    url = f"{USERS}/{user.id}/quota"
    given = await stack.client.put(url, json={"daily": 3, "monthly": None})
    assert [window["limit"] for window in given.json()["windows"]] == [3, None] == await limits()
    assert [await ask(2), await ask(2), await ask(1)] == [202, 429, 202]
    await stack.client.put(url, json={"daily": 1})
    (day, month) = (await stack.client.get(url)).json()["windows"]
    assert (day["limit"], day["used"], day["remaining"]) == (1, 3, 0)
    assert month["limit"] == configured[1]
    assert await ask(1) == 429
    await stack.client.put(url, json={})
    assert await limits() == configured
    assert await ask(1) == 202


@pytest.mark.parametrize("limits", [{"daily": -1}, {"daily": "3"}, {"weekly": 3}, {"daily": 2**31}])
async def test_limits_that_mean_nothing_are_refused(
    stack: Stack, user: User, limits: dict[str, object]
) -> None:
    refused = await stack.client.put(f"{USERS}/{user.id}/quota", json=limits)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid-request")
    nobody = await stack.client.put(f"{USERS}/{uuid4()}/quota", json={})
    assert nobody.status_code == 404


async def test_what_was_decided_about_a_user_is_listed_with_who_did(
    stack: Stack, user: User
) -> None:
    await new_session(stack.container.store(), user)
    await stack.client.patch(f"{USERS}/{user.id}", json={"suspended": True})
    url = f"{USERS}/{user.id}/events"
    page = await stack.client.get(url, params={"limit": 3})
    rest = await stack.client.get(page.links["next"]["url"])
    items = [*page.json()["items"], *rest.json()["items"]]
    assert [item["type"] for item in items] == [
        "user.registered",
        "user.logged_in",
        "user.suspended",
        "user.sessions_ended",
    ]
    assert items[2]["data"] == {"by": str(ADMINISTRATOR)}
    assert items[2]["actor"] == f"user:{ADMINISTRATOR}"
    assert "tokenHash" not in items[1]["data"]
    assert (await stack.client.get(f"{USERS}/{uuid4()}/events")).status_code == 404


@pytest.mark.parametrize("change", [{"role": "owner"}, {"suspended": "yes"}, {"name": "x"}, []])
async def test_a_change_that_means_nothing_is_refused(
    stack: Stack, user: User, change: object
) -> None:
    refused = await stack.client.patch(f"{USERS}/{user.id}", json=change)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid-request")
