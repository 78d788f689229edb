"""Who is no longer let in is refused by every process within a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import httpx
import pytest

from application.api_keys import ApiKeys
from application.people import People
from domain.api_key import key_id
from domain.user import User
from interfaces.rest.authentication import SESSION
from tests.e2e.stack import Stack, running, settings_for
from tests.people import new_key, new_session, new_user, shown

A_SECOND = 1.0
URL = "/api/v1/generations"


@pytest.fixture
async def two_apis(
    tmp_path: Path, database_url: str, redis_url: str
) -> AsyncIterator[tuple[Stack, Stack]]:
    """Of one service."""
    here, there = (settings_for(tmp_path, database_url, redis_url) for _ in range(2))
    async with running(here) as one, running(there) as other:
        yield one, other


async def statuses(stacks: tuple[Stack, Stack], headers: Mapping[str, str]) -> list[int]:
    """What each process answers to who sends these headers alone."""
    answers = []
    for stack in stacks:
        async with httpx.AsyncClient(base_url=stack.settings.public_url) as client:
            answers.append((await client.get(URL, headers=headers)).status_code)
    return answers


async def test_a_revoked_key_is_refused_by_all_processes(two_apis: tuple[Stack, Stack]) -> None:
    store = two_apis[0].container.store()
    user = await new_user(store)
    key = await new_key(store, user, "read")
    assert await statuses(two_apis, shown(key)) == [200, 200]
    await ApiKeys(store).revoke(id=key_id(key), by=user.id)
    await asyncio.sleep(A_SECOND)
    assert await statuses(two_apis, shown(key)) == [401, 401]


async def test_an_ended_session_is_refused_by_all_processes(two_apis: tuple[Stack, Stack]) -> None:
    store = two_apis[0].container.store()
    user = await new_user(store)
    first, second = [{"Cookie": f"{SESSION}={await new_session(store, user)}"} for _ in range(2)]
    assert await statuses(two_apis, first) == [200, 200]
    one, _ = user.sessions
    await People(store).end_sessions(user.id, [one], by=user.id)
    await asyncio.sleep(A_SECOND)
    assert await statuses(two_apis, first) == [401, 401]
    assert await statuses(two_apis, second) == [200, 200]


async def test_a_suspended_user_is_refused_by_all_processes(two_apis: tuple[Stack, Stack]) -> None:
    store = two_apis[0].container.store()
    user = await new_user(store)
    key = shown(await new_key(store, user, "read"))
    session = {"Cookie": f"{SESSION}={await new_session(store, user)}"}
    assert [*await statuses(two_apis, key), *await statuses(two_apis, session)] == [200] * 4
    answer = await two_apis[1].client.patch(
        f"/api/v1/admin/users/{user.id}", json={"suspended": True}
    )
    assert (answer.status_code, answer.json()["suspended"]) == (200, True)
    await asyncio.sleep(A_SECOND)
    assert [*await statuses(two_apis, key), *await statuses(two_apis, session)] == [403] * 4


@pytest.mark.parametrize("url", [URL, "/v1/images/generations"])
async def test_a_key_that_is_revoked_while_the_body_comes_is_refused(
    stack: Stack, url: str
) -> None:
    store = stack.container.store()
    user = await new_user(store)
    key = await new_key(store, user, "generate")
    await statuses((stack, stack), shown(key))

    async def body() -> AsyncIterator[bytes]:
        yield b'{"prompt": '
        await ApiKeys(store).revoke(id=key_id(key), by=user.id)
        await asyncio.sleep(A_SECOND)
        yield b'"a fox"}'

    headers = {**shown(key), "Content-Type": "application/json"}
    answer = await stack.client.post(url, content=body(), headers=headers)
    assert answer.status_code == 401
    assert await stack.recorded() == 0


async def _suspend(stack: Stack, user: User, key: str) -> None:
    await stack.client.patch(f"/api/v1/admin/users/{user.id}", json={"suspended": True})


async def _revoke(stack: Stack, user: User, key: str) -> None:
    await stack.client.delete(f"/api/v1/admin/keys/{key_id(key)}")


@pytest.mark.parametrize("close", [_suspend, _revoke])
async def test_an_open_stream_tells_nothing_more_to_who_is_refused(
    stack: Stack, close: Callable[[Stack, User, str], Awaitable[None]]
) -> None:
    store = stack.container.store()
    user = await new_user(store)
    key = await new_key(store, user, "read", "generate")
    made = await stack.client.post(
        URL, json={"prompt": "x"}, headers={**shown(key), "Prefer": "respond-async"}
    )
    events = f"{URL}/{made.json()['id']}/events"
    headers = {**shown(key), "Accept": "text/event-stream"}
    async with stack.client.stream("GET", events, headers=headers) as stream:
        lines = stream.aiter_lines()
        async for line in lines:
            if line == "event: generation.requested":
                break
        await close(stack, user, key)
        await asyncio.sleep(A_SECOND)
        await stack.perform_all()
        rest = [line async for line in lines]
    assert "event: generation.completed" not in rest
    assert "event: generation.call_started" not in rest
