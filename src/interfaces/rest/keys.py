"""API keys: issued and shown once, listed, revoked; by their owners, and by administrators."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request, Response

from application.access import Caller
from application.api_keys import ApiKeyNotFoundError
from infrastructure.read_models.api_keys import ApiKeyRow
from interfaces.rest import problem_types as kinds
from interfaces.rest.account_shapes import IssuedKeyShape, KeyList, KeyRequest, KeyShape
from interfaces.rest.answers import json_answer, replayed, resource
from interfaces.rest.authentication import Authenticated
from interfaces.rest.bodies import read_json
from interfaces.rest.context import container_of, key_of
from interfaces.rest.openapi import COMMAND, JSON_COMMAND, REPLAYED, json_body, problems
from interfaces.rest.own import uuid_in_path
from interfaces.rest.pages import Page, PageQuery, link_to_next, page_of
from interfaces.rest.people import UserId

router = APIRouter(prefix="/api/v1")

KeyId = Annotated[str, Path(description="The key's id.", json_schema_extra={"format": "uuid"})]
ISSUE: dict[str, Any] = {**COMMAND, **json_body(KeyRequest)}
ISSUED: dict[int | str, dict[str, Any]] = {
    201: {"model": IssuedKeyShape, "description": "It is shown this once", "headers": REPLAYED},
    **problems(
        *(kinds.NOT_AUTHENTICATED, kinds.NOT_FOUND),
        *JSON_COMMAND,
        kinds.KEY_NOT_POSSIBLE,
    ),
}
LISTED: dict[int | str, dict[str, Any]] = {
    200: {"model": KeyList},
    **problems(
        *(kinds.NOT_AUTHENTICATED, kinds.NOT_FOUND, kinds.CURSOR_REFUSED),
        *(kinds.INVALID_REQUEST, kinds.BUSY),
    ),
}
REVOKED: dict[int | str, dict[str, Any]] = {
    204: {"description": "It is good for nothing any more", "headers": REPLAYED},
    **problems(
        *(kinds.NOT_AUTHENTICATED, kinds.NOT_FOUND),
        *(kinds.IDEMPOTENCY_KEY_MALFORMED, kinds.IDEMPOTENCY_KEY_REUSED),
        *(kinds.CONTENDED, kinds.BUSY),
    ),
}


@router.post(
    "/me/keys",
    tags=["keys"],
    status_code=201,
    operation_id="issueKey",
    summary="Have an API key issued",
    openapi_extra=ISSUE,
    responses=ISSUED,
)
async def issue(request: Request, caller: Authenticated) -> Response:
    """It acts for you, within its scopes. Only its hash is kept: it cannot be shown again."""
    return await _issue(request, caller, caller.user_id)


@router.get(
    "/me/keys",
    tags=["keys"],
    operation_id="listKeys",
    summary="List your API keys",
    responses=LISTED,
)
async def keys(request: Request, caller: Authenticated, page: Page) -> Response:
    """The newest first, revoked and expired ones too. A new one may be missing for a moment."""
    return await _list(request, caller.user_id, page)


@router.delete(
    "/me/keys/{id}",
    tags=["keys"],
    status_code=204,
    operation_id="revokeKey",
    summary="Revoke an API key",
    openapi_extra=COMMAND,
    responses=REVOKED,
)
async def revoke(request: Request, caller: Authenticated, id: KeyId) -> Response:  # noqa: A002  # its name in the URL
    """Every process refuses it within a second."""
    return await _revoke(request, caller, id, of=caller.user_id)


@router.post(
    "/admin/users/{id}/keys",
    status_code=201,
    tags=["admin"],
    operation_id="issueKeyFor",
    summary="Issue an API key for a user",
    openapi_extra=ISSUE,
    responses=ISSUED,
)
async def issue_for(request: Request, caller: Authenticated, user_id: UserId) -> Response:
    """It acts for that user, within its scopes and their role."""
    return await _issue(request, caller, user_id)


@router.get(
    "/admin/users/{id}/keys",
    tags=["admin"],
    operation_id="listKeysOf",
    summary="List a user's API keys",
    responses=LISTED,
)
async def keys_of(request: Request, user_id: UserId, page: Page) -> Response:
    """The newest first."""
    return await _list(request, user_id, page)


@router.delete(
    "/admin/keys/{id}",
    status_code=204,
    tags=["admin"],
    operation_id="revokeAnyKey",
    summary="Revoke anybody's API key",
    openapi_extra=COMMAND,
    responses=REVOKED,
)
async def revoke_any(request: Request, caller: Authenticated, id: KeyId) -> Response:  # noqa: A002  # its name in the URL
    """Every process refuses it within a second."""
    return await _revoke(request, caller, id, of=None)


async def _issue(request: Request, caller: Caller, user_id: UUID) -> Response:
    idempotent = key_of(request)
    asked = await read_json(request, KeyRequest)
    issued = (
        await container_of(request)
        .api_keys()
        .issue(
            user_id=user_id,
            name=asked.name,
            scopes=tuple(dict.fromkeys(asked.scopes)),
            expires_at=asked.expires_at,
            by=caller.user_id,
            idempotency_key=idempotent,
        )
    )
    record = issued.record
    shape = IssuedKeyShape(
        id=record.id,
        name=record.name,
        prefix=record.prefix,
        scopes=record.scopes,
        created_at=record.created_on,
        expires_at=record.expires_at,
        revoked_at=None,
        last_used_at=None,
        key=issued.key,
    )
    return json_answer(shape, 201, {**replayed(issued.repeated), "Cache-Control": "no-store"})


async def _list(request: Request, user_id: UUID, query: PageQuery) -> Response:
    look = partial(container_of(request).api_keys_page, user_id=user_id)
    rows, cursor = await page_of(request, query, look)
    shape = KeyList(items=tuple(map(_of_row, rows)), next_cursor=cursor)
    return resource(request, shape, link_to_next(request, limit=query.limit, cursor=cursor))


async def _revoke(request: Request, caller: Caller, id_: str, *, of: UUID | None) -> Response:
    repeated = (
        await container_of(request)
        .api_keys()
        .revoke(
            id=uuid_in_path(id_, ApiKeyNotFoundError()),
            by=caller.user_id,
            of=of,
            idempotency_key=key_of(request),
        )
    )
    return Response(status_code=204, headers=replayed(repeated))


def _of_row(row: ApiKeyRow) -> KeyShape:
    return KeyShape(**{name: value for name, value in vars(row).items() if name != "position"})
