"""What real processes leave behind is swept up: each kind provoked once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from application.ports.event_store import Accepted, ClaimWork, CloseWork, Command, Fenced
from domain.generation import Generation
from infrastructure.event_store.work import PostgresWorkBoard
from tests.chaos.works import SOON_AFTER_ITS_LEASE, Works
from tests.generations import events_of
from tests.processes import Process, eventually
from tests.proxy import Proxy

SOON = timedelta(seconds=2)
NO_REDIS = "redis://127.0.0.1:1/0"


async def load(works: Works, ref: UUID) -> Generation:
    generation = await works.store.get(Generation, ref)
    assert generation is not None
    return generation


async def until_failed(works: Works, ref: UUID) -> None:
    await works.until_recorded(ref, "failed")
    assert (await load(works, ref)).error == (
        "deadline_passed",
        "The picture was not finished before the deadline. Ask again later.",
    )


async def told(worker: Process, event: str) -> dict[str, Any]:
    """The one line with which it logged this."""

    async def lines() -> list[dict[str, Any]]:
        return [line for line in worker.entries() if line["event"] == event]

    (line,) = await eventually(lines, why=event)
    return dict(line)


async def work_rows(works: Works) -> int:
    rows = await works.store.fetch("SELECT count(*) FROM work", ())
    return int(rows[0][0])


async def test_without_redis_a_deadline_still_ends_what_waits(works: Works) -> None:
    worker = works.worker(REDIS_URL=NO_REDIS)
    ref = await works.place(deadline=SOON)
    await until_failed(works, ref)
    assert await works.trail(ref) == ["requested", "failed"]
    assert await works.store.fetch("SELECT DISTINCT units FROM quota_counters", ()) == [(0,)]
    assert await work_rows(works) == 0
    assert (await told(worker, "ended what was overdue"))["generations"] == 1


async def test_while_every_slot_is_taken_a_deadline_still_ends_what_waits(works: Works) -> None:
    works.worker(DARKROOM_SKETCH_SECONDS="60", DARKROOM_WORKER_SLOTS="1")
    taken = await works.place()
    await works.until_called(1)
    flood = [await works.place(deadline=SOON) for _ in range(30)]
    for ref in flood:
        await until_failed(works, ref)
    assert await works.trail(taken) == ["requested", "call_started"]
    assert len(works.running.calls()) == 1


async def test_a_deadline_that_passed_while_postgresql_was_away_is_carried_out_when_it_is_back(
    works: Works,
) -> None:
    async with Proxy(works.database_url) as proxy:
        works.worker(DATABASE_URL=proxy.url, REDIS_URL=NO_REDIS)
        await until_failed(works, await works.place(deadline=SOON))
        ref = await works.place(deadline=SOON)
        proxy.pause()
        generation = await load(works, ref)

        async def is_overdue() -> bool:
            return works.store.now() > generation.deadline + SOON

        await eventually(is_overdue)
        assert await works.trail(ref) == ["requested"]
        proxy.go_on()
        await until_failed(works, ref)


async def test_a_holder_that_does_nothing_but_stay_alive_is_fenced_after_a_margin(
    works: Works,
) -> None:
    hanging, board = uuid4(), PostgresWorkBoard(works.store)
    await board.register(hanging, slots=1, lease=timedelta(hours=1))
    ref = await works.place(deadline=SOON)
    claim = Command(work=ClaimWork("generate", ref, hanging))
    assert isinstance(await works.store.append(claim), Accepted)
    generation = await load(works, ref)
    generation.start_call(provider="sketch", model="sketch-1", images=(1,))
    await works.store.append(Command(events_of(generation)))
    works.worker(REDIS_URL=NO_REDIS)
    await until_failed(works, await works.place(deadline=SOON))
    assert await works.trail(ref) == ["requested", "call_started"], "it has its margin"
    await works.store.fetch(
        "UPDATE work SET deadline = deadline - interval '1 min' RETURNING 1", ()
    )
    await works.until_recorded(ref, "failed")
    assert await works.trail(ref) == ["requested", "call_started", "call_lost", "failed"]
    assert await works.store.append(claim) == Fenced()
    assert len(works.running.calls()) == 0


async def test_a_lost_work_row_of_an_overdue_generation_is_no_way_to_stay_open(
    works: Works,
) -> None:
    ref = await works.place(deadline=timedelta(milliseconds=1))
    await works.store.append(Command(work=CloseWork("generate", ref)))
    works.worker()
    await until_failed(works, ref)


async def test_a_file_of_a_worker_killed_between_store_and_record_is_removed(works: Works) -> None:
    ref = await works.killed_before_it_records()
    generation = await load(works, ref)
    generation.cancel(by=generation.user_id)
    assert isinstance(await works.store.append(Command(events_of(generation))), Accepted)
    assert len(works.objects(ref)) == 1
    assert (await load(works, ref)).objects == (), "no event names it"

    worker = works.worker()

    async def removed() -> bool:
        return not works.objects(ref)

    await eventually(removed, within=SOON_AFTER_ITS_LEASE)
    line = await told(worker, "removed files that nothing names")
    assert (line["objects"], line["leftovers"]) == (1, 0)


async def test_a_deletion_whose_work_row_is_lost_is_carried_out_and_others_pictures_stay(
    works: Works,
) -> None:
    worker = works.worker()
    deleted, kept = await works.place(), await works.place()
    await works.until_completed(deleted, kept)
    worker.stop()
    generation = await load(works, deleted)
    generation.delete(by=generation.user_id)
    await works.store.append(Command(events_of(generation)))
    (works.running.data / "objects" / "images" / str(uuid4())).mkdir()

    works.worker()

    async def removed() -> bool:
        return not works.objects(deleted)

    await eventually(removed)
    assert len(works.objects(kept)) == 1
