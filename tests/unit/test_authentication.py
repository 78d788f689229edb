"""Who is let in."""

from __future__ import annotations

import pytest

from application.accounts import ADMINISTRATOR
from interfaces.rest.authentication import Authentication
from interfaces.rest.context import Caller

KEY = "0123456789abcdef0123"


@pytest.mark.parametrize("header", [f"Bearer {KEY}", f"bearer {KEY}", f"BEARER  {KEY} "])
def test_the_administrators_key_lets_the_administrator_in(header: str) -> None:
    caller = Authentication(KEY).caller(header.encode())

    assert caller == Caller(ADMINISTRATOR, api_key_id="admin", role="administrator")


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", f"Basic {KEY}", KEY, f"Bearer {KEY[:-1]}", "Bearer x"]
)
def test_nobody_else_is_let_in(header: str | None) -> None:
    assert Authentication(KEY).caller(None if header is None else header.encode()) is None


def test_a_key_that_is_no_text_is_no_key() -> None:
    assert Authentication(KEY).caller(b"Bearer \xff\xfe") is None


@pytest.mark.parametrize("header", [b"Bearer ", b"Bearer None", b"Bearer"])
def test_without_a_configured_key_nobody_is_let_in(header: bytes) -> None:
    assert Authentication(None).caller(header) is None
