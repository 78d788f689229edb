"""References of requests that were refused: they are nobody's, a day later."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from infrastructure.event_store.migrate import migrate
from tests.conftest import PostgresServer
from tests.e2e.stack import Stack, encoded, running, settings_for
from tests.processes import eventually

A_WHILE = 2 * 86_400  # seconds


def references_in(stack: Stack) -> list[Path]:
    return sorted((stack.settings.data_dir / "objects" / "references").glob("*/*"))


async def ask(stack: Stack, reference: bytes, count: int) -> int:
    response = await stack.client.post(
        "/api/v1/generations",
        json={
            "prompt": "as in this",
            "count": count,
            "referenceImages": [base64.b64encode(reference).decode()],
        },
        headers={"Prefer": "respond-async"},
    )
    return response.status_code


async def in_history(stack: Stack) -> bool:
    return bool(await stack.rows("SELECT FROM image_generations"))


async def make_the_log_older(stack: Stack) -> None:
    assert await stack.rows("UPDATE log SET started_at = started_at - interval '3 d' RETURNING 1")


async def walk(stack: Stack) -> None:
    (orphans,) = [s for s in stack.container.sweeps() if s.name == "orphaned files"]
    while not await orphans.round():
        pass


async def test_the_reference_of_a_refused_request_goes_a_day_later_and_a_named_one_stays(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    settings = settings_for(tmp_path, database_url, redis_url, daily_quota="2")
    async with running(settings) as stack, stack.followed():
        named, refused = encoded("PNG", (8, 8)), encoded("PNG", (9, 9))
        assert await ask(stack, named, count=1) == 202
        (kept,) = references_in(stack)
        assert await ask(stack, refused, count=2) == 429
        assert len(references_in(stack)) == 2
        await walk(stack)
        assert len(references_in(stack)) == 2, "another request may be about to name it"
        await make_the_log_older(stack)
        for path in references_in(stack):
            then = path.stat().st_mtime - A_WHILE
            os.utime(path, (then, then))
        await eventually(lambda: in_history(stack), why="the follower has it within the hour")
        await walk(stack)
        assert references_in(stack) == [kept]
        assert await ask(stack, refused, count=1) == 202
        assert len(references_in(stack)) == 2


async def test_two_logs_over_one_folder_leave_each_others_pictures_alone(
    tmp_path: Path, postgres_server: PostgresServer, redis_url: str
) -> None:
    databases = [postgres_server.new_database() for _ in range(2)]
    for database in databases:
        migrate(database)
    settings = [settings_for(tmp_path, database, redis_url) for database in databases]
    async with running(settings[0]) as mine, running(settings[1]) as other:
        await mine.generate()
        await other.generate()
        await mine.perform_all()
        await other.perform_all()
        for stack in (mine, other):
            await walk(stack)  # each has a dispatcher, a day long
            await make_the_log_older(stack)
        pictures = sorted((tmp_path / "objects" / "images").glob("*/*"))
        for path in pictures:
            os.utime(path, (path.stat().st_mtime - A_WHILE,) * 2)
        for _ in range(2):
            for stack in (other, mine):
                await walk(stack)
        assert len(pictures) == 2
        assert sorted((tmp_path / "objects" / "images").glob("*/*")) == pictures
