"""Who asks: by an API key, or in the session that a browser keeps in a cookie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from application.access import Caller, KeyRefusedError, SessionOverError
from application.guarding import GuardedAccess
from application.ports.event_store import StoreUnavailableError, UnknownEventError
from application.rate_limits import RateLimitedError
from domain.aggregate import act_as
from domain.user import SuspendedError
from interfaces.rest.context import address_of, caller_of, container_of
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

    async def caller(self, headers: Headers, address: str | None) -> Caller | Exception:
        """Who sent these from there, or why it is not known: it matters where a caller is needed.

        A key counts, not a session, where both were sent.
        """
        try:
            if keys := [_key(shown) for shown in headers.getlist("authorization")]:
                return await self._by_key(keys, headers, address)
            return await self._by_session(headers, address)
        except (*REFUSALS, *UNCERTAIN, NotAuthenticatedError) as error:
            return error

    async def _by_key(
        self, keys: Sequence[str | None], headers: Headers, address: str | None
    ) -> Caller:
        if len(keys) > 1:
            raise KeyRefusedError("came with another one: send one")
        if keys[0] is not None:
            return await self._access().by_key(keys[0], address=address)
        if self._token(headers) is None:
            raise KeyRefusedError
        return await self._by_session(headers, address)  # it was shown to a proxy on the way

    async def _by_session(self, headers: Headers, address: str | None) -> Caller:
        token = self._token(headers)
        if token is None:
            raise NotAuthenticatedError
        return await self._access().by_session(token, address=address)

    def _token(self, headers: Headers) -> str | None:
        return cookie_parser("; ".join(headers.getlist("cookie"))).get(self._cookie) or None


def _key(authorization: str) -> str | None:
    """What was shown as a key; None in another scheme than ours."""
    scheme, _, key = authorization.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


async def recognise(request: Request) -> None:
    """Find out who asks, for the route, and for the events that it leads to."""
    authentication: Authentication = request.app.state.authentication
    caller = await authentication.caller(request.headers, address_of(request))
    request.scope["state"]["caller"] = caller
    if isinstance(caller, Caller):
        act_as(f"user:{caller.user_id}")


async def confirm(request: Request) -> None:
    """Whoever was let in is so still, now that a body has arrived.

    Raises KeyRefusedError, SessionOverError, SuspendedError, StoreUnavailableError.
    """
    await container_of(request).access().let_in_again(caller_of(request))


Authenticated = Annotated[Caller, Depends(caller_of)]
"""Who asks, on a route that needs somebody."""
