"""Connections to OpenAI: a new one for each call, followed nowhere, and no answer without end."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import cast

import httpx2

log = logging.getLogger(__name__)

MAX_REFUSAL_BYTES = 64 * 1024


def http_client() -> httpx2.AsyncClient:
    """What the SDK is to send with: left to itself, it would send a prompt on wherever it is told.

    A request that meets a connection which the other side is just closing is lost, and nobody knows
    whether it was billed; a new connection for each call costs little beside a picture.
    """
    return httpx2.AsyncClient(
        follow_redirects=False,
        limits=httpx2.Limits(max_keepalive_connections=0),  # calls are counted before they come
        headers={"accept-encoding": "identity"},  # pictures are compressed already
        event_hooks={"response": [_bounded]},
    )


async def _bounded(response: httpx2.Response) -> None:
    """What comes compressed all the same stays so: nobody knows how large it would become."""
    if encoding := response.headers.pop("content-encoding", ""):
        log.warning("An answer came compressed, which nobody asked OpenAI for: %.20r", encoding)
    if response.status_code != 200:  # the SDK reads all of it by itself
        stream = cast(httpx2.AsyncByteStream, response.stream)  # the client is an asynchronous one
        response.stream = _Beginning(stream, MAX_REFUSAL_BYTES)


class _Beginning(httpx2.AsyncByteStream):
    """The first bytes of an answer, which are enough to know what it is."""

    def __init__(self, stream: httpx2.AsyncByteStream, most: int) -> None:
        self._stream, self._most = stream, most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._most
        async for chunk in self._stream:
            yield chunk[:left]
            left -= len(chunk)
            if left <= 0:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()
