"""The dispatcher on a real work table, however much waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from application.dispatch import LONGEST_PAUSE, Dispatcher
from application.missing_work import MissingWorkSweep
from application.ports.event_store import Accepted, ClaimWork, CloseWork, Command
from application.ports.workers import QueueUnavailableError
from domain.generation import Generation
from infrastructure.event_store.spool import PostgresSpool
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.event_store.work import PostgresWorkBoard
from tests.fakes import FakeQueue
from tests.generations import events_of, new_generation, request_command

LEASE = timedelta(minutes=5)
MANY = 10_000
DEADLINE = timedelta(hours=1)


class Desk:
    """A dispatcher with a queue that keeps what it was given, and a clock that moves when told."""

    def __init__(self, store: PostgresEventStore, url: str) -> None:
        self.url = url
        self.store, self.board, self.queue = store, PostgresWorkBoard(store), FakeQueue()
        self.seconds = 0.0
        self.dispatcher = Dispatcher(self.board, self.queue, clock=lambda: self.seconds)

    async def place(self, *, user_id: UUID | None = None, times: int = 1) -> list[Generation]:
        generations = [new_generation(self.store.now(), user_id=user_id) for _ in range(times)]
        for first in range(0, times, 500):
            outcomes = await asyncio.gather(
                *(self.store.append(request_command(g)) for g in generations[first : first + 500])
            )
            assert all(isinstance(outcome, Accepted) for outcome in outcomes)
        return generations

    async def worker(self, slots: int) -> UUID:
        worker = uuid4()
        await self.board.register(worker, slots=slots, lease=LEASE)
        return worker

    async def claim_all(self, worker: UUID) -> None:
        for work in self.queue.handed_over:
            await self.store.append(Command(work=ClaimWork("generate", work.ref, worker)))
        self.queue.handed_over.clear()

    def missing_work(self) -> MissingWorkSweep:
        return MissingWorkSweep(self.store, self.board, deadline=DEADLINE)

    async def waiting(self) -> int:
        rows = await self.store.fetch("SELECT count(*) FROM work WHERE worker IS NULL", ())
        return int(rows[0][0])

    async def rows_read(self) -> int:
        """Rows of the work table that statements have looked at so far, by any access path."""
        await self.store.fetch("SELECT pg_stat_force_next_flush()", ())
        rows = await self.store.fetch(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'work'",
            (),
        )
        return int(rows[0][0])

    async def analyze(self) -> None:
        """As autovacuum does at a moment of its own; plans are made anew after it."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            await connection.execute("ANALYZE work")


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    store = PostgresEventStore(database_url, readers=1)  # one session: its counts are all counts
    await store.open()
    yield Desk(store, database_url)
    await store.close()


async def test_no_more_is_handed_over_than_workers_can_start(desk: Desk) -> None:
    await desk.place(times=5)
    await desk.dispatcher.hand_over()
    assert desk.queue.handed_over == []
    await desk.worker(slots=2)
    await desk.dispatcher.hand_over()
    await desk.dispatcher.hand_over()
    assert len(desk.queue.handed_over) == 2


async def test_what_nobody_claimed_is_handed_over_again_and_what_was_claimed_is_not(
    desk: Desk,
) -> None:
    await desk.place(times=2)
    worker = await desk.worker(slots=4)
    await desk.dispatcher.hand_over()
    lost, claimed = [work.ref for work in desk.queue.handed_over]
    await desk.store.append(Command(work=ClaimWork("generate", claimed, worker)))
    desk.queue.handed_over.clear()
    desk.seconds = 6.0
    await desk.dispatcher.hand_over()
    assert [work.ref for work in desk.queue.handed_over] == [lost]


async def test_work_that_could_not_be_handed_over_is_still_due(desk: Desk) -> None:
    await desk.place()
    await desk.worker(slots=1)
    desk.queue.available = False
    with pytest.raises(QueueUnavailableError):
        await desk.dispatcher.hand_over()
    desk.queue.available = True
    await desk.dispatcher.hand_over()
    assert len(desk.queue.handed_over) == 1


async def test_ten_thousand_waiting_cost_nearly_nothing_while_nothing_finishes(desk: Desk) -> None:
    flooding = uuid4()
    await desk.place(user_id=flooding, times=MANY)
    await desk.analyze()
    worker = await desk.worker(slots=8)
    await desk.dispatcher.hand_over()
    await desk.claim_all(worker)
    before = await desk.rows_read()
    for _ in range(20):
        assert await desk.dispatcher.hand_over() == LONGEST_PAUSE
        assert desk.dispatcher.saturated
    assert (
        await desk.rows_read() - before <= 20 * 8 + 8
    )  # what is held, and once what was handed over
    assert desk.queue.handed_over == []


