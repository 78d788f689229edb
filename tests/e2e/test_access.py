"""Every route, asked by everybody: who is let through is as the table here says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from fastapi import APIRouter

from application.people import People
from domain.user import User
from infrastructure.container import Container
from interfaces.rest import access, app, me
from interfaces.rest.access import NEEDS, NeedsError
from interfaces.rest.authentication import SESSION
from tests.e2e.stack import Stack
from tests.people import new_key, new_session, new_user, shown
from tests.processes import ADMIN_KEY

# Who is let through: everybody (*), or who has a key with the one scope generate (g), read (r) or
# events (e), who is logged in (s), an administrator: by the operator's key (a), by a key with the
# one scope admin (k), logged in (l).
LET_THROUGH: Mapping[str, str] = {
    "POST /api/v1/generations": "g--sa-l",
    "POST /api/v1/generate-image": "g--sa-l",
    "POST /api/v1/generations/{id}/cancel": "g--sa-l",
    "POST /api/v1/generations/{id}/retry": "g--sa-l",
    "DELETE /api/v1/generations/{id}": "g--sa-l",
    "GET /api/v1/generations": "-r-sa-l",
    "GET /api/v1/generations/{id}": "-resa-l",
    "GET /api/v1/generations/{id}/events": "-resa-l",
    "GET /api/v1/jobs/{id}": "-r-sa-l",
    "GET /references/{user}/{name}": "-r-sa-l",
    "GET /images/{generation}/{name}": "*",
    "GET /api/v1/providers": "-r-sa-l",
    "GET /api/v1/me": "-resa-l",
    "GET /api/v1/me/quota": "-r-sa-l",
    "PUT /api/v1/me/preferences": "---sakl",
    "POST /api/v1/me/keys": "---sakl",
    "GET /api/v1/me/keys": "---sakl",
    "DELETE /api/v1/me/keys/{id}": "---sakl",
    "POST /api/v1/webhooks": "--esa-l",
    "GET /api/v1/webhooks": "--esa-l",
    "GET /api/v1/webhooks/{id}": "--esa-l",
    "PATCH /api/v1/webhooks/{id}": "--esa-l",
    "DELETE /api/v1/webhooks/{id}": "--esa-l",
    "POST /api/v1/webhooks/{id}/rotate-secret": "--esa-l",
    "POST /api/v1/webhooks/{id}/test": "--esa-l",
    "GET /api/v1/webhooks/{id}/deliveries": "--esa-l",
    "POST /api/v1/webhooks/{id}/deliveries/{deliveryId}/resend": "--esa-l",
    "GET /api/v1/generations/{id}/deliveries": "--esa-l",
    "POST /api/v1/generations/{id}/deliveries/{deliveryId}/resend": "--esa-l",
    "GET /api/v1/me/webhook-secret": "--esa-l",
    "POST /api/v1/me/webhook-secret/rotate": "--esa-l",
    "GET /api/v1/admin/users": "----akl",
    "GET /api/v1/me/sessions": "---sakl",
    "DELETE /api/v1/me/sessions": "---sakl",
    "DELETE /api/v1/me/sessions/{id}": "---sakl",
    "GET /api/v1/admin/users/{id}": "----akl",
    "DELETE /api/v1/admin/users/{id}/sessions": "----akl",
    "PATCH /api/v1/admin/users/{id}": "----akl",
    "GET /api/v1/admin/users/{id}/quota": "----akl",
    "PUT /api/v1/admin/users/{id}/quota": "----akl",
    "GET /api/v1/admin/users/{id}/events": "----akl",
    "POST /api/v1/admin/users/{id}/keys": "----akl",
    "GET /api/v1/admin/users/{id}/keys": "----akl",
    "DELETE /api/v1/admin/keys/{id}": "----akl",
    "POST /api/v1/admin/providers/{name}": "----akl",
    "POST /v1/images/generations": "g--sa-l",
    "POST /v1/images/edits": "g--sa-l",
    "GET /v1/models": "-r-sa-l",
    "GET /v1/models/{model:path}": "-r-sa-l",
    "GET /auth": "*",
    "GET /auth/login": "*",
    "GET /auth/callback": "*",
    "GET /auth/link": "*",
    "POST /auth/link": "*",
    "POST /auth/logout": "*",
    "GET /problems": "*",
    "GET /problems/{code}": "*",
    "GET /livez": "*",
    "GET /readyz": "*",
    "GET /": "*",
    "GET /docs": "*",
    "GET /docs/docs.js": "*",
    "GET /docs/icon.svg": "*",
    "GET /docs/scalar-1.72.1.js": "*",
    "GET /openapi.json": "*",
}
pytestmark = pytest.mark.asyncio(loop_scope="module")
OWNED = [
    route
    for route in LET_THROUGH
    if ("/generations/{id}" in route or "/jobs/" in route)
    and "{deliveryId}" not in route  # which is not there: tests/e2e/test_rest_webhooks.py
]
CHANGING = ("POST", "PUT", "PATCH", "DELETE")
ENDS_SESSIONS = "DELETE /api/v1/me/sessions"


@dataclass(frozen=True)
class Everybody:
    """What each of them sends with a request."""

    user: User
    by_letter: Mapping[str, dict[str, str]]
    suspended: dict[str, str]
    suspended_session: dict[str, str]
    gone: dict[str, str]


async def _everybody(container: Container) -> Everybody:
    store = container.store()
    user, out = await new_user(store), await new_user(store)
    administrator = await new_user(store, role="administrator")
    gone = await new_key(store, out, "generate", "read", "events", "admin")
    session = await new_session(store, out)
    await People(store).change_standing(out.id, suspended=True, by=uuid4(), idempotency_key=None)
    return Everybody(
        user,
        by_letter={
            "g": shown(await new_key(store, user, "generate")),
            "r": shown(await new_key(store, user, "read")),
            "e": shown(await new_key(store, user, "events")),
            "s": _in_session(await new_session(store, user)),
            "a": shown(ADMIN_KEY),
            "k": shown(await new_key(store, administrator, "admin")),
            "l": _in_session(await new_session(store, administrator)),
        },
        suspended=shown(gone),
        suspended_session=_in_session(session),
        gone=shown("dk_" + "0" * 43),
    )


def _in_session(token: str) -> dict[str, str]:
    return {"Cookie": f"{SESSION}={token}", "Sec-Fetch-Site": "same-origin"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everybody(shared: Stack) -> Everybody:
    return await _everybody(shared.container)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def anybody(shared: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client that shows nothing by itself."""
    async with httpx.AsyncClient(base_url=shared.settings.public_url, timeout=30) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def broken_authentication(shared: Stack) -> AsyncIterator[None]:
    """Whoever looks who asks, fails."""
    kept, shared.app.state.authentication = shared.app.state.authentication, None
    yield
    shared.app.state.authentication = kept


