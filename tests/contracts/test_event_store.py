"""What every event store does, PostgreSQL's and the one in memory alike."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Literal
from uuid import UUID, uuid4

import pytest

from application.ports.event_store import (
    Accepted,
    CloseWork,
    Command,
    Conflict,
    Duplicate,
    Fenced,
    HoldWork,
    IdempotencyKey,
    OpenWork,
    OverLimit,
    ReleaseWork,
    Units,
    UsedKey,
)
from application.ports.workers import AtWork, DueWork
from domain.generation import Generation
from domain.user import Profile, User
from infrastructure.event_store import store as postgres_store
from tests.contracts.stores import LEASE, Case
from tests.fakes import NOBODY
from tests.generations import HOUR, events_of, request_command

# --- events ----------------------------------------------------------------------------------


async def test_what_was_appended_is_read_back_in_order(case: Case) -> None:
    first, second = await case.placed(), await case.placed()
    log = await case.store.read(after=0, limit=10)
    assert [r.event.originator_id for r in log] == [first.id, second.id]
    assert [r.position for r in log] == sorted(r.position for r in log)
    assert log[0].recorded_at <= log[1].recorded_at


async def test_a_long_read_of_the_log_misses_nothing(case: Case) -> None:
    placed = [await case.placed() for _ in range(5)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(postgres_store, "A_PART", 2)
        log = await case.store.read(after=0, limit=10)
        four = await case.store.read(after=0, limit=4)
    assert [r.event.originator_id for r in log] == [generation.id for generation in placed]
    assert four == log[:4]


async def test_an_aggregate_is_folded_with_the_stores_times(case: Case) -> None:
    generation = await case.placed(count=3)
    assert generation.spec.count == 3
    assert generation.created_on == (await case.store.read(after=0, limit=1))[0].recorded_at


async def test_an_unknown_stream_is_none_and_so_is_one_of_another_aggregate(case: Case) -> None:
    user = User.register(issuer="i", role="user", profile=Profile(subject="s"))
    await case.store.append(Command(events=user.collect_events()))
    assert await case.store.get(Generation, uuid4()) is None
    assert await case.store.get(Generation, user.id) is None
    assert await case.store.get(User, user.id) is not None


async def test_the_history_of_a_stream_is_read_in_pages(case: Case) -> None:
    generation = await case.placed(count=2)
    await case.placed()
    generation.start_call(provider="sketch", model="m", images=(1,))
    generation.start_call(provider="sketch", model="m", images=(2,))
    await case.store.append(Command(events=events_of(generation)))
    page = await case.store.history(generation.id, after=0, limit=2)
    rest = await case.store.history(generation.id, after=page[-1].position, limit=10)
    assert [r.event.originator_version for r in [*page, *rest]] == [1, 2, 3]


async def test_a_stream_longer_than_a_page_is_folded_whole(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_store, "A_PAGE", 2)
    user = User.register(issuer="i", role="user", profile=Profile(subject="long"))
    for _ in range(2):
        user.suspend(by=user.id)
        user.reinstate(by=user.id)
    await case.store.append(Command(events=user.collect_events()))
    folded = await case.store.get(User, user.id)
    assert folded is not None
    assert folded.version == 5


async def test_of_several_streams_what_was_recorded_later_is_read(case: Case) -> None:
    one, other = await case.placed(count=2), await case.placed()
    await case.placed()
    one.start_call(provider="sketch", model="m", images=(1,))
    one.start_call(provider="sketch", model="m", images=(2,))
    await case.store.append(Command(events=events_of(one)))

    async def later(**behind: int) -> list[tuple[UUID, int]]:
        streams = {"one": one.id, "other": other.id, "nobody": uuid4()}
        found = await case.store.later({streams[name]: n for name, n in behind.items()})
        return sorted((r.event.originator_id, r.event.originator_version) for r in found)

    assert await later(one=1, other=1, nobody=-1) == [(one.id, 2), (one.id, 3)]
    assert await later(one=2, other=-1) == sorted([(one.id, 3), (other.id, 1)])


async def test_the_second_of_two_decisions_on_the_same_state_is_a_conflict(case: Case) -> None:
    generation = await case.placed()
    copy = await case.store.get(Generation, generation.id)
    assert copy is not None
    generation.cancel(by=generation.user_id)
    copy.start_call(provider="sketch", model="m", images=(1,))
    assert isinstance(await case.store.append(Command(events=events_of(generation))), Accepted)
    assert await case.store.append(Command(events=events_of(copy))) == Conflict()


async def test_a_gap_in_a_stream_is_a_conflict(case: Case) -> None:
    generation = await case.placed(count=2)
    generation.start_call(provider="sketch", model="m", images=(1,))
    generation.start_call(provider="sketch", model="m", images=(2,))
    assert await case.store.append(Command(events=events_of(generation)[1:])) == Conflict()


async def test_a_command_sent_again_is_recorded_once_and_takes_units_once(case: Case) -> None:
    generation = case.generation(count=2)
    command = request_command(generation, daily=2)
    first = await case.store.append(command)
    again = await case.store.append(command)
    assert isinstance(first, Accepted)
    assert again == Accepted(first.position, first.recorded_at, repeated=True)
    assert await case.units_taken(generation.user_id, generation.windows[0]) == 2
    assert len(await case.store.read(after=0, limit=10)) == 1


async def test_commands_sent_at_once_get_their_own_outcomes(case: Case) -> None:
    user = uuid4()
    generations = [case.generation(user_id=user) for _ in range(40)]
    outcomes = await asyncio.gather(
        *(case.store.append(request_command(g, daily=30)) for g in generations)
    )
    assert sum(isinstance(o, Accepted) for o in outcomes) == 30
    assert sum(isinstance(o, OverLimit) for o in outcomes) == 10
    positions = [o.position for o in outcomes if isinstance(o, Accepted)]
    assert len(set(positions)) == 30


# --- idempotency -----------------------------------------------------------------------------


async def test_a_key_used_again_names_what_the_first_one_made(case: Case) -> None:
    first, second = case.generation(), case.generation()
    user = uuid4()

    def keyed(generation: Generation, fingerprint: str) -> Command:
        key = IdempotencyKey(user, "k", fingerprint, generation.id)
        return Command(events=events_of(generation), idempotency=key)

    await case.store.append(keyed(first, "a"))
    assert await case.store.append(keyed(second, "a")) == Duplicate(first.id, True)
    assert await case.store.append(keyed(case.generation(), "b")) == Duplicate(first.id, False)
    assert len(await case.store.read(after=0, limit=10)) == 1


async def test_keys_of_different_users_are_different_and_a_refusal_keeps_none(case: Case) -> None:
    generation = case.generation()
    command = request_command(generation, daily=0)
    mine = IdempotencyKey(uuid4(), "k", "a", generation.id)
    refused = Command(command.events, command.units, mine, command.work)
    assert isinstance(await case.store.append(refused), OverLimit)
    accepted = Command(command.events, None, mine, command.work)
    assert isinstance(await case.store.append(accepted), Accepted)
    other = case.generation()
    theirs = IdempotencyKey(uuid4(), "k", "b", other.id)
    assert isinstance(
        await case.store.append(Command(events_of(other), idempotency=theirs)), Accepted
    )


# --- work ------------------------------------------------------------------------------------


async def test_work_is_claimed_by_one_worker(case: Case) -> None:
    generation = await case.placed()
    one, two = await case.worker(), await case.worker()
    assert isinstance(await case.claim(generation, one), Accepted)
    assert await case.claim(generation, two) == Fenced()


async def test_a_claim_sent_again_after_a_lost_answer_is_accepted(case: Case) -> None:
    generation, worker = await case.placed(), await case.worker()
    assert isinstance(await case.claim(generation, worker), Accepted)
    assert isinstance(await case.claim(generation, worker), Accepted)


async def test_a_worker_that_is_not_registered_claims_nothing(case: Case) -> None:
    assert await case.claim(await case.placed(), uuid4()) == Fenced()


async def test_a_fenced_command_records_nothing(case: Case) -> None:
    generation, one, two = await case.placed(), await case.worker(), await case.worker()
    await case.claim(generation, one)
    generation.start_call(provider="sketch", model="m", images=(1,))
    back = Units(generation.user_id, -1, generation.windows)
    hold = HoldWork("generate", generation.id, two)
    assert await case.store.append(Command(events_of(generation), back, work=hold)) == Fenced()
    assert len(await case.store.history(generation.id, after=0, limit=9)) == 1
    assert await case.units_taken(generation.user_id, generation.windows[0]) == 1


async def test_a_worker_that_was_swept_is_fenced_for_ever(case: Case) -> None:
    generation, worker = await case.placed(), await case.worker(lease=timedelta())
    await case.board.sweep(await case.board.moment())
    assert await case.claim(generation, worker) == Fenced()
    assert not await case.board.extend(worker, lease=LEASE)


async def test_a_worker_whose_lease_ended_unnoticed_goes_on_with_what_it_has(case: Case) -> None:
    generation, other, worker = await case.placed(), await case.placed(), await case.worker()
    assert isinstance(await case.claim(generation, worker), Accepted)
    assert await case.board.extend(worker, lease=timedelta())
    assert await case.claim(other, worker) == Fenced()
    assert isinstance(await case.claim(generation, worker), Accepted)
    hold = HoldWork("generate", generation.id, worker)
    assert isinstance(await case.store.append(Command(work=hold)), Accepted)
    assert await case.board.extend(worker, lease=LEASE)
    assert await case.board.sweep(await case.board.moment()) == 0
    assert isinstance(await case.claim(other, worker), Accepted)


async def test_the_sweep_closes_only_whose_lease_had_ended_by_then(case: Case) -> None:
    before = await case.board.moment()
    generation, worker = await case.placed(), await case.worker()
    await case.claim(generation, worker)
    await case.board.extend(worker, lease=timedelta(seconds=0.001))
    assert await case.board.sweep(before) == 0


async def test_overdue_work_is_taken_over_after_grace_and_from_its_holder_after_a_margin(
    case: Case,
) -> None:
    async def due(*, ago: float, kind: Literal["generate", "delete"] = "generate") -> Generation:
        generation = case.generation()
        work = OpenWork(kind, generation.id, generation.user_id, -timedelta(seconds=ago))
        await case.store.append(Command(events_of(generation), work=work))
        return generation

    async def take(limit: int) -> tuple[UUID, set[UUID]]:
        taker = uuid4()
        taken = await case.board.take_overdue(
            taker, lease=LEASE, grace=HOUR, margin=2 * HOUR, limit=limit
        )
        return taker, set(taken)

    worker = await case.worker()
    waiting, held = await due(ago=3700), await due(ago=7300)
    fresh, held_not_long, put_off = [await due(ago=ago) for ago in (3500, 7100, 9000)]
    for generation in (held, held_not_long, put_off):
        await case.claim(generation, worker)
    later = case.store.now() + HOUR
    await case.store.append(Command(work=ReleaseWork("generate", put_off.id, worker, later)))
    await due(ago=9000, kind="delete")
    assert (await take(limit=1))[1] == {held.id}, "the longest overdue first"
    taker, taken = await take(limit=9)
    assert taken == {held.id, waiting.id}, "also what a sweeper left that was killed"
    assert await case.claim(held, worker) == Fenced()
    assert isinstance(await case.claim(held, taker), Accepted)
    assert isinstance(await case.claim(fresh, worker), Accepted)
    assert isinstance(await case.claim(held_not_long, worker), Accepted)
    await case.board.retire(taker)
    assert isinstance(await case.claim(waiting, worker), Accepted)


async def test_a_taker_that_asks_again_is_given_what_it_has(case: Case) -> None:
    async def take(taker: UUID, limit: int) -> set[UUID]:
        taken = await case.board.take_overdue(
            taker, lease=LEASE, grace=HOUR, margin=2 * HOUR, limit=limit
        )
        return set(taken)

    for _ in range(3):
        generation = case.generation()
        work = OpenWork("generate", generation.id, generation.user_id, -HOUR)
        await case.store.append(Command(events_of(generation), work=work))
    taker, other = uuid4(), uuid4()
    first = await take(taker, limit=1)
    assert (len(first), await take(taker, limit=1)) == (1, first)
    assert len(both := await take(taker, limit=2)) == 2
    assert first < both
    await case.board.retire(taker)
    assert len(await take(other, limit=9)) == 3


async def test_nobody_opens_to_take_over_nothing(case: Case) -> None:
    await case.placed()
    taker = uuid4()
    margin = timedelta()
    taken = await case.board.take_overdue(taker, lease=LEASE, grace=margin, margin=margin, limit=9)
    assert list(taken) == []
    assert not await case.board.extend(taker, lease=LEASE)


async def test_released_work_is_claimed_again_when_it_is_due(case: Case) -> None:
    generation, worker = await case.placed(), await case.worker()
    await case.claim(generation, worker)
    assert list(await case.board.put_off(limit=9)) == []

    def release(due_in: timedelta) -> Command:
        due_at = case.store.now() + due_in
        return Command(work=ReleaseWork("generate", generation.id, worker, due_at))

    assert isinstance(await case.store.append(release(HOUR / 2)), Accepted)
    assert await case.claim(generation, worker) == Fenced()
    assert await case.store.append(release(timedelta())) == Fenced()
    assert list(await case.board.put_off(limit=9)) == [generation.id]
    await case.worker(slots=1)
    look = await case.board.look(after_user=NOBODY, handed_over=[])
    assert (look.due, look.seconds_to_next is None) == ([], False)
    assert 1700 < (look.seconds_to_next or 0) <= 1800


async def test_closed_work_is_gone_and_opening_open_work_changes_nothing(case: Case) -> None:
    generation, worker = await case.placed(), await case.worker()
    await case.claim(generation, worker)
    reopen = OpenWork("generate", generation.id, generation.user_id, HOUR)
    assert isinstance(await case.store.append(Command(work=reopen)), Accepted)
    assert await case.claim(generation, await case.worker()) == Fenced()
    closing = CloseWork("generate", generation.id, worker)
    assert isinstance(await case.store.append(Command(work=closing)), Accepted)
    assert await case.store.append(Command(work=closing)) == Fenced()
    assert isinstance(
        await case.store.append(Command(work=CloseWork("generate", generation.id))), Accepted
    )


async def test_a_swept_or_retired_workers_work_is_due_at_once(case: Case) -> None:
    first, second = await case.placed(), await case.placed()
    leaving, staying = await case.worker(), await case.worker()
    await case.claim(first, leaving)
    await case.claim(second, staying)
    await case.board.retire(leaving)
    assert await case.board.sweep(await case.board.moment()) == 0
    assert isinstance(await case.claim(first, staying), Accepted)
    assert await case.claim(second, await case.worker()) == Fenced()


async def test_credits_are_free_slots_less_what_was_handed_over(case: Case) -> None:
    held, handed, waiting = [await case.placed() for _ in range(3)]
    worker = await case.worker(slots=4)
    await case.worker(slots=5, lease=timedelta())
    await case.claim(held, worker)
    on_the_way = [DueWork("generate", g.id, g.user_id) for g in (held, handed)]
    look = await case.board.look(after_user=NOBODY, handed_over=on_the_way)
    assert (look.free_slots, look.waiting) == (2, {on_the_way[1]})
    assert [due.ref for due in look.due] == [waiting.id]
    await case.board.drain(worker)
    look = await case.board.look(after_user=NOBODY, handed_over=[])
    assert (look.free_slots, look.waiting, list(look.due)) == (0, frozenset(), [])


async def test_what_a_key_was_used_for_is_known_while_it_is_kept(case: Case) -> None:
    generation = case.generation()
    user = generation.user_id
    key = IdempotencyKey(user, "k", "its fingerprint", generation.id)
    assert await case.store.used_key(user, "k") is None
    await case.store.append(Command(events_of(generation), idempotency=key))
    assert await case.store.used_key(user, "k") == UsedKey(generation.id, "its fingerprint")
    assert await case.store.used_key(uuid4(), "k") is None


async def test_who_is_at_work_is_told_by_leases(case: Case) -> None:
    assert await case.board.at_work() == AtWork(workers=0, slots=0, free_slots=0)
    worker = await case.worker(slots=4)
    await case.worker(slots=5, lease=timedelta())
    await case.claim(await case.placed(), worker)
    assert await case.board.at_work() == AtWork(workers=1, slots=4, free_slots=3)


async def test_a_deletion_is_work_of_its_own_kind(case: Case) -> None:
    deleted = await case.placed()
    await case.store.append(Command(work=CloseWork("generate", deleted.id)))
    opened = OpenWork("delete", deleted.id, deleted.user_id, timedelta(days=1))
    await case.store.append(Command(work=opened))
    (due,) = await case.board.next_due(after_user=NOBODY, limit=9, handed_over=[])
    assert (due.kind, due.ref) == ("delete", deleted.id)


async def test_two_kinds_of_work_of_one_generation_do_not_wait_for_each_other(case: Case) -> None:
    deleted = await case.placed()
    await case.store.append(
        Command(work=OpenWork("delete", deleted.id, deleted.user_id, timedelta(days=1)))
    )
    generate = DueWork("generate", deleted.id, deleted.user_id)
    delete = DueWork("delete", deleted.id, deleted.user_id)
    due = await case.board.next_due(after_user=NOBODY, limit=9, handed_over=[generate])
    assert due == [delete]
    await case.worker(slots=8)
    await case.store.append(Command(work=CloseWork("generate", deleted.id)))
    look = await case.board.look(after_user=NOBODY, handed_over=[generate, delete])
    assert (look.free_slots, look.waiting) == (7, {delete})


async def test_due_work_comes_in_turn_by_user(case: Case) -> None:
    users = sorted(uuid4() for _ in range(3))
    flood = [await case.placed(user_id=users[0]) for _ in range(4)]
    single = await case.placed(user_id=users[1])
    for _ in range(2):
        await case.placed(user_id=users[2])
    handed = DueWork("generate", flood[0].id, users[0])
    due = await case.board.next_due(after_user=users[0], limit=9, handed_over=[handed])
    assert due[0] == DueWork("generate", single.id, users[1])
    assert [users.index(d.user_id) for d in due] == [1, 2, 0, 2, 0, 0]
    assert flood[0].id not in {d.ref for d in due}


async def test_open_generations_without_work_are_found(case: Case) -> None:
    lost, working, ended = [await case.placed() for _ in range(3)]
    await case.store.append(Command(work=CloseWork("generate", lost.id)))
    ended.cancel(by=ended.user_id)
    closing = CloseWork("generate", ended.id)
    await case.store.append(Command(events_of(ended), work=closing))
    stretch = await case.board.open_without_work(after=0, span=1000)
    assert list(stretch.refs) == [lost.id]
    assert stretch.is_last
    assert working.id not in stretch.refs
    behind = await case.board.open_without_work(after=stretch.end, span=1000)
    assert (list(behind.refs), behind.end, behind.is_last) == ([], stretch.end, True)
