"""Logins over HTTP: what a browser is given, and what it is told where they fail."""

from __future__ import annotations

import io
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from starlette.responses import JSONResponse

from application.accounts import ADMINISTRATOR
from application.people import People
from domain.user import user_id
from infrastructure.embedded import EmbeddedRedis
from infrastructure.settings import Settings
from interfaces.rest.authentication import SESSION, SESSION_OVER_TLS
from interfaces.web.attempts import LASTS, MOST
from interfaces.web.cookies import ATTEMPTS
from tests.conftest import PostgresServer
from tests.e2e.stack import Stack, running, settings_for
from tests.processes import ADMIN_KEY
from tests.servers.openid import CLIENT, SECRET, OpenIdServer
from tests.servers.protocol import serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

HTML, JSON = {"Accept": "text/html"}, {"Accept": "application/json"}
OURS = {"Sec-Fetch-Site": "same-origin"}


@dataclass
class Service:
    """An API, and the provider that it asks."""

    stack: Stack
    server: OpenIdServer

    @property
    def url(self) -> str:
        return self.stack.settings.public_url

    @property
    def app(self) -> FastAPI:
        return self.stack.app

    async def forget(self) -> None:
        """Let the API know nothing of the provider, which says again what is so."""
        provider = self.stack.container.identity_provider
        await provider().close()
        provider.reset()
        self.server.restart()

    def link(self) -> str:
        container = self.stack.container
        return str(container.login_links().token(container.store().now()))


