"""A browser, as far as logins concern one, and the API that it visits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from fastapi import FastAPI

from infrastructure.settings import Settings
from interfaces.rest.authentication import SESSION
from tests.e2e.stack import Stack, settings_for
from tests.servers.openid import CLIENT, SECRET, OpenIdServer

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


def at(server: OpenIdServer) -> dict[str, str]:
    """Settings that lead there."""
    return {
        "oidc_issuer": server.issuer,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
    }


def like(service: Service, **changed: str) -> Settings:
    """Settings of another API on the same servers."""
    old = service.stack.settings
    assert old.database_url is not None
    assert old.redis_url is not None
    given = {**at(service.server), **changed}
    return settings_for(old.data_dir, old.database_url, old.redis_url, **given)


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
