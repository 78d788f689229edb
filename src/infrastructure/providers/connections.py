"""Connections of SDKs: a new one for each call, followed nowhere, and no answer without end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Literal, cast

import httpx2

MAX_REFUSAL_BYTES = 64 * 1024

Hook = Callable[[Any], Awaitable[None]]


def http_client(hooks: Mapping[Literal["request", "response"], Hook]) -> httpx2.AsyncClient:
    """What an SDK is to send with: left to itself, it would send a prompt on wherever it is told.

    A request that meets a connection which the other side is just closing is lost, and nobody knows
    whether it was billed; a new connection for each call costs little beside a picture.
    """
    return httpx2.AsyncClient(
        follow_redirects=False,
        limits=httpx2.Limits(max_keepalive_connections=0),  # calls are counted before they come
        headers={"accept-encoding": "identity"},  # pictures are compressed already
        event_hooks={name: [hook] for name, hook in hooks.items()},
    )


def bounded(
    response: httpx2.Response, most: int, too_large: Exception | None = None
) -> httpx2.AsyncByteStream:
    """So many bytes of an answer; where more come it ends there, or with an error if given one."""
    stream = cast(httpx2.AsyncByteStream, response.stream)  # the client is an asynchronous one
    return _Bounded(stream, most, too_large)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(
        self, stream: httpx2.AsyncByteStream, most: int, too_large: Exception | None
    ) -> None:
        self._stream, self._most, self._too_large = stream, most, too_large

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._most
        async for chunk in self._stream:
            if len(chunk) > left and self._too_large:
                raise self._too_large
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0 and not self._too_large:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()
