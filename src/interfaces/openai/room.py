"""How many bytes of pictures one process holds at once for answers, however many are waited for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast
from uuid import UUID

from fastapi import Request, Response
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from application.pictures import Pictures
from domain.generation import Generation
from interfaces.openai.answers import Form, images_response
from interfaces.rest.carried import HeldResponse, TooMuchCarriedError

MOST_BYTES = 256 * 1024 * 1024
MOST_BYTES_OF_A_USER = 128 * 1024 * 1024
PATIENCE = 30.0  # seconds for those before it to read what they asked for
COPIES = 4  # of a picture, in size: itself, as base64, within JSON, on its way


class Room:
    """Who finds none waits for it, and is refused when none comes free for `patience` seconds.

    One user has a part of it; whoever has nothing of it may have as much as there is.
    """

    def __init__(
        self,
        most: int = MOST_BYTES,
        *,
        most_of_a_user: int = MOST_BYTES_OF_A_USER,
        patience: float = PATIENCE,
    ) -> None:
        self._most, self._left, self._patience = most, most, patience
        self._most_of_a_user = most_of_a_user
        self._taken: Counter[UUID] = Counter()
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def taken(self, picture_bytes: int, user_id: UUID) -> AsyncIterator[None]:
        """Room for pictures of so many bytes; for more than there ever is, all of it.

        Raises TooMuchCarriedError.
        """
        size = min(picture_bytes * COPIES, self._most)
        try:
            async with asyncio.timeout(self._patience), self._changed:
                await self._changed.wait_for(lambda: self._has_room(size, user_id))
                self._left -= size
                self._taken[user_id] += size
        except TimeoutError:
            raise TooMuchCarriedError from None
        try:
            yield
        finally:
            async with self._changed:
                self._left += size
                self._taken[user_id] -= size
                self._taken += Counter()  # forgets who has nothing
                self._changed.notify_all()

    def _has_room(self, size: int, user_id: UUID) -> bool:
        theirs = self._taken[user_id]
        return size <= self._left and (not theirs or theirs + size <= self._most_of_a_user)


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
        async with self._room.taken(size, self._generation.user_id):
            body = to_json(await images_response(self._generation, self._form, self._pictures))
            answer = HeldResponse(body, 200, self._told, media_type="application/json")
            await answer(scope, receive, send)
