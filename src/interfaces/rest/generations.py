"""Generations over HTTP: ask, follow, look back."""

from __future__ import annotations

import re
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from application.generations import Placed
from application.ports import StoreUnavailableError
from domain.generation import Generation, Wish
from domain.image import ImageSpec
from infrastructure.container import Container
from interfaces.rest import cursors
from interfaces.rest.authentication import Authenticated
from interfaces.rest.bodies import read_generation_request
from interfaces.rest.context import Caller, container_of
from interfaces.rest.errors import AcceptedUnreadableError, NotFoundError, ended_without_picture
from interfaces.rest.headers import Patience, idempotency_key, patience
from interfaces.rest.openapi import ACCEPTED, CREATED, REQUEST_BODY, problems
from interfaces.rest.problems import RETRY_AFTER
from interfaces.rest.representation import location, of_event, of_generation, of_row
from interfaces.rest.shapes import (
    EventList,
    GenerationList,
    GenerationRequest,
    GenerationShape,
)

CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)

router = APIRouter(prefix="/api/v1", tags=["generations"])

Id = Annotated[str, Path(json_schema_extra={"format": "uuid"})]


class HistoryQuery(BaseModel):
    """What a list can be asked for; an unknown parameter is an error, not a filter that is not."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100)
    cursor: str | None = None


class EventsQuery(BaseModel):
    """A page of events; `after` is a position or `nextCursor`."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=100)
    after: int = Field(0, ge=0, lt=2**63)


GENERATES: dict[str, Any] = {
    "status_code": 201,
    "openapi_extra": REQUEST_BODY,
    "responses": {
        201: CREATED,
        202: ACCEPTED,
        **problems(400, 401, 408, 409, 413, 415, 422, 429, 502, 503, 504),
    },
}


@router.post(
    "/generations",
    operation_id="createGeneration",
    summary="Generate pictures",
    **GENERATES,
)
@router.post(
    "/generate-image",
    operation_id="generateImage",
    summary="Generate pictures, by its first name",
    **GENERATES,
)
async def create(request: Request, caller: Authenticated) -> Response:
    """Waits for the pictures and answers 201 with their permanent URLs.

    `Prefer: respond-async`, `Prefer: wait=n` or a longer work answers 202 with `Location`.
    """
    container = container_of(request)
    key = idempotency_key(request.headers.getlist("idempotency-key"))
    prefer = patience(request.headers.getlist("prefer"), longest=container.settings().wait_seconds)
    asked = await read_generation_request(request)
    placed = await _place(container, caller, asked, key)
    try:
        generation = await container.waiting().for_end(
            placed.id, seconds=prefer.seconds, gone=_gone(request)
        )
    except StoreUnavailableError as error:
        raise AcceptedUnreadableError(placed.id) from error
    if generation is None:
        raise ClientDisconnect
    return _answer(generation, placed, prefer)


@router.get(
    "/generations",
    operation_id="listGenerations",
    summary="Your generations, the newest first",
    responses={200: {"model": GenerationList}, **problems(400, 401, 422, 503)},
)
async def history(
    request: Request, caller: Authenticated, query: Annotated[HistoryQuery, Query()]
) -> Response:
    """From a read model that follows the log: a new one may be missing for a moment."""
    container = container_of(request)
    log, limit = await container.log().identity(), query.limit
    before = None if query.cursor is None else cursors.decode(query.cursor, log)
    rows = await container.history_page(user_id=caller.user_id, limit=limit + 1, before=before)
    items = tuple(map(of_row, rows[:limit]))
    more = cursors.encode(rows[limit - 1].position, log) if len(rows) > limit else None
    headers = _next_page(request, limit=limit, cursor=more)
    return _json(GenerationList(items=items, next_cursor=more), headers=headers)


@router.get(
    "/generations/{id}",
    operation_id="getGeneration",
    summary="One generation, as it is now",
    responses={200: {"model": GenerationShape}, **problems(401, 404, 503)},
)
async def show(request: Request, caller: Authenticated, id: Id) -> Response:  # noqa: A002  # its name in the URL
    generation = await _own(container_of(request), caller, id)
    return _json(of_generation(generation))


@router.get(
    "/generations/{id}/events",
    operation_id="listGenerationEvents",
    summary="Everything that was decided about one generation",
    responses={200: {"model": EventList}, **problems(401, 404, 422, 503)},
)
async def events(
    request: Request,
    caller: Authenticated,
    id: Id,  # noqa: A002  # its name in the URL
    query: Annotated[EventsQuery, Query()],
) -> Response:
    """In the order of the log, from behind the position `after`."""
    container, limit = container_of(request), query.limit
    generation = await _own(container, caller, id)
    page = await container.store().history(generation.id, after=query.after, limit=limit + 1)
    items = tuple(map(of_event, page[:limit]))
    more = str(items[-1].position) if len(page) > limit else None
    headers = _next_page(request, limit=limit, after=more)
    return _json(EventList(items=items, next_cursor=more), headers=headers)


# --- asking --------------------------------------------------------------------------------------


async def _place(
    container: Container, caller: Caller, asked: GenerationRequest, key: str | None
) -> Placed:
    return await container.generations().request(
        user_id=caller.user_id,
        api_key_id=caller.api_key_id,
        spec=_spec(asked),
        wish=_wish(asked),
        references=asked.reference_images,
        on_unknown=asked.on_unknown,
        idempotency_key=key,
    )


async def _gone(request: Request) -> None:
    """The body is read: what comes next is that the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _spec(asked: GenerationRequest) -> ImageSpec:
    return ImageSpec(**{name: getattr(asked, name) for name in ImageSpec.model_fields})


def _wish(asked: GenerationRequest) -> Wish:
    return Wish(prompt=asked.prompt, negative_prompt=asked.negative_prompt, metadata=asked.metadata)


def _answer(generation: Generation, placed: Placed, prefer: Patience) -> Response:
    headers = {"Vary": "Prefer"}
    if placed.repeated:
        headers["Idempotent-Replayed"] = "true"
    if applied := prefer.applied(ended=generation.closed):
        headers["Preference-Applied"] = applied
    if error := ended_without_picture(generation):
        error.headers = headers
        raise error
    headers["Location"] = location(generation.id)
    if not generation.closed:
        headers["Retry-After"] = f"{RETRY_AFTER}"
    return _json(of_generation(generation), 201 if generation.closed else 202, headers)


# --- looking back --------------------------------------------------------------------------------


async def _own(container: Container, caller: Caller, id_: str) -> Generation:
    """Raises NotFoundError, also for what is somebody else's and for an id that is none."""
    if not CANONICAL_UUID.fullmatch(id_):
        raise NotFoundError
    generation = await container.store().get(Generation, UUID(id_))
    if generation is None or generation.user_id != caller.user_id:
        raise NotFoundError
    return generation


def _next_page(request: Request, **parameters: Any) -> dict[str, str]:
    if None in parameters.values():
        return {}
    return {"Link": f'<{request.url.path}?{urlencode(parameters)}>; rel="next"'}


def _json(shape: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    body = shape.model_dump_json(by_alias=True)
    return Response(body, status, headers, media_type="application/json")
