"""Where somebody is logged in, and how that ends."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import Field

from application.logins import SessionNotFoundError
from interfaces.rest import problem_types as kinds
from interfaces.rest.answers import resource
from interfaces.rest.authentication import Authenticated
from interfaces.rest.context import container_of
from interfaces.rest.openapi import problems
from interfaces.rest.own import uuid_in_path
from interfaces.rest.people import UserId
from interfaces.rest.shapes import Shape

router = APIRouter(prefix="/api/v1")

ENDED: dict[str, Any] = {"description": "None of them goes on, in any process, within a second"}


async def session_id(
    id: Annotated[  # noqa: A002  # its name in the URL
        str, Path(description="The session's id.", json_schema_extra={"format": "uuid"})
    ],
) -> UUID:
    """Raises SessionNotFoundError for an id that is none."""
    return uuid_in_path(id, SessionNotFoundError())


SessionId = Annotated[UUID, Depends(session_id)]


class SessionShape(Shape):
    id: UUID
    began_at: datetime
    last_used_at: datetime = Field(description="It may be a few seconds behind.")
    ends_at: datetime = Field(description="However it is used; unused, it ends before.")
    is_current: bool = Field(description="Whether this request came in it.")


class SessionList(Shape):
    """The newest first."""

    items: tuple[SessionShape, ...]


@router.get(
    "/me/sessions",
    tags=["me"],
    operation_id="listSessions",
    summary="List where you are logged in",
    responses={200: {"model": SessionList}, **problems(kinds.NOT_AUTHENTICATED, kinds.BUSY)},
)
async def sessions(request: Request, caller: Authenticated) -> Response:
    """Your sessions that are not over, the newest first. This takes a login, not an API key."""
    going_on = await container_of(request).logins().going_on(caller.user_id)
    shapes = tuple(
        SessionShape(**vars(one), is_current=one.id == caller.session_id) for one in going_on
    )
    return resource(request, SessionList(items=shapes))


@router.delete(
    "/me/sessions",
    tags=["me"],
    operation_id="endSessions",
    summary="Log out everywhere",
    status_code=204,
    responses={204: ENDED, **problems(kinds.NOT_AUTHENTICATED, kinds.CONTENDED, kinds.BUSY)},
)
async def end_all(request: Request, caller: Authenticated) -> Response:
    """Ends all of your sessions, this one too."""
    people = container_of(request).people()
    await people.end_sessions(caller.user_id, None, by=caller.user_id)
    return Response(status_code=204)


@router.delete(
    "/me/sessions/{id}",
    tags=["me"],
    operation_id="endSession",
    summary="Log out in one place",
    status_code=204,
    responses={
        204: ENDED,
        **problems(
            *(kinds.NOT_AUTHENTICATED, kinds.NOT_FOUND, kinds.CONTENDED, kinds.BUSY),
        ),
    },
)
async def end_one(request: Request, caller: Authenticated, id_: SessionId) -> Response:
    """Ends one of your sessions; ended before, it is not found."""
    container = container_of(request)
    if id_ not in {one.id for one in await container.logins().going_on(caller.user_id)}:
        raise SessionNotFoundError
    await container.people().end_sessions(caller.user_id, {id_}, by=caller.user_id)
    return Response(status_code=204)


@router.delete(
    "/admin/users/{id}/sessions",
    tags=["admin"],
    operation_id="endUsersSessions",
    summary="Log a user out everywhere",
    status_code=204,
    responses={
        204: ENDED,
        **problems(
            *(kinds.NOT_AUTHENTICATED, kinds.NOT_FOUND, kinds.CONTENDED, kinds.BUSY),
        ),
    },
)
async def end_of(request: Request, caller: Authenticated, id_: UserId) -> Response:
    """Ends all sessions of a user, who can log in again."""
    await container_of(request).people().end_sessions(id_, None, by=caller.user_id)
    return Response(status_code=204)
