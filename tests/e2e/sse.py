"""A reader of server-sent events for tests, by the WHATWG's rules."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

STREAM = {"Accept": "text/event-stream"}


@dataclass
class Told:
    """One event; `id` is None where the stream gave it none."""

    event: str
    data: Any
    id: str | None


async def told(answer: httpx.Response) -> AsyncIterator[Told]:
    """What a stream tells; comments and the time to reconnect are passed over."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield Told(fields["event"], json.loads(fields["data"]), fields.get("id"))
            fields = {}
        else:
            fields = {}


@asynccontextmanager
async def following(
    client: httpx.AsyncClient, path: str, **headers: str
) -> AsyncIterator[AsyncIterator[Told]]:
    """The stream at this path, until the block ends."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.stream("GET", path, headers={**STREAM, **named}) as answer:
        assert answer.status_code == 200, (await answer.aread()).decode()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield told(answer)


async def everything(client: httpx.AsyncClient, path: str, **headers: str) -> list[Told]:
    """All that a stream tells until it ends, but for places in the queue."""
    async with following(client, path, **headers) as stream:
        return [one async for one in stream if one.event != "queue"]
