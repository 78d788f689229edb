"""Cookies that no script reads, that other sites' pages do not send along, and that are ours."""

from __future__ import annotations

from datetime import timedelta

from fastapi import Request, Response

from interfaces.rest.authentication import session_cookie
from interfaces.rest.context import container_of

ATTEMPTS = "darkroom-logins"


def keep_session(request: Request, response: Response, token: str, *, lasts: timedelta) -> None:
    """Let the browser keep who is logged in."""
    _keep(request, response, session_cookie(_public_url(request)), token, lasts=lasts)


def forget_session(request: Request, response: Response) -> None:
    """Let it keep that no longer."""
    _forget(request, response, session_cookie(_public_url(request)))


def kept_attempts(request: Request) -> str | None:
    """What the browser keeps of logins that are under way."""
    return request.cookies.get(_attempts_cookie(request))


def keep_attempts(
    request: Request, response: Response, sealed: str | None, *, lasts: timedelta
) -> None:
    """Let it keep this of them, or nothing more."""
    if sealed is None:
        _forget(request, response, _attempts_cookie(request))
    else:
        _keep(request, response, _attempts_cookie(request), sealed, lasts=lasts)


def _keep(request: Request, response: Response, name: str, value: str, *, lasts: timedelta) -> None:
    response.set_cookie(
        name,
        value,
        max_age=int(lasts.total_seconds()),
        path="/",
        secure=_is_over_tls(request),
        httponly=True,
        samesite="lax",
    )


def _forget(request: Request, response: Response, name: str) -> None:
    response.delete_cookie(
        name, path="/", secure=_is_over_tls(request), httponly=True, samesite="lax"
    )


def _attempts_cookie(request: Request) -> str:
    return f"__Host-{ATTEMPTS}" if _is_over_tls(request) else ATTEMPTS


def _is_over_tls(request: Request) -> bool:
    return _public_url(request).startswith("https://")


def _public_url(request: Request) -> str:
    return container_of(request).settings().public_url