async def ask(
    client: httpx.AsyncClient, route: str, headers: Mapping[str, str], **ids: str
) -> httpx.Response:
    method, path = route.split(" ")
    known = {"{id}": str(uuid4()), "{user}": str(uuid4()), "{generation}": str(uuid4())}
    for name, value in {**known, **{f"{{{k}}}": v for k, v in ids.items()}}.items():
        path = path.replace(name, value)
    for name in ("{name}", "{code}", "{model:path}"):
        path = path.replace(name, "nothing")
    body = {"content": b"[]", "headers": {"Content-Type": "application/json", **headers}}
    sent: dict[str, Any] = body if method in CHANGING else {"headers": headers}
    return await client.request(method, path, **sent)


def is_let_through(answer: httpx.Response) -> bool:
    assert answer.status_code != 500, answer.text
    return answer.status_code not in (401, 403)


async def test_every_route_is_in_this_table() -> None:
    assert LET_THROUGH.keys() == NEEDS.keys()


async def test_no_application_is_made_with_a_route_that_is_not_in_the_table(
    monkeypatch: pytest.MonkeyPatch, shared: Stack
) -> None:
    router = APIRouter()
    router.add_api_route("/api/v1/forgotten", me.quota, methods=["POST"])
    monkeypatch.setattr(me, "router", router)
    with pytest.raises(NeedsError, match="POST /api/v1/forgotten"):
        app.create_app(shared.container)


