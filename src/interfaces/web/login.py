"""Logging in and out in a browser: at the provider, or by a link; and the page about it."""

from __future__ import annotations

import re
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from application.access import Caller, SessionOverError
from application.logins import LoggedIn, LoginNotConfiguredError
from application.ports.identity import Attempt, IdentityProvider
from domain.user import SuspendedError
from interfaces.rest.context import caller_of, container_of
from interfaces.rest.cross_site import refuse_other_sites, refuse_pages_of_others
from interfaces.rest.errors import (
    LoginCancelledError,
    LoginNotBegunError,
    LoginRefusedError,
    NotAuthenticatedError,
)
from interfaces.web import attempts, pages
from interfaces.web.answers import private
from interfaces.web.cookies import forget_session, keep_session
from interfaces.web.fields import read_fields
from interfaces.web.places import ACCOUNT, place

router = APIRouter(prefix=ACCOUNT, include_in_schema=False)
trying = APIRouter()  # what lets somebody try to get in, and is to be limited by address

SEE_OTHER = 303
NOT_LOGGED_IN = (NotAuthenticatedError, SessionOverError)

Given = Annotated[str | None, Query()]

_CODE = re.compile(r"[\x20-\x7e]{1,2000}")  # RFC 6749, A.11
_REASON = re.compile(r"[a-z_]{1,64}")


@router.get("")
async def account(request: Request) -> Response:
    """Who is logged in, and where."""
    container = container_of(request)
    by_provider = container.identity_provider() is not None
    try:
        caller = caller_of(request)
    except NOT_LOGGED_IN:
        return private(pages.logged_out(by_provider=by_provider))
    if caller.session_id is None:
        return private(pages.logged_out(by_provider=by_provider))
    user = await container.people().user(caller.user_id)
    sessions = await container.logins().going_on(caller.user_id)
    return private(pages.account(user, sessions, caller.session_id))


@trying.get("/login")
async def login(request: Request, next: Given = None) -> Response:  # noqa: A002  # as it is called
    """Send the browser to where its user proves who they are."""
    attempt = Attempt()
    address = await _provider(request).address(attempt)
    response = RedirectResponse(address, SEE_OTHER)
    attempts.begin(request, response, attempt, next_=place(next))
    return private(response)


@trying.get("/callback")
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
    logged_in = await logins.by_identity(identity, instead_of=_session_of(request))
    response = _into(request, logged_in, begun.next)
    attempts.end(request, response, state or "")
    return response


@trying.get("/link")
async def link(request: Request, token: Given = None) -> Response:
    """Following a link uses nothing up: previewers and browsers follow links by themselves."""
    container = container_of(request)
    container.login_links().id_of(token or "", container.store().now())
    return private(pages.link_found(token or ""))


@trying.post("/link")
async def use_link(request: Request) -> Response:
    """Log the administrator in, once."""
    refuse_pages_of_others(request)
    token, logins = (await read_fields(request)).get("token", ""), container_of(request).logins()
    logged_in = await logins.by_link(token, instead_of=_session_of(request))
    return _into(request, logged_in, ACCOUNT)


@router.post("/logout")
async def logout(request: Request) -> Response:
    """End this session, the one named `session`, or all of them (`everywhere`)."""
    refuse_pages_of_others(request)
    fields = await read_fields(request)
    response = private(RedirectResponse(ACCOUNT, SEE_OTHER))
    try:
        caller = caller_of(request)
    except (*NOT_LOGGED_IN, SuspendedError):  # nothing goes on that could be ended
        forget_session(request, response)
        return response
    if caller.session_id is None:
        return response
    refuse_other_sites(request, caller)
    ending = _ending(caller, fields)
    await container_of(request).people().end_sessions(caller.user_id, ending, by=caller.user_id)
    if ending is None or caller.session_id in ending:
        forget_session(request, response)
    return response


def _ending(caller: Caller, fields: dict[str, str]) -> set[UUID] | None:
    if "everywhere" in fields:
        return None
    try:
        named = UUID(fields["session"]) if "session" in fields else caller.session_id
    except ValueError:
        return set()
    return {named} if named else set()


router.include_router(trying)


def _provider(request: Request) -> IdentityProvider:
    provider = container_of(request).identity_provider()
    if provider is None:
        raise LoginNotConfiguredError
    return provider


def _session_of(request: Request) -> UUID | None:
    caller = request.scope["state"]["caller"]
    return caller.session_id if isinstance(caller, Caller) else None


def _into(request: Request, logged_in: LoggedIn, to: str) -> Response:
    response = private(RedirectResponse(to, SEE_OTHER))
    keep_session(request, response, logged_in.token, lasts=logged_in.lasts)
    return response
