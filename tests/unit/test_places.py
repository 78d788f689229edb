"""Where a browser is sent after a login."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest

from interfaces.web.places import ACCOUNT, LONGEST, place

HERE = [
    "/",
    "/docs",
    "/docs#tag/me",
    "/auth",
    "/authors",
    "/a/b-c_d~e.f?x=1&y=%2F%2Felsewhere&z=//elsewhere",
    "/a%20b",
    "/" + "a" * (LONGEST - 1),
]
ELSEWHERE = [
    None,
    "",
    "docs",
    "//elsewhere.example",
    "///elsewhere.example",
    "/\\elsewhere.example",
    "\\\\elsewhere.example",
    "/a\\b",
    "https://elsewhere.example",
    "HTTPS:elsewhere.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "/%2felsewhere.example",
    "/%2Felsewhere.example",
    "/%5celsewhere.example",
    "/%252felsewhere.example",
    "/%25252felsewhere.example",
    "/%2525252felsewhere.example",
    "/.//elsewhere.example",
    "/../elsewhere.example",
    "/a/..//elsewhere.example",
    "/%2e%2e//elsewhere.example",
    "/a//b",
    "/\t/elsewhere.example",
    "/\n/elsewhere.example",
    "/a\r\nSet-Cookie: a=b",
    "/%0d%0aSet-Cookie:%20a=b",
    "/%00",
    " /docs",
    "/ docs",
    "\u2028/docs",
    "/ä",
    "/<script>",
    "/auth/login",
    "/auth/logout?x",
    "/%61uth/login",
    "/" + "a" * LONGEST,
]


@pytest.mark.parametrize("asked", HERE)
def test_an_address_of_this_service_is_gone_to(asked: str) -> None:
    assert place(asked) == asked
    there = urlsplit(urljoin("https://here.example/auth/callback", asked))
    assert (there.scheme, there.netloc) == ("https", "here.example")


@pytest.mark.parametrize("asked", ELSEWHERE)
def test_everything_else_leads_to_the_account(asked: str | None) -> None:
    assert place(asked) == ACCOUNT