class Browser:
    """One that keeps cookies, follows nothing by itself, and asks for pages."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.client = httpx.AsyncClient(base_url=service.url, headers=HTML, timeout=30)

    async def begin(self, next_: str | None = None) -> dict[str, str]:
        """The words that it is sent to the provider with."""
        params = {} if next_ is None else {"next": next_}
        answer = await self.client.get("/auth/login", params=params)
        assert answer.status_code == 303, answer.text
        query = parse_qs(urlsplit(answer.headers["location"]).query)
        return {name: value for name, [value] in query.items()}

    async def come_back(self, sent: dict[str, str], **changed: Any) -> httpx.Response:
        """With a code for what it was sent with; None leaves a parameter out."""
        params = {"state": sent["state"], "code": sent["nonce"], **changed}
        given = {name: value for name, value in params.items() if value is not None}
        headers = given.pop("headers", {})
        return await self.client.get("/auth/callback", params=given, headers=headers)

    async def log_in(self) -> str:
        """What it keeps from then on."""
        answer = await self.come_back(await self.begin())
        assert answer.status_code == 303, answer.text
        return self.client.cookies[SESSION]

    async def post(self, path: str, **fields: str) -> httpx.Response:
        return await self.client.post(path, data=fields, headers=OURS)

    async def is_let_in(self, token: str | None = None) -> bool:
        headers = {} if token is None else {"Cookie": f"{SESSION}={token}"}
        answer = await self.client.get("/api/v1/me", headers=headers)
        return answer.status_code == 200


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider() -> AsyncIterator[OpenIdServer]:
    server = OpenIdServer()
    async with serving(server) as address:
        server.issuer = address
        yield server


def at(server: OpenIdServer) -> dict[str, str]:
    """Settings that lead there."""
    return {
        "oidc_issuer": server.issuer,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_service(
    provider: OpenIdServer,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    migrated_template: str,
    redis_server: EmbeddedRedis,
) -> AsyncIterator[Service]:
    database_url = postgres_server.new_database(migrated_template)
    folder = tmp_path_factory.mktemp("data")
    settings = settings_for(folder, database_url, redis_server.url, **at(provider))
    async with running(settings) as stack:
        yield Service(stack, provider)


@pytest_asyncio.fixture(loop_scope="module")
async def service(running_service: Service) -> Service:
    await running_service.forget()
    return running_service


@pytest_asyncio.fixture(loop_scope="module")
async def browser(service: Service) -> AsyncIterator[Browser]:
    browser = Browser(service)
    async with browser.client:
        yield browser


def told(answer: httpx.Response) -> tuple[int, str]:
    """The status, and the code of the problem, of a page or in JSON."""
    if answer.headers["content-type"].startswith("application/problem+json"):
        return answer.status_code, answer.json()["code"]
    found = re.search(rf"{answer.status_code} ([a-z-]+) · request", answer.text)
    assert found, answer.text
    return answer.status_code, found[1]


def cookies_set(answer: httpx.Response) -> dict[str, str]:
    """What is said of each, in lower case; deleted ones have no value."""
    headers = answer.headers.get_list("set-cookie")
    return {one.partition("=")[0]: one.partition("=")[2].lower() for one in headers}


# --- what is right --------------------------------------------------------------------------------


async def test_a_browser_comes_back_to_where_it_wanted_to_go(browser: Browser) -> None:
    answer = await browser.come_back(await browser.begin("/docs?x=1"))

    assert (answer.status_code, answer.headers["location"]) == (303, "/docs?x=1")
    assert ATTEMPTS not in browser.client.cookies
    assert (await browser.client.get("/api/v1/me")).json()["email"] == "ada@example.org"


async def test_but_to_no_other_site(browser: Browser) -> None:
    answer = await browser.come_back(await browser.begin("//elsewhere.example/"))

    assert answer.headers["location"] == "/auth"


async def test_cookies_are_for_nobodys_scripts_and_no_other_site(browser: Browser) -> None:
    begun = await browser.client.get("/auth/login")
    done = await browser.come_back(
        {
            name: value[0]
            for name, value in parse_qs(urlsplit(begun.headers["location"]).query).items()
        }
    )

    lasts = f"max-age={LASTS.total_seconds():.0f}"
    for cookie, expiry in (
        (cookies_set(begun)[ATTEMPTS], lasts),
        (cookies_set(done)[SESSION], "max-age=604800"),
    ):
        parts = cookie.split("; ")[1:]
        assert {"httponly", "path=/", "samesite=lax", expiry} == set(parts)
    assert cookies_set(done)[ATTEMPTS].startswith('""; ')


async def test_several_tabs_log_in_at_once_and_the_oldest_gives_way(browser: Browser) -> None:
    tabs = [await browser.begin(f"/docs?tab={tab}") for tab in range(MOST + 1)]
    assert len(browser.client.cookies[ATTEMPTS]) < 4000

    assert told(await browser.come_back(tabs[0])) == (400, "login-not-begun")
    for tab in (3, 1, 4, 2):
        answer = await browser.come_back(tabs[tab])
        assert answer.headers["location"] == f"/docs?tab={tab}"


async def test_the_longest_way_on_fits_into_the_cookie(browser: Browser) -> None:
    for _ in range(MOST):
        await browser.begin("/" + "x" * 499)
    assert len(f"{ATTEMPTS}={browser.client.cookies[ATTEMPTS]}") < 4096


async def test_a_login_ends_the_session_that_the_browser_had(browser: Browser) -> None:
    first = await browser.log_in()
    second = await browser.log_in()

    assert first != second
    shown = (await browser.client.get("/api/v1/me/sessions")).json()["items"]
    assert shown[0]["isCurrent"]
    assert await browser.is_let_in(second)
    ended = "SELECT state FROM stored_events WHERE topic LIKE 'user.sessions_ended@%'"
    assert await browser.service.stack.rows(ended)


async def test_what_somebody_planted_is_never_taken_for_a_session(browser: Browser) -> None:
    planted = f"{user_id(browser.service.server.issuer, 'ada').hex}.{'x' * 43}"
    browser.client.cookies.set(SESSION, planted, domain="127.0.0.1")
    browser.client.cookies.clear()
    sent = await browser.begin()
    answer = await browser.client.get(
        "/auth/callback",
        params={"state": sent["state"], "code": sent["nonce"]},
        headers={"Cookie": f"{SESSION}={planted}; {ATTEMPTS}={browser.client.cookies[ATTEMPTS]}"},
    )

    assert answer.status_code == 303
    assert not cookies_set(answer)[SESSION].startswith(planted)
    assert not await browser.is_let_in(planted)


async def test_pages_are_kept_by_nobody_and_run_nothing(browser: Browser) -> None:
    await browser.log_in()
    pages = [
        await browser.client.get("/auth"),
        await browser.client.get("/auth/callback"),
        await browser.client.get("/auth/link", params={"token": browser.service.link()}),
    ]
    for page in pages:
        assert page.headers["cache-control"] == "no-store"
        assert "Cookie" in page.headers["vary"]
        assert page.headers["referrer-policy"] == "strict-origin"
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "form-action 'self'; base-uri 'none'; frame-ancestors 'none'" in policy
        assert "<script" not in page.text
    for answer in (await browser.client.get("/auth/login"), await browser.post("/auth/logout")):
        assert answer.headers["cache-control"] == "no-store"


async def test_what_a_provider_says_is_shown_as_text(browser: Browser) -> None:
    browser.service.server.claims = {"sub": "eve", "name": "<b>Eve</b>"}
    await browser.log_in()
    page = await browser.client.get("/auth")
    assert "&lt;b&gt;Eve&lt;/b&gt;" in page.text
    assert "<b>" not in page.text


# --- what goes wrong ------------------------------------------------------------------------------

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


def like(service: Service, **changed: str) -> Settings:
    """Settings of another API on the same servers."""
    old = service.stack.settings
    assert old.database_url is not None
    assert old.redis_url is not None
    given = {**at(service.server), **changed}
    return settings_for(old.data_dir, old.database_url, old.redis_url, **given)


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


# --- by a link ------------------------------------------------------------------------------------


async def test_a_link_asks_before_it_logs_in_and_does_so_once(
    browser: Browser, service: Service
) -> None:
    link = {"token": service.link()}
    for _ in range(2):
        await browser.client.head("/auth/link", params=link)
        page = await browser.client.get("/auth/link", params=link)
        assert (page.status_code, "set-cookie" in page.headers) == (200, False)
        assert f'name="token" value="{link["token"]}"' in page.text

    done = await browser.post("/auth/link", **link)
    assert (done.status_code, done.headers["location"]) == (303, "/auth")
    assert (await browser.client.get("/api/v1/me")).json()["role"] == "administrator"

    again = await browser.post("/auth/link", **link)
    assert told(again) == (403, "login-link-used")
    assert "darkroom login-link" in again.text


@pytest.mark.parametrize("token", ["", "x", "1.x.x"])
async def test_a_link_that_is_none(browser: Browser, token: str) -> None:
    found = await browser.client.get("/auth/link", params={"token": token})
    assert told(found) == (400, "login-link-refused")
    assert told(await browser.post("/auth/link", token=token)) == (400, "login-link-refused")


async def test_another_sites_page_logs_nobody_in(browser: Browser, service: Service) -> None:
    link = {"token": service.link()}
    for said in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
    ):
        answer = await browser.client.post("/auth/link", data=link, headers=said)
        assert told(answer) == (403, "other-site")
    assert (await browser.post("/auth/link", **link)).status_code == 303


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b'{"token": "x"}', "application/json", 415),
        (b"token=x", "text/plain", 415),
        (b"x" * 5000, "application/x-www-form-urlencoded", 413),
        (b"a=%ff", "application/x-www-form-urlencoded", 400),
        (b"a=b&" * 20, "application/x-www-form-urlencoded", 400),
    ],
)
async def test_what_is_no_form_of_ours(
    browser: Browser, content: bytes, content_type: str, status: int
) -> None:
    headers = {"Content-Type": content_type, **OURS}
    answer = await browser.client.post("/auth/link", content=content, headers=headers)
    assert answer.status_code == status


# --- the end --------------------------------------------------------------------------------------


async def test_who_is_logged_in_sees_where_and_ends_it(browser: Browser, service: Service) -> None:
    service.server.claims = {"sub": "liz", "name": "Liz"}
    other = Browser(service)
    async with other.client:
        mine, theirs = await browser.log_in(), await other.log_in()
        page = await browser.client.get("/auth")
        assert "You are logged in as Liz" in page.text
        (session,) = re.findall(r'name="session" value="([0-9a-f-]{36})"', page.text)

        ended = await browser.post("/auth/logout", session=session)

        assert (ended.headers["location"], SESSION in browser.client.cookies) == ("/auth", True)
        sessions = (await browser.client.get("/api/v1/me/sessions")).json()["items"]
        assert [one["isCurrent"] for one in sessions] == [True]
        assert session not in {one["id"] for one in sessions}
        assert (await browser.post("/auth/logout", session="none")).status_code == 303
        assert await browser.is_let_in(mine)

        theirs = await other.log_in()
        await browser.post("/auth/logout", everywhere="yes")
        assert SESSION not in browser.client.cookies
        for token in (mine, theirs):
            user = await service.stack.container.people().user(
                user_id(service.server.issuer, "liz")
            )
            assert user.sessions == {}
            assert token


async def test_sessions_are_listed_and_ended_by_the_api(browser: Browser, service: Service) -> None:
    service.server.claims = {"sub": "pat"}
    api, other = "/api/v1/me/sessions", Browser(service)
    async with other.client:
        await other.log_in()
        await browser.log_in()
        mine, theirs = (await browser.client.get(api)).json()["items"]
        assert (mine["isCurrent"], theirs["isCurrent"]) == (True, False)
        assert mine["beganAt"] > theirs["beganAt"]

        gone = f"{api}/{theirs['id']}"
        assert (await browser.client.delete(gone, headers=OURS)).status_code == 204
        assert told(await browser.client.delete(gone, headers={**OURS, **JSON}))[0] == 404
        assert (await browser.client.delete(f"{api}/x", headers=OURS)).status_code == 404
        left = (await browser.client.get(api)).json()["items"]
        assert [one["id"] for one in left] == [mine["id"]]
        assert (await browser.client.delete(api, headers=OURS)).status_code == 204
        pat = await service.stack.container.people().user(user_id(service.server.issuer, "pat"))
        assert pat.sessions == {}


async def test_an_administrator_ends_somebodys_sessions(browser: Browser, service: Service) -> None:
    service.server.claims = {"sub": "kim"}
    await browser.log_in()
    kim = user_id(service.server.issuer, "kim")

    ended = await service.stack.client.delete(f"/api/v1/admin/users/{kim}/sessions")

    assert ended.status_code == 204
    assert (await service.stack.container.people().user(kim)).sessions == {}
    nobody = await service.stack.client.delete(f"/api/v1/admin/users/{user_id('x', 'y')}/sessions")
    assert told(nobody) == (404, "not-found")


async def test_a_key_that_is_shown_is_judged_and_not_the_cookie_beside_it(browser: Browser) -> None:
    await browser.log_in()
    wrong = {"Authorization": "Bearer dk_wrong", **OURS}
    assert (await browser.client.get("/api/v1/me", headers=wrong)).status_code == 401
    answer = await browser.client.post("/auth/logout", headers={**wrong, **JSON})
    assert told(answer) == (401, "not-authenticated")
    right = {"Authorization": f"Bearer {ADMIN_KEY}", **OURS}
    await browser.client.post("/auth/logout", data={"everywhere": "yes"}, headers=right)
    assert await browser.is_let_in()


async def test_logging_out_twice_is_no_mistake(browser: Browser) -> None:
    token = await browser.log_in()
    for _ in range(2):
        answer = await browser.client.post(
            "/auth/logout", headers={**OURS, "Cookie": f"{SESSION}={token}"}
        )
        assert answer.status_code == 303
        assert cookies_set(answer)[SESSION].startswith('""; ')
    page = await browser.client.get("/auth")
    assert "You are not logged in" in page.text
    assert 'href="/auth/login"' in page.text


async def test_the_log_tells_nothing_that_lets_anybody_in(
    browser: Browser, service: Service, lines: io.StringIO
) -> None:
    sent = await browser.begin()
    kept = browser.client.cookies[ATTEMPTS]
    await browser.come_back(sent, code="a-code-of-the-provider")
    token = await browser.log_in()
    link = service.link()
    await browser.client.get("/auth/link", params={"token": link})
    await browser.post("/auth/link", token=link)
    await browser.post("/auth/logout")

    entries = [json.loads(line) for line in lines.getvalue().splitlines()]
    ours = [one for one in entries if not one["logger"].startswith(("httpx", "httpcore"))]
    assert {"/auth/login", "/auth/callback", "/auth/link"} <= {one.get("route") for one in ours}
    logged = json.dumps(ours)
    for secret in (
        *(sent["state"], sent["nonce"], kept, "a-code-of-the-provider"),
        *(token, token.partition(".")[2], link, SECRET, ADMIN_KEY, "ada@example.org"),
    ):
        assert secret not in logged
