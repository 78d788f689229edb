"""What is out of order here is raised by OpenAI's own Python SDK as a server's error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types import ImagesResponse

from application.ports.event_store import StoreBusyError
from application.ports.images import ImageStoreUnavailableError
from tests.e2e.openai_python import PROMPT, client_of, painting, url_of
from tests.e2e.stack import Stack


async def test_a_service_that_is_busy_is_asked_again_by_the_sdk_itself(
    tmp_path: Path, database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with painting(tmp_path, database_url, redis_url) as (client, stack):
        store = stack.container.store()
        append, busy = store.append, [StoreBusyError("Too many commands wait.")]

        async def busy_once(command: Any) -> Any:
            if busy and command.work and command.units:
                raise busy.pop()
            return await append(command)

        monkeypatch.setattr(store, "append", busy_once)
        monkeypatch.setattr("interfaces.rest.problems.RETRY_AFTER", 0.01)
        made = await client.with_options(max_retries=1).images.generate(**PROMPT)
        busy.append(StoreBusyError("Too many commands wait."))
        with pytest.raises(openai.InternalServerError) as refused:
            await client.images.generate(**PROMPT)
    assert isinstance(made, ImagesResponse)
    assert (refused.value.status_code, refused.value.code) == (503, "service_unavailable")
    assert refused.value.response.headers["retry-after"]


@pytest.mark.parametrize("stream", [False, True])
async def test_pictures_that_cannot_be_read_just_now_are_asked_for_again(
    tmp_path: Path,
    database_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    stream: bool,
) -> None:
    async def away(key: str) -> bytes:
        raise ImageStoreUnavailableError("The image store does not answer.")

    async with painting(tmp_path, database_url, redis_url) as (client, stack):
        monkeypatch.setattr(stack.container.pictures(), "read", away)
        with pytest.raises(openai.APIError) as failed:
            await _told(client, stream=stream)
    assert failed.value.code == "service_unavailable"


async def test_a_bug_of_ours_is_a_servers_error_that_tells_nothing(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(**_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(stack.container.generations(), "request", broken)
    async with client_of(url_of(stack)) as client:
        with pytest.raises(openai.InternalServerError) as failed:
            await client.images.generate(**PROMPT)
    assert (failed.value.status_code, failed.value.code) == (500, "internal_error")
    assert "secret" not in failed.value.response.text


async def _told(client: AsyncOpenAI, *, stream: bool) -> list[Any]:
    answer: Any = await client.images.generate(**PROMPT, stream=stream)
    return [event async for event in answer]
