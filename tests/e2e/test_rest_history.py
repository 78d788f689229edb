"""Looking back over what one asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

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


# --- filters -------------------------------------------------------------------------------------


async def found(stack: Stack, query: str) -> list[str]:
    answer = await stack.client.get(f"{URL}?{query}")
    assert answer.status_code == 200, answer.text
    return [item["prompt"] for item in answer.json()["items"]]


async def test_the_history_is_filtered(stack: Stack) -> None:
    for prompt in ("a red fox", "a grey wolf"):
        await stack.generate(prompt=prompt)
    await stack.perform_all()
    last = await stack.generate(prompt="a red wolf at noon")
    between = last["createdAt"].replace("+", "%2B")
    await stack.client.post(f"{URL}/{last['id']}/cancel")
    async with stack.followed():
        await history(stack, expected=3)
        async with asyncio.timeout(10):
            while not await found(stack, "status=cancelled"):
                await asyncio.sleep(0.01)

        assert await found(stack, "status=completed") == ["a grey wolf", "a red fox"]
        assert await found(stack, "status=cancelled") == ["a red wolf at noon"]
        assert len(await found(stack, "status=cancelled&status=completed")) == 3
        assert await found(stack, "status=failed") == []
        assert await found(stack, "provider=sketch&model=sketch-1") == ["a grey wolf", "a red fox"]
        assert await found(stack, "provider=openai") == []
        assert await found(stack, "q=wolf") == ["a red wolf at noon", "a grey wolf"]
        assert await found(stack, "q=RED+-noon") == ["a red fox"]
        assert await found(stack, 'q="grey+wolf"') == ["a grey wolf"]
        assert await found(stack, f"createdAfter={between}") == ["a red wolf at noon"]
        assert await found(stack, f"createdBefore={between}&q=fox") == ["a red fox"]


async def test_a_filter_goes_on_over_pages(stack: Stack) -> None:
    for number in range(6):
        await stack.generate(prompt=f"{'fox' if number % 2 else 'wolf'} {number}")
    async with stack.followed():
        await history(stack, expected=6)
        first = await stack.client.get(f"{URL}?q=fox&limit=2&status=queued")
        second = await stack.client.get(first.links["next"]["url"])

    prompts = [item["prompt"] for page in (first, second) for item in page.json()["items"]]
    assert prompts == ["fox 5", "fox 3", "fox 1"]
    assert "next" not in second.links


@pytest.mark.parametrize(
    "query",
    [
        "status=done",
        "limit=0",
        "limit=101",
        "q=",
        f"q={'x' * 201}",
        "q=%00",
        "provider=",
        "createdAfter=yesterday",
        "createdAfter=1764000000",
        "createdAfter=2026-11-24",
        "createdBefore=2026-11-24T00:00:00",
        "surprise=1",
    ],
)
async def test_a_filter_that_cannot_be_understood_is_422(stack: Stack, query: str) -> None:
    answer = await stack.client.get(f"{URL}?{query}")

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
    assert answer.json()["errors"][0]["parameter"] == query.partition("=")[0]


async def test_punctuation_stands_between_words_wanted_or_not(stack: Stack) -> None:
    for prompt in (
        "a semi-transparent cup",
        "a transparent cup",
        "“old” film—at -3°",
    ):
        await stack.generate(prompt=prompt)
    async with stack.followed():
        await history(stack, expected=3)
        assert await found(stack, "q=cup+-semi-transparent") == ["a transparent cup"]
        assert await found(stack, "q=-cup") == await found(stack, "q=old+film")
        assert await found(stack, 'q="at+-3"') == await found(stack, 'q="film+at"') != []
        assert await found(stack, "q=semi%C2%A0cup") == ["a semi-transparent cup"]


async def test_words_that_mean_something_to_a_search_engine_break_nothing(stack: Stack) -> None:
    for words in ('"', "-", "or", "a & b | !c", ":*", "\\", "'", "()", "-" * 200):
        answer = await stack.client.get(URL, params={"q": words})
        assert answer.status_code == 200, words


# --- asking again --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [URL, "/api/v1/me/quota"])
async def test_what_has_not_changed_is_304(stack: Stack, path: str) -> None:
    first = await stack.client.get(path)
    again = await stack.client.get(path, headers={"If-None-Match": first.headers["etag"]})

    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize("link", ["self", "events", "job"])
async def test_what_has_changed_has_another_etag(stack: Stack, link: str) -> None:
    generation = await stack.generate()
    before = await stack.client.get(generation["links"][link])
    await stack.perform_all()

    after = await stack.client.get(
        generation["links"][link], headers={"If-None-Match": before.headers["etag"]}
    )

    assert after.status_code == 200
    assert after.headers["etag"] != before.headers["etag"]
