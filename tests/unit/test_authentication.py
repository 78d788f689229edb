"""What of a request's headers says who asks."""

from __future__ import annotations

from uuid import UUID

import pytest
from starlette.datastructures import Headers

from application.access import Caller, KeyRefusedError, SessionOverError
from application.ports.event_store import StoreUnavailableError
from interfaces.rest.authentication import (
    SESSION,
    SESSION_OVER_TLS,
    Authentication,
    session_cookie,
)
from interfaces.rest.errors import NotAuthenticatedError

ADA = Caller(UUID(int=1), "user", frozenset({"read"}))


class Access:
    """Lets `good` in, and keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str | None]] = []

    async def by_key(self, key: str, *, address: str | None) -> Caller:
        return self._judge(key, address, KeyRefusedError())

    async def by_session(self, token: str, *, address: str | None) -> Caller:
        return self._judge(token, address, SessionOverError())

    def _judge(self, shown: str, address: str | None, refusal: Exception) -> Caller:
        self.shown.append((shown, address))
        if shown == "away":
            raise StoreUnavailableError("away")
        if shown != "good":
            raise refusal
        return ADA


async def judged(*sent: tuple[str, str]) -> Caller | Exception:
    headers = Headers(raw=[(name.encode(), value.encode("latin-1")) for name, value in sent])
    authentication = Authentication(Access, cookie=SESSION)  # type: ignore[arg-type]  # asked alike
    return await authentication.caller(headers, "192.0.2.1")


@pytest.mark.parametrize("header", ["Bearer good", "bearer good", "BEARER  good "])
async def test_a_key_is_shown_as_a_bearer_token(header: str) -> None:
    assert await judged(("authorization", header)) == ADA


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic good", "good", "Bearer bad"])
async def test_anything_else_is_no_key(header: str) -> None:
    assert isinstance(await judged(("authorization", header)), KeyRefusedError)


async def test_who_shows_nothing_is_told_how() -> None:
    assert isinstance(await judged(), NotAuthenticatedError)
    assert isinstance(await judged(("cookie", "other=good")), NotAuthenticatedError)
    assert isinstance(await judged(("cookie", f"{SESSION}=")), NotAuthenticatedError)


@pytest.mark.parametrize("beside", ['a={"x":1}', "a=b c", "a[0]=1", "foo", "n=é", "x=; y=2"])
async def test_other_programs_cookies_do_no_harm(beside: str) -> None:
    assert await judged(("cookie", f"{beside}; {SESSION}=good; {beside}")) == ADA
    assert await judged(("cookie", f"{SESSION}=good"), ("cookie", beside)) == ADA


async def test_a_key_counts_more_than_a_session() -> None:
    session = ("cookie", f"{SESSION}=good")
    assert isinstance(await judged(("authorization", "Bearer bad"), session), KeyRefusedError)
    assert await judged(("authorization", "Bearer good"), ("cookie", f"{SESSION}=bad")) == ADA


async def test_what_was_shown_to_a_proxy_hides_no_session() -> None:
    assert await judged(("authorization", "Basic YTpi"), ("cookie", f"{SESSION}=good")) == ADA


async def test_two_keys_are_none() -> None:
    both = [("authorization", "Bearer good"), ("authorization", "Bearer good")]
    assert isinstance(await judged(*both), KeyRefusedError)


async def test_a_store_that_is_away_is_told_where_it_matters() -> None:
    assert isinstance(await judged(("authorization", "Bearer away")), StoreUnavailableError)


def test_over_tls_the_cookie_is_one_that_no_other_host_can_set() -> None:
    assert session_cookie("https://pictures.example") == SESSION_OVER_TLS
    assert session_cookie("http://127.0.0.1:8000") == SESSION
