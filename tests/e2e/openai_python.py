"""OpenAI's Python SDK, pointed at a Darkroom."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI
from PIL import Image

from tests.e2e.stack import Stack, running, settings_for
from tests.processes import ADMIN_KEY

SIZE: Any = "64x48"  # not one of those that the SDK's types list
PROMPT: dict[str, Any] = {"prompt": "a fox", "size": SIZE}


def client_of(url: str, *, retries: int = 0, key: str = ADMIN_KEY, **options: Any) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=retries, **options)


def url_of(stack: Stack) -> str:
    return f"http://127.0.0.1:{stack.settings.port}"


def picture(b64: str | None) -> Image.Image:
    """What came as base64, decoded."""
    assert b64 is not None
    image = Image.open(io.BytesIO(base64.b64decode(b64, validate=True)))
    image.load()
    return image


@asynccontextmanager
async def painting(
    tmp_path: Path, database_url: str, redis_url: str, **settings: str
) -> AsyncIterator[tuple[AsyncOpenAI, Stack]]:
    """A service with settings of its own, a worker at work, and a client."""
    of_its_own = settings_for(tmp_path, database_url, redis_url, **settings)
    async with (
        running(of_its_own) as stack,
        stack.at_work(),
        client_of(url_of(stack)) as client,
    ):
        yield client, stack


async def cancel_what_is_queued(stack: Stack) -> None:
    """The one generation that waits, as soon as it does."""
    async with asyncio.timeout(10):
        while not (due := await stack.rows("SELECT ref FROM work")):
            await asyncio.sleep(0.01)
    ((ref,),) = due
    cancelled = await stack.client.post(f"/api/v1/generations/{ref}/cancel")
    assert cancelled.status_code == 200, cancelled.text
