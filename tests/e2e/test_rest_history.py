"""Looking back over what one asked for."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.e2e.stack import Stack
from tests.generations import new_generation, request_command

URL = "/api/v1/generations"


async def history(stack: Stack, *, expected: int) -> list[dict[str, Any]]:
    """All of it, as soon as the read model has caught up."""
    async with asyncio.timeout(10):
        while len(items := (await stack.client.get(URL)).json()["items"]) < expected:
            await asyncio.sleep(0.01)
    found: list[dict[str, Any]] = items
    return found


async def test_the_history_tells_what_a_generation_itself_tells(stack: Stack) -> None:
    generation = await stack.generate(count=2, metadata={"order": "4711"}, seed=3)
    await stack.perform_all()

    async with stack.followed():
        await history(stack, expected=1)
        async with asyncio.timeout(10):
            while (items := await history(stack, expected=1))[0]["status"] != "completed":
                await asyncio.sleep(0.01)

    assert items == [(await stack.client.get(generation["links"]["self"])).json()]


async def test_the_history_comes_in_pages_the_newest_first(stack: Stack) -> None:
    made = [(await stack.generate())["id"] for _ in range(5)]
    seen: list[str] = []

    async with stack.followed():
        await history(stack, expected=5)
        url = f"{URL}?limit=2"
        while True:
            answer = await stack.client.get(url)
            page = answer.json()
            seen += [item["id"] for item in page["items"]]
            await stack.generate()  # what is new does not move what is old
            if page["nextCursor"] is None:
                break
            assert page["nextCursor"] in answer.headers["link"]
            url = answer.links["next"]["url"]

    assert seen == made[::-1]
    assert "link" not in answer.headers


async def test_nobody_sees_somebody_elses_history(stack: Stack) -> None:
    theirs = new_generation(stack.container.store().now())
    await stack.container.store().append(request_command(theirs))
    mine = await stack.generate()

    async with stack.followed():
        items = await history(stack, expected=1)

    assert [item["id"] for item in items] == [mine["id"]]


async def test_a_cursor_of_another_log_is_refused(stack: Stack) -> None:
    async with stack.followed():
        for _ in range(2):
            await stack.generate()
        await history(stack, expected=2)
        cursor = (await stack.client.get(f"{URL}?limit=1")).json()["nextCursor"]
    await stack.rows("UPDATE log SET identity = gen_random_uuid() RETURNING identity")

    answer = await stack.client.get(f"{URL}?cursor={cursor}")

    assert (answer.status_code, answer.json()["code"]) == (400, "cursor-refused")
