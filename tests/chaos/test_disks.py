"""Disks that are full or read-only: a clear failure, units back, and nothing to mend by hand."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from infrastructure.embedded import EmbeddedPostgres
from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.event_store.migrate import migrate
from tests.e2e.stack import encoded, free_port
from tests.processes import ADMIN_KEY, Processes, eventually, processes
from tests.small_disk import fill, make_read_only, only_root, small_disk

pytestmark = [only_root, pytest.mark.slow]

URL = "/api/v1/generations"
LATER = {"Prefer": "respond-async"}


class Service:
    """An api and a worker whose pictures go to a disk of the test's."""

    def __init__(self, client: httpx.AsyncClient, running: Processes, database_url: str) -> None:
        self.client, self.running, self._url = client, running, database_url

    async def place(self, **fields: Any) -> httpx.Response:
        request = {"prompt": "a lighthouse", "size": "512x512", **fields}
        return await self.client.post(URL, json=request, headers=LATER)

    async def ended(self, answer: httpx.Response) -> dict[str, Any]:
        """The generation in its final state."""
        assert answer.status_code == 202, answer.text

        async def final() -> dict[str, Any] | None:
            shown: dict[str, Any] = (await self.client.get(answer.headers["location"])).json()
            return shown if shown["status"] not in ("queued", "processing") else None

        found: dict[str, Any] = await eventually(final, within=60, why="it is not final")
        return found

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self._url) as connection:
            return await (await connection.execute(query.encode())).fetchall()

    async def spooled(self) -> int:
        return int((await self.rows("SELECT count(*) FROM spool"))[0][0])

    async def units(self) -> list[tuple[Any, ...]]:
        return await self.rows("SELECT DISTINCT units FROM quota_counters")


@asynccontextmanager
async def a_service(
    folder: Path, database_url: str, redis_url: str, **settings: str
) -> AsyncIterator[Service]:
    await ensure_tables(database_url)
    port = free_port()
    with processes(
        folder,
        DATABASE_URL=database_url,
        REDIS_URL=redis_url,
        DARKROOM_ADMIN_KEY=ADMIN_KEY,
        DARKROOM_PORT=str(port),
        **settings,
    ) as running:
        for name in ("api", "worker"):
            running.start(name)
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
            timeout=30,
        ) as client:

            async def is_there() -> bool:
                with suppress(httpx.TransportError):
                    return (await client.get("/readyz")).status_code == 200
                return False

            await eventually(is_there, why="the service does not start")
            yield Service(client, running, database_url)


@pytest.mark.parametrize("how", ["full", "read-only"])
async def test_pictures_wait_in_the_spool_while_the_image_store_takes_none(
    tmp_path: Path, database_url: str, redis_url: str, how: str
) -> None:
    with small_disk(tmp_path / "data" / "objects", "2m") as disk:
        async with a_service(tmp_path, database_url, redis_url) as service:
            filling = fill(disk) if how == "full" else None
            if how == "read-only":
                make_read_only(disk)
            waiting = await service.place(count=2)

            async def both_wait() -> bool:
                return await service.spooled() == 2

            await eventually(both_wait, why="the pictures are nowhere")
            if filling:
                filling.unlink()
            else:
                make_read_only(disk, read_only=False)
            generation = await service.ended(waiting)
            picture = await service.client.get(httpx.URL(generation["imageUrl"]).path)
            left = await service.spooled()
            calls = service.running.calls()
    assert generation["status"] == "completed"
    assert picture.status_code == 200
    assert left == 0
    assert len(calls) == 2, "nothing was called again"


async def test_with_the_spool_full_too_it_fails_clearly_and_units_go_back(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    with small_disk(tmp_path / "data" / "objects", "1m") as disk:
        small = {"DARKROOM_SPOOL_BYTES": "1000"}
        async with a_service(tmp_path, database_url, redis_url, **small) as service:
            filling = fill(disk)
            lost = await service.ended(await service.place())
            units = await service.units()
            filling.unlink()
            found = await service.ended(await service.place())
            again = await service.units()
    assert (lost["status"], lost["error"]["kind"]) == ("failed", "image_store_unavailable")
    assert "look at the image store" in lost["error"]["message"]
    assert float(lost["cost"]["amount"]) > 0, "the call is paid for all the same"
    assert units == [(0,)]
    assert (found["status"], again) == ("completed", [(1,)])


@pytest.mark.parametrize("how", ["full", "read-only"])
async def test_references_that_cannot_be_stored_are_told_to_come_back(
    tmp_path: Path, database_url: str, redis_url: str, how: str
) -> None:
    reference = base64.b64encode(encoded("PNG", (64, 64), compress_level=0)).decode()
    with small_disk(tmp_path / "data" / "objects", "1m") as disk:
        async with a_service(tmp_path, database_url, redis_url) as service:
            filling = fill(disk) if how == "full" else None
            if how == "read-only":
                make_read_only(disk)
            refused = await service.place(referenceImages=[reference])
            recorded = await service.rows("SELECT FROM stored_events WHERE topic LIKE 'gen%'")
            counted = await service.units()
            if filling:
                filling.unlink()
            else:
                make_read_only(disk, read_only=False)
            taken = await service.place(referenceImages=[reference])
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert refused.json()["code"] == "temporary-reduced-capacity"
    word = "No space left on device" if how == "full" else "Read-only file system"
    assert word in refused.json()["detail"]
    assert "free space" in refused.json()["detail"]
    assert (recorded, counted) == ([], [])
    assert taken.status_code == 202


async def test_with_postgres_disk_full_requests_come_back_later_and_it_heals(
    tmp_path: Path, redis_url: str
) -> None:
    with (
        small_disk(tmp_path / "postgres", "160m") as disk,
        EmbeddedPostgres(disk, durable=False) as server,
    ):
        await asyncio.to_thread(migrate, server.url)
        async with a_service(tmp_path, server.url, redis_url) as service:
            before = await service.ended(await service.place())
            filling = fill(disk)
            wish = "w" * 8000  # so that the table has to grow soon
            answers = [await service.place(prompt=wish) for _ in range(3)]
            while answers[-1].status_code == 202 and len(answers) < 200:
                answers.append(await service.place(prompt=wish))
            shown = await service.client.get(f"{URL}/{before['id']}")
            filling.unlink()

            async def heals() -> bool:
                return (await service.place()).status_code == 202

            await eventually(heals, why="it does not heal")
            ends = [await service.ended(a) for a in answers if a.status_code == 202]
    assert answers[-1].status_code == 503, "the disk did for more than was expected"
    assert int(answers[-1].headers["retry-after"]) > 0
    assert shown.status_code == 200
    assert {generation["status"] for generation in ends} <= {"completed"}
