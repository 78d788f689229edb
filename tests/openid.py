"""A real OpenID provider, and somebody with a browser that keeps cookies and fills in its forms."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urljoin

import httpx

from tests.node import HERE, MODULES, NODE, environment

CLIENT, SECRET = "darkroom-client", "a-secret-of-darkroom-and-its-provider"
MOST_STEPS = 20  # of one login


@asynccontextmanager
async def provider(redirect_uris: Sequence[str]) -> AsyncIterator[str]:
    """npm's oidc-provider, until the block ends; yields its issuer."""
    assert (MODULES / "oidc-provider").exists(), "It is not installed: run `make test` once."
    process = await asyncio.create_subprocess_exec(
        str(NODE),
        str(HERE / "openid.mjs"),
        env={
            **environment(),
            "CLIENT_ID": CLIENT,
            "CLIENT_SECRET": SECRET,
            "REDIRECT_URIS": " ".join(redirect_uris),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # it warns of what a test does not need
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            issuer = (await process.stdout.readline()).decode().strip()
        assert issuer, "The provider did not start."
        yield issuer
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Person:
    """Somebody called so, with a browser of their own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.browser = httpx.AsyncClient(headers={"Accept": "text/html"}, timeout=30)

    async def get(self, address: str) -> httpx.Response:
        return await self.browser.get(address)

    async def post(self, address: str, **fields: str) -> httpx.Response:
        """As a form of the page there does."""
        headers = {"Sec-Fetch-Site": "same-origin"}
        return await self.browser.post(address, data=fields, headers=headers)

    async def log_in(self, address: str, *, until: str = "!") -> httpx.Response:
        """Follow wherever it leads, say who they are and yes to everything.

        Ends at the first page without a form of the provider's, or before an address with `until`.
        """
        answer = await self.get(address)
        for _ in range(MOST_STEPS):
            if answer.has_redirect_location:
                next_ = urljoin(str(answer.url), answer.headers["location"])
                if until in next_:
                    return answer
                answer = await self.get(next_)
            elif (form := _form(answer)) and "/interaction/" in form[0]:
                fields = {**form[1], "login": self.name, "password": "whatever"}
                answer = await self.browser.post(urljoin(str(answer.url), form[0]), data=fields)
            else:
                return answer
        raise AssertionError(f"It never ends: {answer.url}")


def _form(answer: httpx.Response) -> tuple[str, dict[str, str]] | None:
    action = re.search(r'<form[^>]* action="([^"]+)"', answer.text)
    if action is None:
        return None
    hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', answer.text)
    return html.unescape(action[1]), {name: html.unescape(value) for name, value in hidden}
