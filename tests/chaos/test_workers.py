"""Workers, killed and cut off at the worst moments: every generation ends, once, paid once."""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from uuid import uuid4

from domain.generation import Generation
from tests.chaos.works import APPEND_LOCK, CAUGHT_IN, LEASE, SOON_AFTER_ITS_LEASE, Works
from tests.hanging_disk import HANGING_DISK
from tests.processes import eventually
from tests.proxy import Proxy

SLOTS = 2


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
    ref = await works.killed_before_it_records()
    works.worker()
    await works.until_completed(ref, within=SOON_AFTER_ITS_LEASE)
    assert (await works.trail(ref)).count("call_lost") == 1
    assert len(works.objects(ref)) == 1, "the same picture lies under the same key"


async def test_a_worker_killed_between_two_answers_is_not_paid_again_for_the_first(
    works: Works,
) -> None:
    doomed = works.worker(DARKROOM_SKETCH_SECONDS=CAUGHT_IN)
    async with await works.connect() as first, await works.connect() as second:
        ref = await works.place(count=2)
        await works.until_recorded(ref, "call_started")
        await first.execute(APPEND_LOCK)
        await works.until_waiting(1)  # the worker, to record the first answer
        behind = asyncio.create_task(second.execute(APPEND_LOCK))
        await works.until_waiting(2)
        await first.close()
        await behind
        await works.until_waiting(1)  # the worker, to record the second answer, and the end
        doomed.kill()
        await works.forget_what_waits()
    assert (await works.trail(ref))[-1] == "call_answered"
    works.worker()
    await works.until_completed(ref, within=SOON_AFTER_ITS_LEASE)
    generation = await works.store.get(Generation, ref)
    assert generation is not None
    outcomes = sorted(call.outcome for call in generation.calls.values())
    assert outcomes == ["answered", "answered", "lost"]
    assert len(works.running.calls()) == 3


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
    works.worker(
        DARKROOM_SKETCH_FAULTS="refuse=0.3,fail=0.3",
        DARKROOM_SKETCH_IMAGES_PER_CALL="2",
        DARKROOM_CIRCUIT="failures=100",  # it is to be asked again, however often it fails
    )
    refs = [await works.place(count=3) for _ in range(12)]

    async def all_closed() -> bool:
        found = [await works.store.get(Generation, ref) for ref in refs]
        return all(generation is not None and generation.closed for generation in found)

    await eventually(all_closed, within=100)  # waits double while it goes on failing
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
