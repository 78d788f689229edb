"""Logging in at a real OpenID provider (npm's oidc-provider), as a browser does and in one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import ConsoleMessage, Page, expect
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from infrastructure.embedded import EmbeddedRedis
from interfaces.rest.authentication import SESSION
from interfaces.web.cookies import ATTEMPTS
from tests import browser, openid
from tests.conftest import PostgresServer
from tests.e2e.stack import Stack, free_port, running, settings_for
from tests.openid import CLIENT, SECRET, Person
from tests.servers.protocol import ProtocolServer, serving

Comes = Callable[[str], Person]
pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class TwoApis:
    """Two APIs on one database, behind one address; who logs in at the first is known to both."""

    first: Stack
    second: Stack

    @property
    def url(self) -> str:
        return self.first.settings.public_url

    @property
    def elsewhere(self) -> str:
        """The second's own address, to which browsers send the same cookies."""
        return str(self.second.client.base_url)

    async def topics(self, name: str) -> list[str]:
        query = (
            "SELECT topic FROM stored_events WHERE originator_id IN"
            " (SELECT originator_id FROM stored_events"
            f" WHERE convert_from(state, 'UTF8') LIKE '%\"subject\":\"{name}\"%')"
            " ORDER BY notification_id"
        )
        return [topic.partition("@")[0] for (topic,) in await self.first.rows(query)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    migrated_template: str,
    redis_server: EmbeddedRedis,
) -> AsyncIterator[TwoApis]:
    database_url = postgres_server.new_database(migrated_template)
    port, folder = free_port(), tmp_path_factory.mktemp("data")
    url = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as started:
        issuer = await started.enter_async_context(openid.provider([f"{url}/auth/callback"]))
        login = {
            "oidc_issuer": issuer,
            "oidc_client_id": CLIENT,
            "oidc_client_secret": SECRET,
            "public_url": url,
        }
        apis = [
            await started.enter_async_context(
                running(settings_for(folder, database_url, redis_server.url, port=p, **login))
            )
            for p in (f"{port}", f"{free_port()}")
        ]
        yield TwoApis(*apis)


@pytest_asyncio.fixture(loop_scope="module")
async def person() -> AsyncIterator[Comes]:
    """Somebody of that name, until the test ends."""
    async with AsyncExitStack() as there:

        def comes(name: str) -> Person:
            new = Person(name)
            there.push_async_callback(new.browser.aclose)
            return new

        yield comes


async def test_a_whole_login_and_its_end_in_every_process(service: TwoApis, person: Comes) -> None:
    ada = person("ada")

    page = await ada.log_in(f"{service.url}/auth/login?next=/auth%3Ffrom=here")
    assert page.url == f"{service.url}/auth?from=here"
    assert "You are logged in as Ada" in page.text
    assert "ada@example.org" in page.text
    for url in (service.url, service.elsewhere):
        me = (await ada.get(f"{url}/api/v1/me")).json()
        assert (me["name"], me["email"], me["role"]) == ("Ada", "ada@example.org", "user")
        assert me["pictureUrl"] == "https://pictures.example/ada.png"
    assert await service.topics("ada") == ["user.registered", "user.logged_in"]

    token = ada.browser.cookies[SESSION]
    out = await ada.post(f"{service.url}/auth/logout")
    assert out.headers["location"] == "/auth"
    assert SESSION not in ada.browser.cookies
    await asyncio.sleep(0.9)  # the promise: within a second, in all of them
    for url in (service.url, service.elsewhere):
        stolen = await ada.browser.get(f"{url}/api/v1/me", headers={"Cookie": f"{SESSION}={token}"})
        assert stolen.status_code == 401
    assert (await service.topics("ada"))[2:] == ["user.sessions_ended"]


async def test_who_says_no_at_the_provider_is_told_how_to_go_on(
    service: TwoApis, person: Comes
) -> None:
    bob = person("bob")
    asks = await bob.log_in(f"{service.url}/auth/login", until="/interaction/")
    interaction = urljoin(str(asks.url), asks.headers["location"])

    back = await bob.log_in(f"{interaction}/abort")

    assert (back.status_code, back.url.path) == (403, "/auth/callback")
    assert "The login was cancelled" in back.text
    assert 'href="/auth/login"' in back.text
    assert await service.topics("bob") == []


