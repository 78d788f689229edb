"""Logins over HTTP: what a browser is given, and the way in by a link."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from domain.user import user_id
from interfaces.rest.authentication import SESSION
from interfaces.web.attempts import LASTS, MOST
from interfaces.web.cookies import ATTEMPTS
from tests.e2e.login.visiting import OURS, Browser, Service, cookies_set, told

pytestmark = pytest.mark.asyncio(loop_scope="module")


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
