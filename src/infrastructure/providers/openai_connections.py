"""Connections to OpenAI, and what is done about answers that are not as they should be."""

from __future__ import annotations

import logging

import httpx2

from infrastructure.providers import connections
from infrastructure.providers.connections import MAX_REFUSAL_BYTES, bounded

log = logging.getLogger(__name__)


def http_client() -> httpx2.AsyncClient:
    """What the SDK is to send with."""
    return connections.http_client({"response": _bounded})


async def _bounded(response: httpx2.Response) -> None:
    """What comes compressed all the same stays so: nobody knows how large it would become."""
    if encoding := response.headers.pop("content-encoding", ""):
        log.warning("An answer came compressed, which nobody asked OpenAI for: %.20r", encoding)
    if response.status_code != 200:  # the SDK reads all of it by itself
        response.stream = bounded(response, MAX_REFUSAL_BYTES)
