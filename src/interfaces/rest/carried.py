"""Objects of an image store that has no files: their bytes pass through this process."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import Response
from starlette.types import Receive, Scope, Send

from interfaces.rest.errors import RequestError

MOST_AT_ONCE = 16


class TooMuchCarriedError(RequestError):
    """Of these pictures each is held in memory until it has been sent."""

    sentence = "Too many pictures are on their way at once. Ask again in a moment."


class Carrying:
    """Room for the pictures that one process holds at once, at most `most`."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._room = most

    def begin(self) -> None:
        """Raises TooMuchCarriedError."""
        if self._room == 0:
            raise TooMuchCarriedError
        self._room -= 1

    def end(self) -> None:
        """There is room for another one."""
        self._room += 1


class CarriedResponse(Response):
    """A picture, or a part of it, that gives its room back when it has been sent."""

    def __init__(
        self,
        data: bytes,
        part: tuple[int, int] | None,
        *,
        carrying: Carrying,
        headers: Mapping[str, str],
        media_type: str,
    ) -> None:
        told = {**headers, "Accept-Ranges": "bytes"}
        self._carrying = carrying
        if part is None:
            super().__init__(data, 200, told, media_type)
            return
        first, last = part
        told["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        super().__init__(data[first : last + 1], 206, told, media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._carrying.end()
