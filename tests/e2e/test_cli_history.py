"""`darkroom history`, `show`, `cancel` and `delete`: looking back, and changing one's mind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

from tests.e2e.stack import Stack
from tests.e2e.typed import PATIENCE, darkroom, service, typing

NOBODYS = "00000000-0000-4000-8000-000000000000"


async def listed(stack: Stack, count: int) -> list[dict[str, Any]]:
    """The history, once it has so many."""
    async with asyncio.timeout(PATIENCE):
        while True:
            items = (await stack.client.get("/api/v1/generations")).json()["items"]
            if len(items) == count:
                return list(items)
            await asyncio.sleep(0.01)


# --- history -------------------------------------------------------------------------------------


async def test_history_lists_and_filters_and_pages(stack: Stack, tmp_path: Path) -> None:
    async with stack.followed():
        for number in range(3):
            await stack.generate(prompt=f"fox {number}\n[bold]\x1b[31mred")
        items = await listed(stack, 3)

        def typed(*arguments: str) -> Any:
            return darkroom("history", *arguments, folder=tmp_path, **service(stack))

        lines, as_json, one, failed, recent, old = await asyncio.gather(
            typed(),
            typed("--all", "--json"),
            typed("--limit", "1", "--query", "fox"),
            typed("--status", "failed"),
            typed("--after", "1h", "--json"),
            typed("--before", "2026-01-01", "--json"),
        )
    assert [line.split("\t")[2] for line in lines.lines] == [item["id"] for item in items]
    assert lines.lines[0].endswith("fox 2 [bold]�[31mred")
    assert [json.loads(line) for line in as_json.lines] == items
    assert [line.split("\t")[2] for line in one.lines] == [items[0]["id"]]
    assert (failed.status, failed.out) == (0, "")
    assert (len(recent.lines), old.out) == (3, "")


async def test_a_list_longer_than_a_page_is_read_to_its_end(stack: Stack, tmp_path: Path) -> None:
    async with stack.followed():
        await asyncio.gather(*(stack.generate(prompt=f"fox {n}") for n in range(101)))
        async with asyncio.timeout(PATIENCE):
            counted = "SELECT count(*) FROM image_generations"
            while await stack.rows(counted) != [(101,)]:
                await asyncio.sleep(0.02)
        typed = await darkroom("history", "--all", folder=tmp_path, **service(stack))
    assert len(set(typed.lines)) == 101


async def test_a_filter_that_cannot_be_read_is_wrong_usage(stack: Stack, tmp_path: Path) -> None:
    typed = await darkroom("history", "--after", "soon", folder=tmp_path, **service(stack))
    typed.refused(2, "--after must be a time such as", "not 'soon'")
    typed = await darkroom("history", "--status", "lost", folder=tmp_path, **service(stack))
    typed.refused(2, "'queued', 'processing'")


# --- show ----------------------------------------------------------------------------------------


async def test_show_tells_all_of_one(stack: Stack, tmp_path: Path) -> None:
    asked = await stack.generate(prompt="a fox", count=2, metadata={"order": "4711"})
    await stack.perform_all()
    typed = await darkroom("show", asked["id"], "--events", folder=tmp_path, **service(stack))
    assert typed.status == 0, typed.err
    facts = dict(line.split(maxsplit=1) for line in typed.lines if line)
    assert facts["id"] == asked["id"]
    assert facts["status"].startswith("completed after ")
    assert facts["metadata"] == "order = 4711"
    assert facts["cost"].startswith("0.0020 USD (")
    assert f"{stack.settings.public_url}/images/{asked['id']}/2-" in facts["picture"]
    assert [word for line in typed.lines for word in line.split() if word == "call_answered"] == [
        "call_answered"
    ] * 2

    as_json = await darkroom(
        "show", asked["id"], "--events", "--json", folder=tmp_path, **service(stack)
    )
    assert as_json.json["id"] == asked["id"]
    assert as_json.json["events"][-1]["type"] == "generation.completed"


async def test_bytes_that_are_not_the_recorded_ones_are_not_kept(
    stack: Stack, tmp_path: Path
) -> None:
    asked = await stack.generate()
    await stack.perform_all()
    (picture,) = (stack.settings.data_dir / "objects").glob("images/*/*.png")
    picture.write_bytes(b"another picture")
    typed = await darkroom("show", asked["id"], "-o", "x.png", folder=tmp_path, **service(stack))
    typed.refused(1, "is not the picture that was recorded")
    picture.unlink()
    typed = await darkroom("show", asked["id"], "-o", "x.png", folder=tmp_path, **service(stack))
    typed.refused(1, "was answered 404")
    assert "x.png" not in os.listdir(tmp_path)


async def test_where_there_are_no_pictures_none_are_saved(stack: Stack, tmp_path: Path) -> None:
    asked = await stack.generate()
    save = ("show", asked["id"], "-o", "x.png")
    early = await darkroom(*save, folder=tmp_path, **service(stack))
    early.refused(1, "There are no pictures yet: say --follow")
    await stack.client.post(f"/api/v1/generations/{asked['id']}/cancel")
    late = await darkroom(*save, folder=tmp_path, **service(stack))
    late.refused(1, "There are no pictures to save: the generation was cancelled.")


async def test_a_picture_is_saved_twice_without_harm(stack: Stack, tmp_path: Path) -> None:
    asked = await stack.generate()
    await stack.perform_all()
    save = ("show", asked["id"], "-o", "x.png")
    for _ in range(2):
        typed = await darkroom(*save, folder=tmp_path, **service(stack))
        assert typed.status == 0, typed.err
    (tmp_path / "x.png").write_bytes(b"mine")
    (await darkroom(*save, folder=tmp_path, **service(stack))).refused(2, "x.png is there already")
    assert (tmp_path / "x.png").read_bytes() == b"mine"


async def test_what_is_not_there_is_not_found(stack: Stack, tmp_path: Path) -> None:
    for command in (("show", NOBODYS), ("cancel", NOBODYS), ("retry", "x/../y")):
        typed = await darkroom(*command, folder=tmp_path, **service(stack))
        typed.refused(4, "not yours")


async def test_following_can_be_stopped_and_taken_up_again(stack: Stack, tmp_path: Path) -> None:
    asked = await stack.generate()
    following = ("show", asked["id"], "--follow")
    async with typing(*following, folder=tmp_path, **service(stack)) as command:
        await command.until("Queued")
        command.process.send_signal(signal.SIGINT)
        (await command.end()).refused(130, "goes on")
    async with stack.at_work():
        typed = await darkroom(*following, folder=tmp_path, **service(stack))
    assert typed.status == 0, typed.err
    assert "status      completed after" in typed.out


# --- cancel and delete ---------------------------------------------------------------------------


async def test_cancel_ends_it_and_whoever_waits_for_it(stack: Stack, tmp_path: Path) -> None:
    asked = await stack.generate()
    async with typing(
        "show", asked["id"], "--follow", folder=tmp_path, **service(stack)
    ) as command:
        await command.until("Queued")
        typed = await darkroom("cancel", asked["id"], folder=tmp_path, **service(stack))
        followed = await command.end()
    assert typed.status == 0, typed.err
    followed.refused(1, "The generation was cancelled.", "darkroom retry ")


async def test_what_has_ended_is_not_cancelled(stack: Stack, tmp_path: Path) -> None:
    asked = await stack.generate()
    await stack.perform_all()
    typed = await darkroom("cancel", asked["id"], folder=tmp_path, **service(stack))
    typed.refused(1, "is completed and stays so")


async def test_delete_asks_first_and_removes_the_pictures(stack: Stack, tmp_path: Path) -> None:
    asked = await stack.generate()
    early = await darkroom("delete", asked["id"], "--yes", folder=tmp_path, **service(stack))
    early.refused(1)
    await stack.perform_all()
    url = (await stack.client.get(f"/api/v1/generations/{asked['id']}")).json()["imageUrl"]

    unasked = await darkroom("delete", asked["id"], folder=tmp_path, **service(stack))
    unasked.refused(2, "say --yes to delete")
    assert (await stack.client.get(url)).status_code == 200

    typed = await darkroom(
        "delete", asked["id"], "--yes", "--json", folder=tmp_path, **service(stack)
    )
    await stack.perform_all()
    assert typed.json["deletedAt"]
    assert (await stack.client.get(url)).status_code == 404