async def test_whose_email_address_is_not_verified_is_told_what_to_do(
    service: TwoApis, person: Comes
) -> None:
    back = await person("unverified-eve").log_in(f"{service.url}/auth/login")

    assert back.status_code == 403
    assert "The email address is not verified" in back.text
    assert "Verify it at the provider" in back.text
    assert await service.topics("unverified-eve") == []


async def test_a_callback_is_good_once_and_in_one_browser(service: TwoApis, person: Comes) -> None:
    cleo, thief = person("cleo"), person("thief")
    last = await cleo.log_in(f"{service.url}/auth/login", until="/auth/callback")
    callback = last.headers["location"]
    kept = cleo.browser.cookies[ATTEMPTS]

    stolen = await thief.get(callback)
    assert (stolen.status_code, "not begun in this browser" in stolen.text) == (400, True)
    assert (await cleo.get(callback)).headers["location"] == "/auth"
    again = await cleo.get(callback)
    assert (again.status_code, "not begun in this browser" in again.text) == (400, True)

    # With her cookie as it was, too, the code is used up.
    replayed = await thief.browser.get(callback, headers={"Cookie": f"{ATTEMPTS}={kept}"})
    assert (replayed.status_code, "login-refused" in replayed.text) == (403, True)
    assert (await service.topics("cleo")).count("user.logged_in") == 1


async def test_a_code_that_was_made_for_another_attempt_is_worth_nothing(
    service: TwoApis, person: Comes
) -> None:
    mallory, victim = person("mallory"), person("victim")
    hers = await mallory.log_in(f"{service.url}/auth/login", until="/auth/callback")
    begun = await victim.get(f"{service.url}/auth/login")
    state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
    given = parse_qs(urlsplit(hers.headers["location"]).query)

    for code in (given["code"][0], "made-up"):
        victim.browser.cookies.update(begun.cookies)
        query = {"code": code, "state": state, "iss": given["iss"][0]}
        forged = await victim.browser.get(f"{service.url}/auth/callback", params=query)
        assert (forged.status_code, "login-refused" in forged.text) == (403, True)
    assert await service.topics("mallory") == []


# --- in a real browser ----------------------------------------------------------------------------


async def _logged_in(page: Page, url: str, name: str) -> None:
    await page.goto(f"{url}/auth")
    await page.get_by_role("link", name="Log in").click()
    await page.get_by_placeholder("Enter any login").fill(name)
    await page.get_by_placeholder("and password").fill("whatever")
    await page.get_by_role("button", name="Sign-in").click()
    await page.get_by_role("button", name="Continue").click()
    await expect(page.get_by_role("heading")).to_contain_text(["You are logged in as"])


async def test_a_browser_logs_in_and_out_and_for_no_other_sites_page(
    service: TwoApis,
) -> None:
    async def trap(request: Request) -> Response:
        """The browser sends its cookie along: to it, another port is the same site."""
        return HTMLResponse(
            f'<form method="post" action="{service.url}/auth/logout"><button>Win</button></form>'
        )

    other = ProtocolServer([Route("/", trap)])
    async with serving(other) as elsewhere, browser.opened() as chromium:
        page = await chromium.new_page()
        told: list[ConsoleMessage] = []
        page.on("console", lambda said: told.append(said))  # noqa: PLW0108  # it marks what it calls
        await _logged_in(page, service.url, "dora")
        assert [one.text for one in told if one.location["url"].startswith(service.url)] == []
        assert await page.evaluate("document.cookie") == ""

        await page.goto(elsewhere)
        await page.get_by_role("button", name="Win").click()
        await expect(page.get_by_role("heading").first).to_have_text(
            "Another site's page asked for this"
        )
        await page.get_by_role("link", name="Your account").click()
        await expect(page.get_by_role("heading").first).to_have_text("You are logged in as Dora")

        await page.get_by_role("button", name="Log out", exact=True).click()
        await expect(page.get_by_role("heading")).to_have_text("You are not logged in")
    assert await service.topics("dora") == [
        "user.registered",
        "user.logged_in",
        "user.sessions_ended",
    ]
