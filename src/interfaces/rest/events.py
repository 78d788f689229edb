"""What was decided about a generation: as pages, or told as it happens (server-sent events)."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from typing import Annotated, cast

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Receive, Scope, Send

from application.following import Beat, Told
from application.queue_places import QueuePlace
from domain.generation import Generation
from infrastructure.container import Container
from interfaces.rest import problem_types as kinds
from interfaces.rest.answers import resource
from interfaces.rest.context import caller_of, container_of
from interfaces.rest.errors import EventIdRefusedError
from interfaces.rest.headers import accepts
from interfaces.rest.openapi import EVENT_STREAM, RESUMABLE, problems
from interfaces.rest.own import OwnGeneration
from interfaces.rest.pages import link_to_next
from interfaces.rest.representation import of_event, of_place
from interfaces.rest.shapes import EventList

EVENT_STREAM_TYPE = "text/event-stream"
RETRY_MILLISECONDS = (500, 2500)  # so that those whom a restart cuts off do not all come at once
STREAMED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Vary": "Accept"}
LAST = {"Connection": "close"}  # it may end as this process does, which would reset what follows

router = APIRouter(prefix="/api/v1/generations", tags=["generations"])


class EventsQuery(BaseModel):
    """A page of events; `after` is a position or `nextCursor`."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(100, ge=1, le=100, description="How many at most, in a page.")
    after: int = Field(0, ge=0, lt=2**63, description="Only those behind this position.")


@router.get(
    "/{id}/events",
    operation_id="listGenerationEvents",
    summary="Follow a generation, or list its events",
    openapi_extra=RESUMABLE,
    responses={
        200: EVENT_STREAM,
        204: {"description": "A stream with nothing left to tell: do not reconnect"},
        **problems(
            kinds.NOT_AUTHENTICATED,
            kinds.NOT_FOUND,
            kinds.EVENT_ID_REFUSED,
            kinds.INVALID_REQUEST,
            kinds.BUSY,
        ),
    },
)
async def events(
    request: Request, generation: OwnGeneration, query: Annotated[EventsQuery, Query()]
) -> Response:
    """In the order of the log, from behind the position `after`.

    With `Accept: text/event-stream` they are told as they happen, until the generation has ended.
    Each has its position as `id`: a client that reconnects with `Last-Event-ID` misses nothing,
    and gets 204 when there is nothing left to tell. Events named `queue` say where a queued
    generation stands and why it waits; comments keep the connection open.
    """
    container = container_of(request)
    if accepts(EVENT_STREAM_TYPE, request.headers.getlist("accept")):
        return await _stream(request, container, generation, query.after)
    limit = query.limit
    page = await container.store().history(generation.id, after=query.after, limit=limit + 1)
    items = tuple(map(of_event, page[:limit]))
    more = str(items[-1].position) if len(page) > limit else None
    headers = {"Vary": "Accept", **link_to_next(request, after=more)}
    return resource(request, EventList(items=items, next_cursor=more), headers)


async def _stream(
    request: Request, container: Container, generation: Generation, after: int
) -> Response:
    following = container.following()
    with ExitStack() as until_then:
        until_then.enter_context(following.seat(generation.user_id))
        after = await _last_told(request, container, generation, after)
        left = await container.store().history(generation.id, after=after, limit=1)
        if generation.closed and not left:
            return Response(status_code=204, headers=STREAMED)
        if request.method == "HEAD":
            return Response(headers=STREAMED, media_type=EVENT_STREAM_TYPE)
        told = _to_whom_may_hear(request, following.follow(generation, after=after))
        return _EventStream(_frames(told), until_then.pop_all())


async def _last_told(
    request: Request, container: Container, generation: Generation, after: int
) -> int:
    """The position that the client has seen last. Raises EventIdRefusedError."""
    sent = request.headers.get("last-event-id")
    if not sent:  # browsers send an empty one for none
        return after
    if not (sent.isascii() and sent.isdigit() and len(sent) < len(str(2**63))):
        raise EventIdRefusedError
    position = int(sent)
    seen = await container.store().history(generation.id, after=position - 1, limit=1)
    if position and (not seen or seen[0].position != position):
        raise EventIdRefusedError  # as after a restore, which moves positions back
    return position


class _EventStream(StreamingResponse):
    """Ends what it tells of as soon as the client is gone, and gives up its seat."""

    def __init__(self, frames: AsyncGenerator[bytes], seat: ExitStack) -> None:
        super().__init__(frames, headers=STREAMED | LAST, media_type=EVENT_STREAM_TYPE)
        self._seat = seat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._seat:
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        async with aclosing(cast(AsyncGenerator[bytes], self.body_iterator)):
            await super().stream_response(send)


async def _frames(told: AsyncGenerator[Told]) -> AsyncGenerator[bytes]:
    yield format_sse_event(retry=random.randint(*RETRY_MILLISECONDS))  # noqa: S311  # spreads
    async with aclosing(told):
        async for one in told:
            yield _frame(one)


async def _to_whom_may_hear(
    request: Request, following: AsyncGenerator[Told]
) -> AsyncGenerator[Told]:
    """Ends before something is told to a caller who would not be let in any more."""
    access, caller = container_of(request).access(), caller_of(request)
    async with aclosing(following):
        async for one in following:
            if not await access.is_still_in(caller):
                return
            yield one


def _frame(told: Told) -> bytes:
    if isinstance(told, Beat):
        return format_sse_event(comment="still here")
    if isinstance(told, QueuePlace):
        return format_sse_event(
            event="queue", data_str=of_place(told).model_dump_json(by_alias=True)
        )
    shape = of_event(told)
    return format_sse_event(
        event=shape.type, data_str=shape.model_dump_json(by_alias=True), id=str(shape.position)
    )
