"""How many bytes of pictures one process holds at once for answers, however many are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

from fastapi import Request, Response
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from application.pictures import Pictures
from domain.generation import Generation
from interfaces.openai.answers import Form, images_response
from interfaces.rest.carried import HeldResponse, TooMuchCarriedError

MOST_BYTES = 256 * 1024 * 1024
PATIENCE = 30.0  # seconds for those before it to read what they asked for
COPIES = 4  # of a picture, in size: itself, as base64, within JSON, on its way


class Room:
    """Who finds none waits for it, and is refused when none comes free for `patience` seconds."""

    def __init__(self, most: int = MOST_BYTES, *, patience: float = PATIENCE) -> None:
        self._most, self._left, self._patience = most, most, patience
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def taken(self, picture_bytes: int) -> AsyncIterator[None]:
        """Room for pictures of so many bytes; for more than there ever is, all of it.

        Raises TooMuchCarriedError.
        """
        size = min(picture_bytes * COPIES, self._most)
        try:
            async with asyncio.timeout(self._patience), self._changed:
                await self._changed.wait_for(lambda: size <= self._left)
                self._left -= size
        except TimeoutError:
            raise TooMuchCarriedError from None
        try:
            yield
        finally:
            async with self._changed:
                self._left += size
                self._changed.notify_all()


def room_of(request: Request) -> Room:
    """The one that this process has."""
    return cast(Room, request.app.state.room)


class PicturesResponse(Response):
    """All pictures of a generation; they are fetched when there is room, and held until sent."""

    def __init__(
        self,
        generation: Generation,
        form: Form,
        pictures: Pictures,
        room: Room,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(headers=headers)
        self._generation, self._form, self._pictures, self._room = generation, form, pictures, room
        self._told = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = 0 if self._form.url else sum(one.bytes for one in self._generation.published)
        async with self._room.taken(size):
            body = to_json(await images_response(self._generation, self._form, self._pictures))
            answer = HeldResponse(body, 200, self._told, media_type="application/json")
            await answer(scope, receive, send)
