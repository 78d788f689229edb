"""Who asks: the administrator's API key, for now."""

from __future__ import annotations

from hashlib import sha256
from hmac import compare_digest
from typing import Annotated

from fastapi import Depends, Request

from application.accounts import ADMINISTRATOR
from interfaces.rest.context import Caller
from interfaces.rest.errors import NotAllowedError, NotAuthenticatedError


class Authentication:
    """Recognises API keys; without an administrator's key nobody is let in."""

    def __init__(self, admin_key: str | None) -> None:
        self._admin = sha256(admin_key.encode()).digest() if admin_key else None

    def caller(self, authorization: bytes | None) -> Caller | None:
        """Who sent this header, None when nobody known did."""
        scheme, _, key = (authorization or b"").partition(b" ")
        if self._admin is None or scheme.lower() != b"bearer":
            return None
        if not compare_digest(sha256(key.strip()).digest(), self._admin):
            return None
        return Caller(ADMINISTRATOR, api_key_id="admin", role="administrator")


async def authenticated(request: Request) -> Caller:
    """The caller that the middleware recognised. Raises NotAuthenticatedError."""
    caller = request.scope["state"].get("caller")
    if isinstance(caller, Caller):
        return caller
    raise NotAuthenticatedError(key_was_sent="authorization" in request.headers)


Authenticated = Annotated[Caller, Depends(authenticated)]


async def administrator(caller: Authenticated) -> Caller:
    """A caller who runs this service. Raises NotAuthenticatedError, NotAllowedError."""
    if caller.role != "administrator":
        raise NotAllowedError
    return caller


Administrator = Annotated[Caller, Depends(administrator)]
