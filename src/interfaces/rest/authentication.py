"""Who asks: by an API key, or in the session that a browser keeps in a cookie."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Annotated

from fastapi import Depends

from application.access import Caller, KeyRefusedError, SessionOverError
from application.guarding import GuardedAccess
from application.ports.event_store import StoreUnavailableError, UnknownEventError
from application.rate_limits import RateLimitedError
from domain.user import SuspendedError
from interfaces.rest.context import caller_of
from interfaces.rest.errors import NotAuthenticatedError

REFUSALS = (KeyRefusedError, SessionOverError, SuspendedError, RateLimitedError)
UNCERTAIN = (StoreUnavailableError, UnknownEventError)
SESSION = "darkroom-session"
SESSION_OVER_TLS = f"__Host-{SESSION}"  # which no other host and no plain HTTP can set


def session_cookie(public_url: str) -> str:
    """The name of the cookie that keeps a session."""
    return SESSION_OVER_TLS if public_url.startswith("https://") else SESSION


class Authentication:
    """Recognises callers by their headers; `access` is asked for when somebody shows something."""

    def __init__(self, access: Callable[[], GuardedAccess], *, cookie: str) -> None:
        self._access, self._cookie = access, cookie

    async def caller(
        self, headers: Mapping[bytes, bytes], address: str | None
    ) -> Caller | Exception:
        """Who sent these from there, or why it is not known: it matters where a caller is needed.

        A key counts, not a session, where both were sent.
        """
        try:
            if authorization := headers.get(b"authorization"):
                return await self._by_key(authorization, address)
            if token := _cookie(headers.get(b"cookie", b""), self._cookie):
                return await self._access().by_session(token, address=address)
        except (*REFUSALS, *UNCERTAIN) as error:
            return error
        return NotAuthenticatedError()

    async def _by_key(self, authorization: bytes, address: str | None) -> Caller:
        scheme, _, key = authorization.decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            raise KeyRefusedError
        return await self._access().by_key(key.strip(), address=address)


def _cookie(header: bytes, name: str) -> str | None:
    if name.encode() not in header:
        return None
    try:
        cookie = SimpleCookie(header.decode("latin-1")).get(name)
    except CookieError:
        return None
    return cookie.value if cookie else None


Authenticated = Annotated[Caller, Depends(caller_of)]
"""Who asks, on a route that needs somebody."""