async def test_no_application_is_made_with_a_row_that_no_route_has(
    monkeypatch: pytest.MonkeyPatch, shared: Stack
) -> None:
    monkeypatch.setattr(access, "NEEDS", {**NEEDS, "GET /gone": access.READ})
    with pytest.raises(NeedsError, match="GET /gone"):
        app.create_app(shared.container)


@pytest.mark.parametrize("route", LET_THROUGH)
async def test_a_route_lets_through_whom_the_table_says(
    shared: Stack, anybody: httpx.AsyncClient, everybody: Everybody, route: str
) -> None:
    table = LET_THROUGH[route]
    if route == ENDS_SESSIONS:
        everybody = await _everybody(shared.container)
    for letter, headers in everybody.by_letter.items():
        answer = await ask(anybody, route, headers)
        assert is_let_through(answer) == (table == "*" or letter in table), (letter, answer.text)


@pytest.mark.parametrize("route", LET_THROUGH)
async def test_nobody_unknown_suspended_or_gone_is_let_through(
    anybody: httpx.AsyncClient, everybody: Everybody, route: str
) -> None:
    is_open = LET_THROUGH[route] == "*"
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Basic YTpi"}, 401),
        (everybody.gone, 401),
        (everybody.suspended, 403),
        (everybody.suspended_session, 403),
    ):
        answer = await ask(anybody, route, headers)
        assert is_let_through(answer) == is_open, answer.text
        assert is_open or answer.status_code == status, answer.text


async def test_where_nobody_is_needed_nobody_is_looked_for(
    shared: Stack, anybody: httpx.AsyncClient, broken_authentication: None
) -> None:
    public = [route for route, need in NEEDS.items() if need == access.ANYBODY]
    for route in public:
        answer = await ask(anybody, route, {**shown(ADMIN_KEY), "Cookie": f"{SESSION}=x"})
        assert answer.status_code < 500, route
    assert (await ask(anybody, "GET /api/v1/me", shown(ADMIN_KEY))).status_code == 500


@pytest.mark.parametrize("route", OWNED)
async def test_what_is_somebody_elses_is_nothing_to_others(
    shared: Stack, anybody: httpx.AsyncClient, everybody: Everybody, route: str
) -> None:
    generation = await shared.generate()
    (allowed, *_) = (letter for letter in "gre" if letter in LET_THROUGH[route])
    theirs = await ask(anybody, route, everybody.by_letter[allowed], id=generation["id"])
    assert theirs.status_code == 404
    own = await ask(anybody, route, shown(ADMIN_KEY), id=generation["id"])
    assert own.status_code != 404


@pytest.mark.parametrize("route", [r for r in LET_THROUGH if r.split()[0] in CHANGING])
async def test_a_browser_changes_nothing_for_another_sites_page(
    shared: Stack, anybody: httpx.AsyncClient, everybody: Everybody, route: str
) -> None:
    if route == ENDS_SESSIONS:
        everybody = await _everybody(shared.container)
    session = {"Cookie": everybody.by_letter["s"]["Cookie"]}
    for said in (
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
    ):
        answer = await ask(anybody, route, session | said)
        shape = answer.json()
        code = shape.get("code") or shape["error"]["code"]
        assert (answer.status_code, code.replace("_", "-")) == (403, "other-site"), said
    if "s" in LET_THROUGH[route]:
        for own in (
            {"Origin": str(anybody.base_url).rstrip("/")},
            {"Origin": "http://another.name", "Sec-Fetch-Site": "same-origin"},  # as a proxy has it
        ):
            assert is_let_through(await ask(anybody, route, session | own))
