"""Pictures that pass through this process: held in memory until their client has read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from fastapi import Response
from starlette.types import Receive, Scope, Send

from interfaces.rest.errors import RequestError

MOST_AT_ONCE = 16
MOST_OF_A_USER = 8
PIECE = 64 * 1024  # bytes: what a connection takes before it waits for its client to read


class TooMuchCarriedError(RequestError):
    """Of these pictures each is held in memory until it has been sent."""

    sentence = "Too many pictures are on their way at once. Ask again in a moment."


class Carrying:
    """Room for the pictures that one process holds at once, of which a user has only a part."""

    def __init__(self, most: int = MOST_AT_ONCE, *, most_of_a_user: int = MOST_OF_A_USER) -> None:
        self._most, self._most_of_a_user = most, most_of_a_user
        self._carried: Counter[str] = Counter()

    def begin(self, whose: str) -> None:
        """One more of this user's, or of everybody's. Raises TooMuchCarriedError."""
        of_all, theirs = self._carried.total(), self._carried[whose]
        if of_all >= self._most or theirs >= self._most_of_a_user:
            raise TooMuchCarriedError
        self._carried[whose] += 1

    def end(self, whose: str) -> None:
        """There is room for another one."""
        self._carried[whose] -= 1
        self._carried += Counter()  # forgets who has none


def pieces(body: bytes) -> Iterator[bytes]:
    """All of a body, and an empty piece: when that has been sent, the client has read the rest.

    A connection takes a piece of any size, and waits before it takes another one. So a body in one
    piece would be let go of at once and lie in the connection, uncounted, for as long as it likes.
    What is not read at all is given up by the connection.
    """
    view = memoryview(body)
    for start in range(0, len(body), PIECE):
        yield bytes(view[start : start + PIECE])
    yield b""


class HeldResponse(Response):
    """An answer that has been sent only when its client has read it, but for a piece or two."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI's
        head = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **head})
        for piece in pieces(bytes(self.body)):
            more = bool(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": more})


class CarriedResponse(HeldResponse):
    """A picture, or a part of it, that gives its room back when it has been sent."""

    def __init__(
        self,
        data: bytes,
        part: tuple[int, int] | None,
        *,
        carrying: Carrying,
        whose: str,
        headers: Mapping[str, str],
        media_type: str,
    ) -> None:
        told = {**headers, "Accept-Ranges": "bytes"}
        self._carrying, self._whose = carrying, whose
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
            self._carrying.end(self._whose)
