"""Pictures as server-sent events in OpenAI's shapes, and a connection kept open until then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from fastapi import Request
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from pydantic_core import to_json
from starlette.types import Send

from application.generations import Placed
from application.tasks import end
from interfaces.openai.answers import Form, completed_event
from interfaces.openai.errors import error_object
from interfaces.openai.room import room_of
from interfaces.openai.waiting import pictures_of
from interfaces.rest.carried import pieces
from interfaces.rest.context import container_of
from interfaces.rest.events import EVENT_STREAM_TYPE, LAST
from interfaces.rest.problems import PROBLEMS

BEAT = 15.0  # seconds: proxies give a silent connection up after thirty or sixty
UNBUFFERED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class PictureStream(StreamingResponse):
    """Tells of a generation's pictures; ends with its client, while the generation goes on."""

    def __init__(
        self, request: Request, placed: Placed, form: Form, headers: Mapping[str, str]
    ) -> None:
        super().__init__(
            _frames(request, placed, form),
            headers={**headers, **UNBUFFERED, **LAST},
            media_type=EVENT_STREAM_TYPE,
        )

    async def stream_response(self, send: Send) -> None:
        async with aclosing(cast(AsyncGenerator[bytes], self.body_iterator)):
            await super().stream_response(send)


async def _frames(request: Request, placed: Placed, form: Form) -> AsyncIterator[bytes]:
    """What goes wrong is an event too: the status was sent before."""
    try:
        async for frame in _pictures(request, placed, form):
            yield frame
    except tuple(PROBLEMS) as error:
        told = {"type": "error", "error": error_object(request, error)}
        yield _frame("error", told)


async def _pictures(request: Request, placed: Placed, form: Form) -> AsyncIterator[bytes]:
    container = container_of(request)
    waiting = asyncio.create_task(pictures_of(container, placed, _nobody_goes()))
    try:
        yield format_sse_event(comment="it is being made")
        while not (await asyncio.wait({waiting}, timeout=BEAT))[0]:
            yield format_sse_event(comment="still here")
        generation = waiting.result()
        for image in generation.published:
            async with room_of(request).taken(image.bytes, generation.user_id):
                event = await completed_event(generation, image, form, container.pictures())
                for piece in pieces(_frame(event["type"], event)):
                    yield piece
    finally:
        await end(waiting)


def _frame(name: str, data: dict[str, Any]) -> bytes:
    return format_sse_event(event=name, data_str=to_json(data).decode())


async def _nobody_goes() -> None:
    """Who reads a stream goes by ending it."""
    await asyncio.Event().wait()
