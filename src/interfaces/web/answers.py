"""What all answers about logins have in common, those to errors included."""

from __future__ import annotations

from typing import TypeVar

from fastapi import Request, Response

from application.rate_limits import RateLimitedError
from interfaces.rest.context import request_id
from interfaces.rest.headers import accepts
from interfaces.rest.problems import explained, problem
from interfaces.web import attempts, pages
from interfaces.web.places import ACCOUNT

R = TypeVar("R", bound=Response)

SEE_OTHER = 303
CALLBACK = f"{ACCOUNT}/callback"


def private(response: R) -> R:
    """Nobody keeps it; and no other site is told whence somebody comes, but that it is from here.

    With no referrer at all, browsers would not say either that a form is one of ours.
    """
    response.headers.update(
        {
            "Cache-Control": "no-store",
            "Vary": "Accept, Cookie",
            "Referrer-Policy": "strict-origin",
        }
    )
    return response


def is_about_logins(path: str) -> bool:
    """Whether people come here with a browser."""
    return path == ACCOUNT or path.startswith(f"{ACCOUNT}/")


async def login_error(request: Request, error: Exception) -> Response:
    """A page for who asks for one, a problem for everybody else."""
    response = private(await _answer(request, error))
    came_too_often = isinstance(error, RateLimitedError)  # and may come again
    if request.scope["path"] == CALLBACK and not came_too_often:
        attempts.end(request, response, request.query_params.get("state", ""))
    return response


async def _answer(request: Request, error: Exception) -> Response:
    if not accepts("text/html", request.headers.getlist("accept")):
        return await problem(request, error)
    kind, told = explained(request, error)
    page = pages.told(kind, told.detail, request_id(request.scope))
    page.headers.update(told.headers)
    return page
