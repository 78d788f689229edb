"""Workers, killed and cut off at the worst moments: every generation ends, once, paid once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest

from application.ports.event_store import Accepted
from domain.generation import Generation
from infrastructure.embedded import EmbeddedRedis
from infrastructure.event_store.store import PostgresEventStore
from tests.generations import new_generation, request_command
from tests.hanging_disk import HANGING_DISK
from tests.processes import Process, Processes, eventually, processes
from tests.proxy import Proxy

LEASE = 4.0  # more than what a sweep takes for a machine that stood still
SOON_AFTER_ITS_LEASE = LEASE + 28.0  # with the start of another process
SLOTS = 2
CAUGHT_IN = "3"  # seconds of a call: long enough to be met in the middle
APPEND_LOCK = "SELECT pg_advisory_lock(7232406001)"


class Works:
    """Worker processes on a real PostgreSQL and a real Redis of their own."""

    def __init__(
        self, running: Processes, store: PostgresEventStore, redis: EmbeddedRedis, url: str
    ) -> None:
        self.running, self.store, self.redis, self.database_url = running, store, redis, url

    def worker(self, **settings: str) -> Process:
        return self.running.start("worker", **settings)

    async def place(
        self,
        *,
        user_id: UUID | None = None,
        count: int = 1,
        size: str = "64x64",
        deadline: timedelta = timedelta(minutes=5),
    ) -> UUID:
        generation = new_generation(
            self.store.now(),
            user_id=user_id,
            count=count,
            spec={"size": size},
            deadline=deadline,
        )
        assert isinstance(await self.store.append(request_command(generation)), Accepted)
        return generation.id

    async def trail(self, ref: UUID) -> list[str]:
        history = await self.store.history(ref, after=0, limit=99)
        return [recorded.event.topic.removeprefix("generation.") for recorded in history]

    async def until_recorded(self, ref: UUID, name: str) -> None:
        async def recorded() -> bool:
            return name in await self.trail(ref)

        await eventually(recorded, why=f"{name} of {ref}")

    async def until_at_work(self) -> None:
        """A worker has registered."""

        async def registered() -> bool:
            return bool(await self.store.fetch("SELECT FROM workers WHERE slots > 0", ()))

        await eventually(registered, why="no worker is at work")

    async def until_called(self, times: int) -> None:
        """The provider, on its side, has counted so many calls."""

        async def counted() -> bool:
            return len(self.running.calls()) >= times

        await eventually(counted, why=f"{times} calls")

    async def until_completed(self, *refs: UUID, within: float = 30.0) -> None:
        async def completed() -> bool:
            for ref in refs:
                generation = await self.store.get(Generation, ref)
                if generation is None or not generation.closed:
                    return False
            return True

        await eventually(completed, within=within, why="the generations are not final")
        for ref in refs:
            trail = await self.trail(ref)
            assert trail.count("completed") == 1, trail
            assert trail[-1] == "completed"

    def objects(self, ref: UUID) -> list[Path]:
        try:
            found = list((self.running.data / "objects" / "images" / str(ref)).iterdir())
        except FileNotFoundError:  # the folder goes with its last object
            return []
        return [path for path in found if path.suffix == ".png"]


@pytest.fixture
async def works(database_url: str, tmp_path: Path) -> AsyncIterator[Works]:
    store = PostgresEventStore(database_url)
    await store.open()
    with EmbeddedRedis(tmp_path / "redis") as redis:
        settings = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis.url,
            "DARKROOM_LEASE_SECONDS": str(LEASE),
        }
        with processes(tmp_path, **settings) as running:
            yield Works(running, store, redis, database_url)
    await store.close()


async def test_a_worker_killed_in_the_middle_of_a_call_costs_one_explained_repeat(
    works: Works,
) -> None:
    doomed = works.worker(DARKROOM_SKETCH_SECONDS="60")
    ref = await works.place()
    await works.until_called(1)
    doomed.kill()
    works.worker()
    await works.until_completed(ref, within=SOON_AFTER_ITS_LEASE)
    assert await works.trail(ref) == [
        "requested",
        "call_started",
        "call_lost",
        "call_started",
        "call_answered",
        "completed",
    ]
    assert len(works.running.calls()) == 2


async def test_a_worker_killed_between_answer_and_store_leads_to_one_lost_call(
    works: Works,
) -> None:
    doomed = works.running.start("worker", program=HANGING_DISK)
    ref = await works.place()

    async def answered() -> bool:
        return bool(works.running.calls("answered"))

    await eventually(answered)
    doomed.kill()
    assert works.objects(ref) == []
    works.worker()
    await works.until_completed(ref, within=SOON_AFTER_ITS_LEASE)
    assert (await works.trail(ref)).count("call_lost") == 1
    assert len(works.running.calls()) == 2


async def test_a_worker_killed_between_store_and_record_leaves_one_picture(works: Works) -> None:
    doomed = works.worker(DARKROOM_SKETCH_SECONDS=CAUGHT_IN)
    async with await psycopg.AsyncConnection.connect(works.database_url, autocommit=True) as holder:
        ref = await works.place()
        await works.until_recorded(ref, "call_started")
        await holder.execute(APPEND_LOCK)

        async def stored() -> bool:
            return bool(works.objects(ref))

        await eventually(stored)
        await _until_waiting(works, 1)
        doomed.kill()
        await _forget_what_waits(works)
    works.worker()
    await works.until_completed(ref, within=SOON_AFTER_ITS_LEASE)
    assert (await works.trail(ref)).count("call_lost") == 1
    assert len(works.objects(ref)) == 1, "the same picture lies under the same key"


async def test_a_worker_killed_between_two_answers_is_not_paid_again_for_the_first(
    works: Works,
) -> None:
    doomed = works.worker(DARKROOM_SKETCH_SECONDS=CAUGHT_IN)
    connect = psycopg.AsyncConnection.connect
    async with (
        await connect(works.database_url, autocommit=True) as first,
        await connect(works.database_url, autocommit=True) as second,
    ):
        ref = await works.place(count=2)
        await works.until_recorded(ref, "call_started")
        await first.execute(APPEND_LOCK)
        await _until_waiting(works, 1)  # the worker, to record the first answer
        behind = asyncio.create_task(second.execute(APPEND_LOCK))
        await _until_waiting(works, 2)
        await first.close()
        await behind
        await _until_waiting(works, 1)  # the worker, to record the second answer, and the end
        doomed.kill()
        await _forget_what_waits(works)
    assert (await works.trail(ref))[-1] == "call_answered"
    works.worker()
    await works.until_completed(ref, within=SOON_AFTER_ITS_LEASE)
    generation = await works.store.get(Generation, ref)
    assert generation is not None
    outcomes = sorted(call.outcome for call in generation.calls.values())
    assert outcomes == ["answered", "answered", "lost"]
    assert len(works.running.calls()) == 3


async def _forget_what_waits(works: Works) -> None:
    """As if the machine of the killed worker were gone too: PostgreSQL would record what it has."""
    await works.store.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'darkroom append' AND wait_event = 'advisory'"
        " AND datname = current_database()",
        (),
    )


async def _until_waiting(works: Works, waiting: int) -> None:
    async def counted() -> bool:
        rows = await works.store.fetch(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            (),
        )
        return bool(rows[0][0] >= waiting)

    await eventually(counted, why=f"{waiting} wait for the log's lock")


async def test_a_worker_stopped_for_longer_than_its_lease_records_its_answer_as_late(
    works: Works,
) -> None:
    stopped = works.worker(DARKROOM_SKETCH_SECONDS=CAUGHT_IN)
    ref = await works.place()
    await works.until_recorded(ref, "call_started")
    stopped.send(signal.SIGSTOP)
    other = works.worker(DARKROOM_SKETCH_SECONDS="5")
    await works.until_recorded(ref, "call_lost")
    stopped.send(signal.SIGCONT)
    await works.until_completed(ref)
    trail = await works.trail(ref)
    assert "call_answered_late" in trail or trail.count("call_answered") == 1
    assert not other.ended()
    assert not stopped.ended()
    await works.until_completed(await works.place())


async def test_redis_flushed_and_gone_while_work_waits_loses_nothing(works: Works) -> None:
    for _ in range(2):
        works.worker(DARKROOM_SKETCH_SECONDS="0.05")
    refs = [await works.place() for _ in range(40)]
    await works.until_recorded(refs[0], "completed")
    assert works.redis._process is not None
    works.redis._process.kill()  # all it held is gone with it
    refs += [await works.place() for _ in range(40)]  # accepting goes on
    await works.until_recorded(refs[0], "completed")
    works.redis.start()
    await works.until_completed(*refs, within=60)
    assert len(works.running.calls()) == len(refs), "no call in flight was touched"
    assert not any(process.ended() for process in works.running.started)


async def test_a_worker_told_to_stop_finishes_its_calls_and_starts_no_new_one(works: Works) -> None:
    leaving = works.worker(DARKROOM_SKETCH_SECONDS="5", DARKROOM_WORKER_SLOTS="2")
    refs = [await works.place() for _ in range(4)]
    for_now = refs[:]

    async def two_under_way() -> bool:
        started = [ref for ref in for_now if "call_started" in await works.trail(ref)]
        return len(started) == 2

    await eventually(two_under_way)
    assert leaving.stop() == 0
    trails = [await works.trail(ref) for ref in refs]
    assert sum("completed" in trail for trail in trails) == 2
    assert sum(trail == ["requested"] for trail in trails) == 2
    works.worker()
    await works.until_completed(*refs)
    assert len(works.running.calls()) == 4


async def test_several_pictures_by_one_call_each_survive_a_kill_without_repeating_the_answered(
    works: Works,
) -> None:
    doomed = works.worker(DARKROOM_SKETCH_SECONDS="60", DARKROOM_SKETCH_IMAGES_PER_CALL="2")
    ref = await works.place(count=4)
    await works.until_recorded(ref, "call_started")
    doomed.kill()
    works.worker(DARKROOM_SKETCH_IMAGES_PER_CALL="2")
    await works.until_completed(ref, within=SOON_AFTER_ITS_LEASE)
    generation = await works.store.get(Generation, ref)
    assert generation is not None
    assert [image.number for image in generation.published] == [1, 2, 3, 4]
    assert [c.outcome for c in generation.calls.values()] == [
        "lost",
        "lost",
        "answered",
        "answered",
    ]


async def test_a_single_request_is_next_behind_a_flood(works: Works) -> None:
    flooding = uuid4()
    works.worker(DARKROOM_SKETCH_SECONDS="0.2", DARKROOM_WORKER_SLOTS=str(SLOTS))
    flood = [await works.place(user_id=flooding) for _ in range(30)]
    await works.until_recorded(flood[0], "completed")
    single = await works.place()
    await works.until_recorded(single, "completed")
    ((meanwhile,),) = await works.store.fetch(
        "SELECT count(*) FROM stored_events, (SELECT min(notification_id) AS first,"
        " max(notification_id) AS last FROM stored_events WHERE originator_id = %s) AS single"
        " WHERE topic LIKE 'generation.completed@%%'"
        " AND notification_id BETWEEN first AND last - 1",
        (single,),
    )
    assert meanwhile <= 2 * SLOTS, "who was under way, and one more in each slot"
    await works.until_completed(*flood, single)


async def test_a_store_away_for_longer_than_a_lease_repeats_no_call(works: Works) -> None:
    async with Proxy(works.database_url) as proxy:
        for _ in range(2):
            works.worker(DATABASE_URL=proxy.url, DARKROOM_SKETCH_SECONDS="10")
        refs = [await works.place() for _ in range(4)]
        await works.until_called(len(refs))
        proxy.pause()
        await asyncio.sleep(LEASE * 1.5)  # that long it is away
        proxy.go_on()
        await works.until_completed(*refs, within=60)
    assert len(works.running.calls()) == len(refs)
    for ref in refs:
        assert "call_lost" not in await works.trail(ref)


async def test_a_worker_cut_off_behind_its_call_started_makes_no_call_of_work_it_has_lost(
    works: Works,
) -> None:
    async with Proxy(works.database_url) as proxy:
        cut_off = works.worker(DATABASE_URL=proxy.url)
        await works.until_completed(await works.place())
        proxy.pause_behind = b"generation.call_started"
        ref = await works.place()
        await asyncio.wait_for(proxy.paused.wait(), 20)
        works.worker()
        await works.until_completed(ref, within=60)
        proxy.go_on()
        cut_off.send(signal.SIGTERM)  # it ends what it has begun, and goes

        async def gone() -> bool:
            return cut_off.ended()

        await eventually(gone, within=60)
    assert await works.trail(ref) == [
        "requested",
        "call_started",
        "call_lost",
        "call_started",
        "call_answered",
        "completed",
    ]
    assert len(works.running.calls()) == 2, "each of the two generations was paid for once"


async def test_an_answer_to_a_claim_that_is_lost_blocks_nothing(works: Works) -> None:
    async with Proxy(works.database_url) as proxy:
        works.worker(DATABASE_URL=proxy.url, DARKROOM_SKETCH_SECONDS="0.1")
        await works.until_completed(await works.place())
        refs = []
        for _ in range(12):
            proxy.cut_next_answer = True
            refs.append(await works.place())
            await asyncio.sleep(0.05)
        await works.until_completed(*refs, within=60)
        assert proxy.cuts > 0
    assert len(works.running.calls()) == 13


async def test_a_provider_that_hangs_is_given_up_at_the_deadline(works: Works) -> None:
    works.worker(DARKROOM_SKETCH_FAULTS="hang=1", DARKROOM_CALL_SECONDS="1")
    await works.until_at_work()
    ref = await works.place(deadline=timedelta(seconds=3))
    await works.until_recorded(ref, "failed")
    generation = await works.store.get(Generation, ref)
    assert generation is not None
    assert generation.error is not None
    assert generation.error[0] == "deadline_passed"
    assert set((await works.trail(ref))[1:-1]) == {"call_started", "call_lost"}
    taken = await works.store.fetch("SELECT DISTINCT units FROM quota_counters", ())
    assert taken == [(0,)], "the unit went back"


async def test_a_provider_that_fails_and_refuses_ends_every_generation_once(works: Works) -> None:
    works.worker(DARKROOM_SKETCH_FAULTS="refuse=0.3,fail=0.5", DARKROOM_SKETCH_IMAGES_PER_CALL="2")
    refs = [await works.place(count=3) for _ in range(12)]

    async def all_closed() -> bool:
        found = [await works.store.get(Generation, ref) for ref in refs]
        return all(generation is not None and generation.closed for generation in found)

    await eventually(all_closed, within=60)
    for ref in refs:
        trail = await works.trail(ref)
        assert trail.count("completed") + trail.count("failed") == 1
        assert trail.count("call_started") == trail.count("call_answered") + trail.count(
            "call_failed"
        )
    answered = works.running.calls("answered")
    recorded = await works.store.fetch(
        "SELECT count(*) FROM stored_events WHERE topic = 'generation.call_answered@1'", ()
    )
    assert recorded == [(len(answered),)], "what the provider counted is what was recorded"
