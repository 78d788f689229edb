"""Bounds on generations in flight, as every event store keeps them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from application.ports.event_store import (
    Accepted,
    ClaimWork,
    CloseWork,
    Command,
    Duplicate,
    IdempotencyKey,
    MostInFlight,
    OpenWork,
    Outcome,
    OverLimit,
    ReleaseWork,
    TooManyInFlight,
)
from domain.generation import Generation
from tests.contracts.stores import Case
from tests.generations import HOUR, request_command

TWO = MostInFlight(of_user=2, of_all=100)


async def ask(case: Case, user: UUID, most: MostInFlight = TWO) -> Outcome:
    return await case.store.append(request_command(case.generation(user_id=user), most=most))


async def placed(case: Case, user: UUID, number: int = 1) -> list[Generation]:
    return [await case.placed(user_id=user) for _ in range(number)]


async def test_as_many_of_a_user_are_taken_as_may_be_in_flight_and_no_more(case: Case) -> None:
    user = uuid4()
    for _ in range(2):
        assert isinstance(await ask(case, user), Accepted)
    assert await ask(case, user) == TooManyInFlight("user", most=2, in_flight=2)
    assert isinstance(await ask(case, uuid4()), Accepted)


async def test_what_is_refused_leaves_nothing_behind(case: Case) -> None:
    user = uuid4()
    await placed(case, user, 2)
    recorded = len(await case.store.read(after=0, limit=10))
    generation = case.generation(user_id=user)
    key = IdempotencyKey(user, "key", "fingerprint", generation.id)

    command = replace(request_command(generation, most=TWO), idempotency=key)
    assert isinstance(await case.store.append(command), TooManyInFlight)

    assert len(await case.store.read(after=0, limit=10)) == recorded
    assert await case.units_taken(user, generation.windows[0]) == 2
    assert await case.store.used_key(user, "key") is None
    due = await case.board.next_due(after_user=uuid4(), limit=10, handed_over=[])
    assert generation.id not in [work.ref for work in due]


async def test_all_users_together_have_a_bound_too(case: Case) -> None:
    most = MostInFlight(of_user=2, of_all=3)
    outcomes = [await ask(case, uuid4(), most) for _ in range(4)]
    assert [isinstance(outcome, Accepted) for outcome in outcomes] == [True, True, True, False]
    assert outcomes[3] == TooManyInFlight("all", most=3, in_flight=3)


async def test_where_both_bounds_are_reached_the_user_is_told_of_their_own(case: Case) -> None:
    user = uuid4()
    await placed(case, user, 2)
    assert await ask(case, user, MostInFlight(2, 2)) == TooManyInFlight("user", 2, 2)


async def test_who_has_no_units_left_is_told_so_first(case: Case) -> None:
    user = uuid4()
    await placed(case, user, 2)
    command = request_command(case.generation(user_id=user), most=TWO, daily=2)
    assert isinstance(await case.store.append(command), OverLimit)


async def test_a_bound_that_was_lowered_holds_for_what_is_asked_next(case: Case) -> None:
    user = uuid4()
    await placed(case, user, 3)
    assert await ask(case, user) == TooManyInFlight("user", most=2, in_flight=3)


@pytest.mark.parametrize("by_its_worker", [True, False])
async def test_what_has_ended_makes_room_for_one_more(case: Case, by_its_worker: bool) -> None:
    user, worker = uuid4(), await case.worker()
    first, _ = await placed(case, user, 2)
    assert isinstance(await case.claim(first, worker), Accepted)
    assert isinstance(await ask(case, user), TooManyInFlight)
    closing = CloseWork("generate", first.id, worker if by_its_worker else None)
    for _ in range(2):  # the second time there is nothing to close
        await case.store.append(Command(work=closing))
    assert isinstance(await ask(case, user), Accepted)
    assert isinstance(await ask(case, user), TooManyInFlight)


async def test_what_is_claimed_or_put_off_is_in_flight_as_before(case: Case) -> None:
    user, worker = uuid4(), await case.worker()
    first, _ = await placed(case, user, 2)
    for change in (
        ClaimWork("generate", first.id, worker),
        ReleaseWork("generate", first.id, worker, case.store.now() + HOUR),
    ):
        assert isinstance(await case.store.append(Command(work=change)), Accepted)
        assert await ask(case, user) == TooManyInFlight("user", most=2, in_flight=2)


async def test_a_repeat_is_answered_by_what_it_made_however_much_is_in_flight(case: Case) -> None:
    generation = case.generation()
    command = request_command(generation, most=MostInFlight(1, 1))
    key = IdempotencyKey(generation.user_id, "key", "fingerprint", generation.id)
    first = replace(command, idempotency=key)
    assert isinstance(await case.store.append(first), Accepted)

    again = case.generation(user_id=generation.user_id)
    repeat = request_command(again, most=MostInFlight(1, 1))
    repeated = await case.store.append(replace(repeat, idempotency=replace(key, ref=again.id)))
    assert repeated == Duplicate(generation.id, same_fingerprint=True)

    sent_again = await case.store.append(first)  # as after a lost connection
    assert isinstance(sent_again, Accepted)
    assert sent_again.repeated


async def test_work_that_was_lost_is_opened_again_whatever_the_bounds(case: Case) -> None:
    user = uuid4()
    lost, *_ = await placed(case, user, 3)
    await case.store.append(Command(work=CloseWork("generate", lost.id)))
    reopened = OpenWork("generate", lost.id, user, timedelta())
    for _ in range(2):  # what is open is not counted twice
        assert isinstance(await case.store.append(Command(work=reopened)), Accepted)
    assert await ask(case, user) == TooManyInFlight("user", most=2, in_flight=3)


async def test_pictures_that_are_being_deleted_are_no_generations_in_flight(case: Case) -> None:
    user = uuid4()
    for _ in range(3):
        await case.store.append(Command(work=OpenWork("delete", uuid4(), user, HOUR)))
    assert isinstance(await ask(case, user), Accepted)


async def test_commands_at_once_never_put_one_more_in_flight(case: Case) -> None:
    users = [uuid4() for _ in range(3)]
    most = MostInFlight(of_user=10, of_all=24)
    outcomes = await asyncio.gather(*(ask(case, user, most) for _ in range(20) for user in users))
    accepted = [outcome for outcome in outcomes if isinstance(outcome, Accepted)]
    assert len(accepted) == 24
    refused = [outcome for outcome in outcomes if isinstance(outcome, TooManyInFlight)]
    assert {o.in_flight == o.most for o in refused} == {True}
    assert len(refused) == 36
    per_user = [sum(isinstance(o, Accepted) for o in outcomes[place::3]) for place in range(3)]
    assert max(per_user) <= 10
