"""The page about who is logged in, and logging out."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from application.access import Caller, KeyRefusedError, SessionOverError
from domain.user import SuspendedError
from interfaces.rest.context import caller_of, container_of
from interfaces.rest.errors import NotAuthenticatedError
from interfaces.web import pages
from interfaces.web.answers import SEE_OTHER, private
from interfaces.web.cookies import forget_session
from interfaces.web.forms import read_fields, refuse_forms_of_others
from interfaces.web.places import ACCOUNT

router = APIRouter(prefix=ACCOUNT, include_in_schema=False)

NOTHING_GOES_ON = (NotAuthenticatedError, SessionOverError, SuspendedError)
NOT_LOGGED_IN = (*NOTHING_GOES_ON, KeyRefusedError)


@router.get("")
async def account(request: Request) -> Response:
    """Who is logged in, and where."""
    container = container_of(request)
    try:
        caller = caller_of(request)
    except NOT_LOGGED_IN as error:
        return private(_logged_out(request, error))
    if caller.session_id is None:
        return private(_logged_out(request))
    user = await container.people().user(caller.user_id)
    sessions = await container.logins().going_on(caller.user_id)
    return private(pages.account(user, sessions, caller.session_id))


@router.post("/logout")
async def logout(request: Request) -> Response:
    """End this session, the one named `session`, or all of them (`everywhere`).

    Raises OtherSiteError, KeyRefusedError, ContendedError, StoreUnavailableError, and what is wrong
    with a form.
    """
    refuse_forms_of_others(request)
    fields = await read_fields(request)
    response = private(RedirectResponse(ACCOUNT, SEE_OTHER))
    try:
        caller = caller_of(request)
    except NOTHING_GOES_ON:
        forget_session(request, response)
        return response
    if caller.session_id is None:
        return response
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


def _logged_out(request: Request, why: Exception | None = None) -> Response:
    by_provider = container_of(request).identity_provider() is not None
    told = "" if why is None or isinstance(why, NotAuthenticatedError) else f"{why}"
    return pages.logged_out(told, by_provider=by_provider)
