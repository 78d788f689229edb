"""Supabase away, refusing or answering into the void, while real workers store pictures in it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from hashlib import sha256
from uuid import UUID

import pytest

from domain.generation import Generation
from tests.chaos.works import Works
from tests.e2e.stack import free_port
from tests.image_stores import BUCKET
from tests.processes import eventually
from tests.servers.protocol import serving
from tests.servers.supabase import KEY, SupabaseServer

pytestmark = pytest.mark.slow

UPLOADS = "POST /storage/v1/object/darkroom/.*"
AWAY = float(os.environ.get("DRILL_AWAY_SECONDS", "4"))  # `make drill` sets 60
HANDS, BETWEEN = 2, 0.15  # workers; seconds from one request to the next


class AtSupabase:
    """Workers, and the server that their pictures go to, which can be taken away."""

    def __init__(self, works: Works, port: int) -> None:
        self.works, self.server = works, SupabaseServer()
        self._port = port
        self._serving = AsyncExitStack()

    async def come(self) -> None:
        await self._serving.enter_async_context(serving(self.server, self._port))

    async def go(self) -> None:
        await self._serving.aclose()

    async def spooled(self) -> int:
        return int((await self.works.store.fetch("SELECT count(*) FROM spool", ()))[0][0])

    async def until_spooled(self, most: int) -> None:
        async def waits() -> bool:
            return await self.spooled() >= most

        await eventually(waits, why="nothing goes to the spool")

    async def generation(self, ref: UUID) -> Generation:
        generation = await self.works.store.get(Generation, ref)
        assert generation is not None
        return generation

    async def until_closed(self, ref: UUID, within: float = 60.0) -> Generation:
        async def closed() -> Generation | None:
            generation = await self.generation(ref)
            return generation if generation.closed else None

        ended = await eventually(closed, within=within, why="it does not end")
        assert isinstance(ended, Generation)
        return ended

    async def units(self) -> set[int]:
        rows = await self.works.store.fetch("SELECT DISTINCT units FROM quota_counters", ())
        return {row[0] for row in rows}

    async def assert_all_is_well(self, *refs: UUID) -> None:
        """Each was completed once; each picture called for and uploaded once, and is there."""
        await self.works.until_completed(*refs, within=120)
        published = [image for ref in refs for image in (await self.generation(ref)).published]
        objects = self.server.buckets[BUCKET].objects
        assert {image.key: image.sha256 for image in published} == {
            key: sha256(stored.data).hexdigest() for key, stored in objects.items()
        }
        assert len(self.works.running.calls()) == len(published), "no call was repeated"
        assert len(self.server.uploads(BUCKET)) == len(published)

        async def drained() -> bool:
            return await self.spooled() == 0

        await eventually(drained, why="the spool is not empty")


@pytest.fixture
async def at_supabase(works: Works) -> AsyncIterator[AtSupabase]:
    port = free_port()
    works.running.environment |= {
        "DARKROOM_IMAGE_STORE": "supabase",
        "SUPABASE_URL": f"http://127.0.0.1:{port}",
        "SUPABASE_KEY": KEY,
    }
    made = AtSupabase(works, port)
    yield made
    await made.go()


@pytest.mark.timeout(180 + 4 * AWAY)
@pytest.mark.parametrize("how", ["gone", "database_timeout", "bad_gateway", "hang"])
async def test_an_outage_under_load_repeats_no_call_and_loses_no_picture(
    at_supabase: AtSupabase, how: str
) -> None:
    works, server = at_supabase.works, at_supabase.server
    await at_supabase.come()
    for _ in range(HANDS):
        works.worker(DARKROOM_SKETCH_SECONDS="0.2")
    before = [await works.place(count=2) for _ in range(8)]
    await works.until_called(4)
    if how == "gone":
        await at_supabase.go()
    server.switches.tell(always=None if how == "gone" else how)
    during = []
    until = asyncio.get_running_loop().time() + AWAY
    while asyncio.get_running_loop().time() < until:
        during.append(await works.place(count=2))
        await asyncio.sleep(BETWEEN)
    await at_supabase.until_spooled(1)
    waited = await at_supabase.spooled()
    server.switches.tell(always=None)
    if how == "gone":
        await at_supabase.come()
    after = [await works.place(count=2) for _ in range(4)]
    await at_supabase.assert_all_is_well(*before, *during, *after)
    print(f"{how}: {len(during)} generations meanwhile, {waited} pictures waited in the spool")


AT_RANDOM = {
    **dict.fromkeys(("refuse", "drop", "lose_answer", "truncate"), 0.03),
    **dict.fromkeys(("slow_down", "internal", "database_timeout", "bad_gateway"), 0.02),
    **dict.fromkeys(("not_json", "duplicate", "no_bucket", "forbidden"), 0.01),
}


async def test_a_server_that_fails_at_random_has_each_picture_once(at_supabase: AtSupabase) -> None:
    works, server = at_supabase.works, at_supabase.server
    await at_supabase.come()
    server.switches.chance.seed(18)
    server.switches.tell(chances=AT_RANDOM)
    for _ in range(HANDS):
        works.worker()
    refs = [await works.place(count=3) for _ in range(30)]
    await at_supabase.assert_all_is_well(*refs)
    assert {noted.fault for noted in server.switches.seen} >= {None, *list(AT_RANDOM)[:4]}


@pytest.mark.parametrize("fault", ["lose_answer", "duplicate", "truncate", "drop"])
async def test_a_try_that_comes_to_nothing_ends_as_one_picture(
    at_supabase: AtSupabase, fault: str
) -> None:
    await at_supabase.come()
    at_supabase.server.switches.tell(next=[fault], only=UPLOADS)
    at_supabase.works.worker()
    await at_supabase.assert_all_is_well(await at_supabase.works.place())


async def test_lost_replies_of_all_tries_end_as_one_picture(at_supabase: AtSupabase) -> None:
    await at_supabase.come()
    at_supabase.server.switches.tell(next=["lose_answer"] * 5, only=f"{UPLOADS}|GET .*")
    at_supabase.works.worker()
    await at_supabase.assert_all_is_well(await at_supabase.works.place())


@pytest.mark.parametrize("fault", ["forbidden", "invalid_jwt", "invalid_mime_type"])
async def test_an_operators_mistake_is_waited_out(at_supabase: AtSupabase, fault: str) -> None:
    await at_supabase.come()
    at_supabase.server.switches.tell(always=fault)
    at_supabase.works.worker()
    ref = await at_supabase.works.place()
    await at_supabase.until_spooled(1)
    at_supabase.server.switches.tell(always=None)
    await at_supabase.assert_all_is_well(ref)


async def test_a_mistake_that_nobody_mends_fails_it_at_the_deadline(
    at_supabase: AtSupabase,
) -> None:
    await at_supabase.come()
    at_supabase.server.switches.tell(always="forbidden")
    works = at_supabase.works
    works.worker()
    ref = await works.place(deadline=timedelta(seconds=8))
    failed = await at_supabase.until_closed(ref)
    assert failed.error is not None
    assert failed.error[0] == "image_store_unavailable"
    assert len(works.running.calls()) == 1
    assert failed.calls[1].cost is not None

    async def tidied() -> bool:
        at_supabase.server.switches.tell(always=None)
        return await at_supabase.spooled() == 0

    await eventually(tidied, why="its picture stays in the spool")
    assert await at_supabase.units() <= {0}


async def test_a_picture_that_is_too_large_fails_it_at_once(at_supabase: AtSupabase) -> None:
    await at_supabase.come()
    at_supabase.server.switches.options["file_size_limit"] = 100
    works = at_supabase.works
    works.worker()
    ref = await works.place()
    failed = await at_supabase.until_closed(ref)
    assert failed.error is not None
    assert failed.error[0] == "image_store_unavailable"
    assert await works.trail(ref) == ["requested", "call_started", "call_failed", "failed"]
    assert failed.calls[1].cost is not None
    assert len(works.running.calls()) == 1
    assert await at_supabase.spooled() == 0
    assert await at_supabase.units() <= {0}


async def test_one_that_turns_out_too_large_after_an_outage_too(at_supabase: AtSupabase) -> None:
    works = at_supabase.works
    works.worker()
    ref = await works.place()
    await at_supabase.until_spooled(1)
    at_supabase.server.switches.options["file_size_limit"] = 100
    await at_supabase.come()
    failed = await at_supabase.until_closed(ref)
    assert failed.error is not None
    assert failed.error[0] == "image_store_unavailable"
    assert len(works.running.calls()) == 1

    async def tidied() -> bool:
        return await at_supabase.spooled() == 0

    await eventually(tidied, why="its picture stays in the spool")
