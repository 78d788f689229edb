"""Users, for administrators: seen, made administrators, suspended."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import Field

from application.people import UserNotFoundError
from domain.quota import USER_WINDOWS
from domain.user import Role, User
from interfaces.rest import problem_types as kinds
from interfaces.rest.account_shapes import (
    LimitsShape,
    ListedUserShape,
    UserChange,
    UserList,
    UserShape,
)
from interfaces.rest.answers import json_answer, replayed, resource
from interfaces.rest.authentication import Authenticated
from interfaces.rest.bodies import read_json
from interfaces.rest.context import container_of, key_of
from interfaces.rest.events import EventsQuery
from interfaces.rest.fields import Text
from interfaces.rest.openapi import COMMAND, JSON_COMMAND, REPLAYED, json_body, problems
from interfaces.rest.own import uuid_in_path
from interfaces.rest.pages import PageQuery, link_to_next, page_of
from interfaces.rest.representation import of_allowances, of_event
from interfaces.rest.shapes import EventList, QuotaShape

router = APIRouter(prefix="/api/v1/admin/users", tags=["admin"])

SECRETS = frozenset({"token_hash", "link"})  # of no use to anybody, but to who tries them out
LIMIT: dict[str, Any] = {**COMMAND, **json_body(LimitsShape)}
CHANGE: dict[str, Any] = {**COMMAND, **json_body(UserChange)}


async def user_id(
    id: Annotated[  # noqa: A002  # its name in the URL
        str, Path(description="The user's id.", json_schema_extra={"format": "uuid"})
    ],
) -> UUID:
    """Raises UserNotFoundError for an id that is none."""
    return uuid_in_path(id, UserNotFoundError())


UserId = Annotated[UUID, Depends(user_id)]


class UsersQuery(PageQuery):
    """Which users."""

    role: Role | None = Field(None, description="Only those.")
    suspended: bool | None = Field(None, description="Only those who are, or are not.")
    q: Annotated[Text, Field(min_length=1, max_length=200)] | None = Field(
        None, description="A part of the email or the name."
    )


@router.get(
    "",
    operation_id="listUsers",
    summary="List users, or search for them",
    responses={
        200: {"model": UserList},
        **problems(
            kinds.NOT_AUTHENTICATED, kinds.CURSOR_REFUSED, kinds.INVALID_REQUEST, kinds.BUSY
        ),
    },
)
async def users(request: Request, query: Annotated[UsersQuery, Query()]) -> Response:
    """The newest first. Who has just come may be missing for a moment."""
    users_page = container_of(request).users_page
    wanted = partial(users_page, role=query.role, suspended=query.suspended, part=query.q)
    rows, cursor = await page_of(request, query, wanted)
    items = tuple(ListedUserShape.model_validate(vars(row)) for row in rows)
    shape = UserList(items=items, next_cursor=cursor)
    return resource(request, shape, link_to_next(request, limit=query.limit, cursor=cursor))


@router.get(
    "/{id}",
    operation_id="getUser",
    summary="Get a user",
    responses={
        200: {"model": UserShape},
        **problems(kinds.NOT_AUTHENTICATED, kinds.NOT_FOUND, kinds.BUSY),
    },
)
async def user(request: Request, id_: UserId) -> Response:
    """As they are now."""
    return resource(request, of_user(await container_of(request).people().user(id_)))


@router.patch(
    "/{id}",
    operation_id="changeUser",
    summary="Change a user's role, suspend or reinstate them",
    openapi_extra=CHANGE,
    responses={
        200: {"model": UserShape, "description": "They are as you wanted", "headers": REPLAYED},
        **problems(
            *(kinds.NOT_AUTHENTICATED, kinds.NOT_FOUND, kinds.LOCKED_OUT),
            *JSON_COMMAND,
        ),
    },
)
async def change(request: Request, caller: Authenticated, id_: UserId) -> Response:
    """Effective in every process within a second.

    Who is suspended is refused whatever they ask, and their sessions end; what they had asked for
    goes on. Reinstated, their API keys are good again.
    """
    key = key_of(request)
    asked, people = await read_json(request, UserChange), container_of(request).people()
    repeated = await people.change_standing(
        id_, role=asked.role, suspended=asked.suspended, by=caller.user_id, idempotency_key=key
    )
    return json_answer(of_user(await people.user(id_)), headers=replayed(repeated))


@router.get(
    "/{id}/quota",
    operation_id="getQuotaOf",
    summary="See what a user has used, and their limits",
    responses={
        200: {"model": QuotaShape},
        **problems(kinds.NOT_AUTHENTICATED, kinds.NOT_FOUND, kinds.BUSY),
    },
)
async def quota(request: Request, id_: UserId) -> Response:
    """Their own limits where they have any, else those that are configured."""
    await container_of(request).people().user(id_)
    return resource(request, await _quota(request, id_))


@router.put(
    "/{id}/quota",
    operation_id="limitUser",
    summary="Give a user limits of their own",
    openapi_extra=LIMIT,
    responses={
        200: {"model": QuotaShape, "description": "The limits hold", "headers": REPLAYED},
        **problems(
            *(kinds.NOT_AUTHENTICATED, kinds.NOT_FOUND),
            *JSON_COMMAND,
        ),
    },
)
async def limit(request: Request, caller: Authenticated, id_: UserId) -> Response:
    """All of them at once, from the next request on: `{}` takes them back, null is no limit.

    Below what is used already nothing more is accepted until the window resets.
    """
    key = key_of(request)
    asked = await read_json(request, LimitsShape)
    limits = {name: getattr(asked, name) for name in USER_WINDOWS if name in asked.model_fields_set}
    repeated = (
        await container_of(request)
        .people()
        .limit(id_, limits, by=caller.user_id, idempotency_key=key)
    )
    return json_answer(await _quota(request, id_), headers=replayed(repeated))


async def _quota(request: Request, id_: UUID) -> QuotaShape:
    container = container_of(request)
    return of_allowances(await container.quota().of(id_, container.store().now()))


@router.get(
    "/{id}/events",
    operation_id="listUserEvents",
    summary="See what was decided about a user, and by whom",
    responses={
        200: {"model": EventList},
        **problems(
            *(kinds.NOT_AUTHENTICATED, kinds.NOT_FOUND),
            *(kinds.INVALID_REQUEST, kinds.BUSY),
        ),
    },
)
async def events(request: Request, id_: UserId, query: Annotated[EventsQuery, Query()]) -> Response:
    """The oldest first: logins, roles, limits, suspensions; `by` and `actor` say whose they are."""
    container = container_of(request)
    await container.people().user(id_)
    page = await container.store().history(id_, after=query.after, limit=query.limit + 1)
    items = tuple(of_event(recorded, without=SECRETS) for recorded in page[: query.limit])
    more = str(items[-1].position) if len(page) > query.limit else None
    shape = EventList(items=items, next_cursor=more)
    return resource(request, shape, link_to_next(request, after=more))


def of_user(user: User) -> UserShape:
    """As folded from their events: always current."""
    return UserShape(
        id=user.id,
        email=user.profile.email,
        name=user.profile.name,
        picture_url=user.profile.picture_url,
        role=user.role,
        suspended=user.is_suspended,
    )
