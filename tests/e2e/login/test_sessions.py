"""Sessions of browsers: seen, listed and ended; what is written to the log."""

from __future__ import annotations

import io
import json
import re

import pytest

from domain.user import user_id
from interfaces.rest.authentication import SESSION
from interfaces.web.cookies import ATTEMPTS
from tests.e2e.login.visiting import JSON, OURS, Browser, Service, cookies_set, told
from tests.processes import ADMIN_KEY
from tests.servers.openid import SECRET

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_who_is_logged_in_sees_where_and_ends_it(browser: Browser, service: Service) -> None:
    service.server.claims = {"sub": "liz", "name": "Liz"}
    other = Browser(service)
    async with other.client:
        mine, _ = await browser.log_in(), await other.log_in()
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

        await other.log_in()
        await browser.post("/auth/logout", everywhere="yes")
        assert SESSION not in browser.client.cookies
        liz = await service.stack.container.people().user(user_id(service.server.issuer, "liz"))
        assert liz.sessions == {}


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
