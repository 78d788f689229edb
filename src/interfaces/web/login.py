"""Getting in with a browser, at the provider or by a link: limited by address."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from application.logins import LoggedIn, LoginNotConfiguredError
from application.ports.identity import Attempt, IdentityProvider
from interfaces.rest.context import container_of
from interfaces.rest.errors import LoginCancelledError, LoginNotBegunError, LoginRefusedError
from interfaces.web import attempts, pages
from interfaces.web.answers import SEE_OTHER, private
from interfaces.web.cookies import keep_session
from interfaces.web.forms import read_fields, refuse_forms_of_others, session_of
from interfaces.web.places import ACCOUNT, place

router = APIRouter(prefix=ACCOUNT, include_in_schema=False)

Given = Annotated[str | None, Query()]

_CODE = re.compile(r"[\x20-\x7e]{1,2000}")  # RFC 6749, A.11
_REASON = re.compile(r"[a-z_]{1,64}")


@router.get("/login")
async def login(request: Request, next: Given = None) -> Response:  # noqa: A002  # as it is called
    """Send the browser to where its user proves who they are."""
    attempt = Attempt()
    address = await _provider(request).address(attempt)
    response = RedirectResponse(address, SEE_OTHER)
    attempts.begin(request, response, attempt, next_=place(next))
    return private(response)


@router.get("/callback")
async def callback(
    request: Request,
    state: Given = None,
    code: Given = None,
    iss: Given = None,
    error: Given = None,
) -> Response:
    """Where the provider sends it back. However it ends, the browser forgets the attempt.

    Raises LoginNotBegunError, LoginCancelledError, LoginRefusedError, LoginNotConfiguredError, and
    what the provider and the login raise.
    """
    begun = attempts.found(request, state or "")
    if begun is None:
        raise LoginNotBegunError
    if error == "access_denied":
        raise LoginCancelledError
    if error is not None or code is None or not _CODE.fullmatch(code):
        raise LoginRefusedError(error if error and _REASON.fullmatch(error) else None)
    identity = await _provider(request).identity(begun.attempt, code=code, issuer=iss)
    logins = container_of(request).logins()
    logged_in = await logins.by_identity(identity, instead_of=session_of(request))
    response = _into(request, logged_in, begun.next)
    attempts.end(request, response, state or "")
    return response


@router.get("/link")
async def link(request: Request, token: Given = None) -> Response:
    """Following a link uses nothing up: previewers and browsers follow links by themselves."""
    container = container_of(request)
    container.login_links().id_of(token or "", container.store().now())
    return private(pages.link_found(token or ""))


@router.post("/link")
async def use_link(request: Request) -> Response:
    """Log the administrator in, once."""
    refuse_forms_of_others(request)
    token, logins = (await read_fields(request)).get("token", ""), container_of(request).logins()
    return _into(request, await logins.by_link(token, instead_of=session_of(request)), ACCOUNT)


def _provider(request: Request) -> IdentityProvider:
    provider = container_of(request).identity_provider()
    if provider is None:
        raise LoginNotConfiguredError
    return provider


def _into(request: Request, logged_in: LoggedIn, to: str) -> Response:
    response = private(RedirectResponse(to, SEE_OTHER))
    keep_session(request, response, logged_in.token, lasts=logged_in.lasts)
    return response