async def test_none_of_nine_waits_for_more_than_a_turn_of_who_floods_through_two_processes(
    desk: Desk, database_url: str
) -> None:
    """One slot becomes free at a time; nobody starts earlier for asking for more, or earlier."""
    flooding, nine = uuid4(), [uuid4() for _ in range(9)]
    other_process = PostgresEventStore(database_url)
    await other_process.open()
    desks = (desk, Desk(other_process, database_url))
    worker, started = await desk.worker(slots=2), list[UUID]()
    asked: dict[UUID, int] = {}  # how many had started by then
    latest: dict[UUID, UUID] = {}

    for number in range(60):
        for one in desks:
            await one.place(user_id=flooding, times=5)
        for user in nine[: number % 10]:
            if user not in latest or latest[user] in started:  # one at a time
                (wanted,) = await desks[number % 2].place(user_id=user)
                latest[user], asked[wanted.id] = wanted.id, len(started)
        await desk.dispatcher.hand_over()
        started += [work.ref for work in desk.queue.handed_over]
        await desk.claim_all(worker)
        await desk.store.append(Command(work=CloseWork("generate", started[number], worker)))
    await other_process.close()

    served = [ref for ref in started if ref in asked]
    flood = [ref for ref in started if ref not in asked]
    before = {ref: set(started[asked[ref] : started.index(ref)]) for ref in served}
    assert max(len(others.intersection(flood)) for others in before.values()) == 1
    assert len(served) > 30
    assert len(flood) > 5, "who floods has a turn too"


@pytest.mark.parametrize("analyzed", ["while empty", "while one user waits", "last"])
async def test_behind_ten_thousand_of_one_user_another_users_request_is_next(
    desk: Desk, analyzed: str
) -> None:
    flooding, single = uuid4(), uuid4()
    if analyzed == "while empty":
        await desk.analyze()
    await desk.place(user_id=flooding, times=MANY)
    if analyzed == "while one user waits":
        await desk.analyze()
    worker = await desk.worker(slots=8)
    await desk.dispatcher.hand_over()
    await desk.claim_all(worker)
    (wanted,) = await desk.place(user_id=single)
    if analyzed == "last":
        await desk.analyze()
    before = await desk.rows_read()
    await desk.worker(slots=1)
    await desk.dispatcher.hand_over()
    assert [work.ref for work in desk.queue.handed_over] == [wanted.id]
    assert await desk.rows_read() - before <= 50


async def test_what_is_overdue_is_found_among_ten_thousand_that_wait(desk: Desk) -> None:
    await desk.place(user_id=uuid4(), times=MANY)
    (overdue,) = await desk.place()
    long_ago = "UPDATE work SET deadline = deadline - interval '9 h' WHERE ref = %s RETURNING 1"
    await desk.store.fetch(long_ago, (overdue.id,))
    await desk.analyze()
    before = await desk.rows_read()
    taken = await desk.board.take_overdue(
        uuid4(), lease=LEASE, grace=timedelta(), margin=timedelta(), limit=20
    )
    assert list(taken) == [overdue.id]
    for _ in range(10):
        again = await desk.board.take_overdue(
            uuid4(), lease=LEASE, grace=timedelta(), margin=DEADLINE, limit=20
        )
        assert list(again) == [overdue.id], "also from a sweeper that was killed"
    assert await desk.rows_read() - before <= 50


async def test_missing_work_of_open_generations_is_recreated(desk: Desk) -> None:
    lost, ended = await desk.place(times=2)
    await desk.store.append(Command(work=CloseWork("generate", lost.id)))
    ended.cancel(by=ended.user_id)
    await desk.store.append(Command(events_of(ended), work=CloseWork("generate", ended.id)))
    assert await desk.missing_work().round()
    await desk.worker(slots=4)
    await desk.dispatcher.hand_over()
    assert [work.ref for work in desk.queue.handed_over] == [lost.id]


async def test_one_unreadable_generation_does_not_keep_the_others_from_their_work(
    desk: Desk,
) -> None:
    broken, lost = await desk.place(times=2)
    for generation in (broken, lost):
        await desk.store.append(Command(work=CloseWork("generate", generation.id)))
    await desk.store.fetch(
        "UPDATE stored_events SET state = '{}' WHERE originator_id = %s RETURNING 1", (broken.id,)
    )
    await desk.missing_work().round()
    assert await desk.waiting() == 1


async def test_old_pictures_in_the_spool_go_unless_their_generation_is_still_open(
    desk: Desk,
) -> None:
    (open_,) = await desk.place()
    spool = PostgresSpool(desk.store, most_bytes=1000)
    kept, ended = f"images/{open_.id}/1-a.png", f"images/{uuid4()}/1-a.png"
    for key in (kept, ended):
        await spool.put(key, b"a picture")
    assert (await desk.board.forget_outlived()).pictures == 0
    await desk.store.fetch(
        "UPDATE spool SET spooled_at = spooled_at - interval '3 days' RETURNING 1", ()
    )
    assert (await desk.board.forget_outlived()).pictures == 1
    assert await spool.get(kept) is not None
    assert await spool.get(ended) is None


async def test_work_that_waits_for_later_costs_a_look_for_each_user_not_for_each_piece(
    desk: Desk,
) -> None:
    later = uuid4()
    await desk.place(user_id=later, times=500)
    await desk.store.fetch("UPDATE work SET due_at = due_at + interval '1 hour' RETURNING 1", ())
    (due,) = await desk.place()
    await desk.worker(slots=8)
    before = await desk.rows_read()
    await desk.dispatcher.hand_over()
    assert [work.ref for work in desk.queue.handed_over] == [due.id]
    assert await desk.rows_read() - before <= 50
