"""Logins that fail: each ends in a page, or a problem, that says what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.responses import JSONResponse

from application.accounts import ADMINISTRATOR
from application.people import People
from domain.user import user_id
from interfaces.rest.authentication import SESSION, SESSION_OVER_TLS
from interfaces.web.attempts import LASTS
from interfaces.web.cookies import ATTEMPTS
from tests.e2e.login.visiting import HTML, JSON, Browser, Service, cookies_set, like, told
from tests.e2e.stack import running
from tests.servers.openid import OpenIdServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

Lie = Callable[[OpenIdServer], None]


def away(where: str) -> Lie:
    return lambda server: server.switches.tell(only=where, always="refuse")


def answers(error: str, status: int) -> Lie:
    return lambda server: setattr(server, "token", JSONResponse({"error": error}, status))


def says(**claims: Any) -> Lie:
    return lambda server: server.claims.update(claims)


LIES: dict[str, tuple[Lie, int, str]] = {
    "token endpoint away": (away("POST /token"), 502, "login-provider-unavailable"),
    "keys away": (away("GET /keys"), 502, "login-provider-unavailable"),
    "our client refused": (answers("invalid_client", 401), 502, "login-provider-unavailable"),
    "code too old": (answers("invalid_grant", 400), 403, "login-refused"),
    "another nonce": (says(nonce="another"), 502, "login-unproven"),
    "expired": (says(exp=1), 502, "login-unproven"),
    "not verified": (says(email_verified=False), 403, "email-not-verified"),
}


@pytest.mark.parametrize("accept", [HTML, JSON], ids=["page", "problem"])
@pytest.mark.parametrize("what", LIES)
async def test_what_the_provider_does_wrong_is_said(
    browser: Browser, what: str, accept: dict[str, str]
) -> None:
    lie, status, code = LIES[what]
    sent = await browser.begin()
    lie(browser.service.server)

    answer = await browser.come_back(sent, headers=accept)

    assert told(answer) == (status, code)
    assert ATTEMPTS not in browser.client.cookies
    assert SESSION not in browser.client.cookies
    assert answer.headers["cache-control"] == "no-store"
    browser.service.server.restart()
    assert told(await browser.come_back(sent)) == (400, "login-not-begun")


@pytest.mark.parametrize("accept", [HTML, JSON], ids=["page", "problem"])
async def test_a_provider_that_is_away_at_the_beginning(
    browser: Browser, accept: dict[str, str]
) -> None:
    away("GET /.well-known/openid-configuration")(browser.service.server)

    answer = await browser.client.get("/auth/login", headers=accept)

    assert told(answer) == (502, "login-provider-unavailable")
    assert "set-cookie" not in answer.headers
    browser.service.server.restart()
    await browser.log_in()


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ({"error": "access_denied", "code": None}, 403, "login-cancelled"),
        ({"error": "server_error", "code": None}, 403, "login-refused"),
        ({"error": "access_denied"}, 403, "login-cancelled"),
        ({"error": "<b>", "code": None}, 403, "login-refused"),
        ({"code": None}, 403, "login-refused"),
        ({"code": ""}, 403, "login-refused"),
        ({"code": "x" * 2001}, 403, "login-refused"),
        ({"code": "\x00"}, 403, "login-refused"),
        ({"iss": "https://elsewhere.example"}, 502, "login-unproven"),
    ],
)
async def test_what_the_browser_brings_back_instead(
    browser: Browser, given: dict[str, Any], status: int, code: str
) -> None:
    answer = await browser.come_back(await browser.begin(), **given)

    assert told(answer) == (status, code)
    assert "<b>" not in answer.text
    assert ATTEMPTS not in browser.client.cookies


async def test_the_reason_that_a_provider_gives_is_told(browser: Browser) -> None:
    answer = await browser.come_back(await browser.begin(), error="temporarily_unavailable")
    assert "It says: <code>temporarily_unavailable</code>." in answer.text


@pytest.mark.parametrize("state", [None, "", "x", "x" * 43, "é"])
async def test_a_state_that_was_not_given_to_this_browser(
    browser: Browser, state: str | None
) -> None:
    sent = await browser.begin()

    answer = await browser.come_back(sent, state=state)

    assert told(answer) == (400, "login-not-begun")
    assert "/token" not in browser.service.server.asked()
    assert (await browser.come_back(sent)).status_code == 303  # that one still goes on


async def test_a_state_of_another_browser(browser: Browser, service: Service) -> None:
    other = Browser(service)
    async with other.client:
        sent = await other.begin()
        assert told(await browser.come_back(sent)) == (400, "login-not-begun")
        await browser.begin()
        assert told(await browser.come_back(sent)) == (400, "login-not-begun")
        assert (await other.come_back(sent)).status_code == 303


async def test_an_attempt_that_took_too_long(browser: Browser, service: Service) -> None:
    sent = await browser.begin()
    seal = service.stack.container.login_seal()
    ((secret, begun, next_),) = json.loads(seal.open(browser.client.cookies[ATTEMPTS]))
    for seconds, ends in ((LASTS.total_seconds() + 1, 400), (LASTS.total_seconds() - 60, 303)):
        kept = seal.close(json.dumps([[secret, begun - seconds, next_]]).encode())
        browser.client.cookies.clear()
        browser.client.cookies.set(ATTEMPTS, kept)
        assert (await browser.come_back(sent)).status_code == ends


async def test_a_cookie_that_was_changed(browser: Browser) -> None:
    sent = await browser.begin()
    kept = browser.client.cookies[ATTEMPTS]
    browser.client.cookies.clear()
    browser.client.cookies.set(ATTEMPTS, f"{kept[:-4]}AAAA")
    assert told(await browser.come_back(sent)) == (400, "login-not-begun")


async def test_who_is_suspended_is_told_so(browser: Browser, service: Service) -> None:
    service.server.claims = {"sub": "sus"}
    token = await browser.log_in()
    people: People = service.stack.container.people()
    sus = user_id(service.server.issuer, "sus")
    await people.change_standing(sus, suspended=True, by=ADMINISTRATOR, idempotency_key=None)

    answer = await browser.come_back(await browser.begin())

    assert told(answer) == (403, "suspended")
    assert "Ask whoever runs the service to reinstate the account" in answer.text
    assert not await browser.is_let_in(token)


async def test_with_domains_over_tls(service: Service) -> None:
    settings = like(service, public_url="https://pictures.example", login_domains="example.com")
    attempts = f"__Host-{ATTEMPTS}"
    async with running(settings) as stack:
        get = stack.client.get
        begun = await get("/auth/login", headers=HTML)
        sent = parse_qs(urlsplit(begun.headers["location"]).query)
        assert sent["redirect_uri"] == ["https://pictures.example/auth/callback"]
        kept = begun.headers["set-cookie"]
        assert kept.startswith(f"{attempts}=")
        assert "secure" in cookies_set(begun)[attempts]

        query = f"/auth/callback?state={sent['state'][0]}&code={sent['nonce'][0]}"
        headers = {"Cookie": kept.partition(";")[0], **HTML}
        assert told(await get(query, headers=headers)) == (403, "domain-not-allowed")
        service.server.claims = {"email": "ada@example.com"}
        done = await get(query, headers=headers)
        session = cookies_set(done)[SESSION_OVER_TLS]
        assert {"secure", "path=/", "httponly", "samesite=lax"} <= set(session.split("; "))
        assert "domain=" not in session


async def test_who_tries_too_often_is_told_when_to_come_back(service: Service) -> None:
    settings = like(service, login_rate="2/minute", trusted_proxies="127.0.0.1")
    one, other = ({"X-Forwarded-For": client, **HTML} for client in ("203.0.113.1", "203.0.113.2"))
    async with running(settings) as stack:
        for _ in range(2):
            assert (await stack.client.get("/auth/login", headers=one)).status_code == 303
        for path in ("/auth/login", "/auth/callback", "/auth/link"):
            refused = await stack.client.get(path, headers=one)
            assert told(refused) == (429, "rate-limited")
            assert int(refused.headers["retry-after"]) > 0
        assert (await stack.client.post("/auth/link", headers=one)).status_code == 429
        assert (await stack.client.get("/auth/login", headers=other)).status_code == 303
