"""What a person at a terminal sees: tables, colours, links, a line that moves, questions."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.e2e.stack import Stack
from tests.e2e.typed import PATIENCE, on_a_terminal, service


async def seen(stack: Stack, *arguments: str, **more: Any) -> str:
    return await asyncio.to_thread(on_a_terminal, *arguments, **service(stack), **more)


async def test_history_is_a_table_that_fits(stack: Stack) -> None:
    async with stack.followed():
        asked = await stack.generate(prompt="a very long prompt " * 20)
        async with asyncio.timeout(PATIENCE):
            while not (await stack.client.get("/api/v1/generations")).json()["items"]:
                await asyncio.sleep(0.01)
        shown = await seen(stack, "history")
    header, row, *rest = shown.splitlines()
    assert rest == []
    for word in ("created", "status", "pictures", "id", "prompt"):
        assert word in header
    assert "s ago" in row
    assert "\x1b[34mqueued\x1b[0m" in row
    assert asked["id"] in row
    assert row.rstrip().endswith("…")


async def test_generate_shows_how_it_goes_and_links_what_came_out(
    stack: Stack, tmp_path: Path
) -> None:
    async with stack.at_work():
        shown = await seen(
            stack, "generate", "a [bold]fox[/]", "--size", "64x64", "-o", f"{tmp_path / 'fox.png'}"
        )
    assert "Completed with 1 picture." in shown
    assert f"file://{tmp_path / 'fox.png'}" in shown
    assert "\x1b]8;" in shown, "a link that can be clicked"
    assert "✓" in shown


async def test_delete_shows_what_goes_and_asks(stack: Stack) -> None:
    asked = await stack.generate(prompt="a fox")
    await stack.perform_all()

    async def status() -> Any:
        generation = await stack.client.get(f"/api/v1/generations/{asked['id']}")
        return generation.json()["deletedAt"]

    question = "Delete its pictures for good?"
    shown = await seen(stack, "delete", asked["id"], answers={question: b"n\n"})
    assert "a fox" in shown
    assert "darkroom: Nothing was deleted." in shown
    assert await status() is None
    shown = await seen(stack, "delete", asked["id"], answers={question: b"y\n"})
    assert "Deleted: the pictures leave the store" in shown
    assert await status() is not None
