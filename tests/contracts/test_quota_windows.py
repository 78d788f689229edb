"""Quotas in time, and limits of users' own, as every event store keeps them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from application.ports.event_store import (
    Accepted,
    ClaimWork,
    Command,
    Conflict,
    Outcome,
    OverLimit,
    OwnLimits,
    Units,
    WindowClosed,
)
from application.units import units_given_back
from domain.generation import Generation
from domain.quota import QuotaExceededError, windows_at
from tests.contracts.stores import Case, allowances_of
from tests.generations import events_of, request_command

USER = UUID(int=1)
MIDDAY = datetime(2031, 3, 15, 12, tzinfo=UTC)
DAY = timedelta(days=1)


async def ask(case: Case, count: int = 1, **limits: int | None) -> tuple[Generation, Outcome]:
    """A request of the user's at this moment, and what became of it."""
    generation = case.generation(user_id=USER, count=count)
    return generation, await case.store.append(request_command(generation, **limits))


async def held(case: Case, count: int = 1, **limits: int | None) -> list[tuple[int | None, int]]:
    """The limits, and what is used after a request that was accepted."""
    generation, outcome = await ask(case, count, **limits)
    assert isinstance(outcome, Accepted), outcome
    assert [one.window for one in outcome.allowances] == list(generation.windows)
    return [(one.limit, one.used) for one in outcome.allowances]


async def exceeded(case: Case, count: int = 1, **limits: int | None) -> list[str]:
    """The windows that refused a request."""
    _, outcome = await ask(case, count, **limits)
    assert isinstance(outcome, OverLimit), outcome
    refused = QuotaExceededError(outcome.allowances, asked=count)
    return [one.window.type for one in refused.exceeded]


async def cancel(case: Case, generation: Generation) -> None:
    loaded = await case.store.get(Generation, generation.id)
    assert loaded is not None
    loaded.cancel(by=USER)
    units = units_given_back(loaded)
    assert isinstance(await case.store.append(Command(events_of(loaded), units)), Accepted)


# --- what is left --------------------------------------------------------------------------------


async def test_what_the_windows_hold_is_told_with_the_units_that_were_taken(case: Case) -> None:
    assert await held(case, 3, daily=10) == [(10, 3), (None, 3)]
    assert await held(case, 7, daily=10, monthly=20) == [(10, 10), (20, 10)]
    generation, refused = await ask(case, 2, daily=10, monthly=11)
    assert refused == OverLimit(allowances_of(generation, (10, 10), (11, 10)))


async def test_an_end_users_windows_are_told_behind_the_users(case: Case) -> None:
    generation = case.generation(count=2, end_user="customer 17")
    outcome = await case.store.append(request_command(generation, daily=9, end_user_daily=3))
    assert isinstance(outcome, Accepted)
    assert outcome.allowances == allowances_of(generation, (9, 2), (None, 2), (3, 2), (None, 2))


async def test_a_command_that_is_sent_again_tells_nothing_of_the_quota(case: Case) -> None:
    command = request_command(case.generation(user_id=USER), daily=3)
    await case.store.append(command)
    await held(case, daily=3)
    again = await case.store.append(command)
    assert isinstance(again, Accepted)
    assert (again.repeated, again.allowances) == (True, ())


async def test_what_takes_no_units_tells_nothing_of_the_quota(case: Case) -> None:
    generation = await case.placed()
    claim = Command(work=ClaimWork("generate", generation.id, await case.worker()))
    back = Command(units=Units(USER, -1, generation.windows, {"daily": 5}))
    for command in (claim, back):
        outcome = await case.store.append(command)
        assert isinstance(outcome, Accepted)
        assert outcome.allowances == ()


async def test_every_window_that_is_full_is_told(case: Case) -> None:
    assert await exceeded(case, 3, daily=2, monthly=2) == ["daily", "monthly"]
    assert await exceeded(case, 3, daily=3, monthly=2) == ["monthly"]


# --- limits of their own -------------------------------------------------------------------------


async def test_all_limits_of_a_users_own_are_given_at_once(case: Case) -> None:
    await case.limit(USER, daily=5, monthly=7)
    assert await held(case, daily=1, monthly=1) == [(5, 1), (7, 1)]
    await case.limit(USER, monthly=None)
    assert await held(case, daily=3, monthly=1) == [(3, 2), (None, 2)]
    await case.limit(USER)
    assert await held(case, daily=3, monthly=4) == [(3, 3), (4, 3)]


async def test_a_limit_of_ones_own_is_nobody_elses(case: Case) -> None:
    other = uuid4()
    await case.limit(USER, daily=0)
    await case.limit(other, daily=9)
    await case.limit(other)
    assert await exceeded(case, daily=9) == ["daily"]
    generation = case.generation(user_id=other)
    outcome = await case.store.append(request_command(generation, daily=2))
    assert isinstance(outcome, Accepted)
    assert outcome.allowances == allowances_of(generation, (2, 1), (None, 1))


async def test_a_limit_holds_for_what_is_recorded_behind_it_also_at_once(case: Case) -> None:
    """Together: they can come to the log in one piece."""
    before, between, behind = (case.generation(user_id=USER) for _ in range(3))
    outcomes = await asyncio.gather(
        case.store.append(request_command(before, daily=9)),
        case.store.append(Command(limits=OwnLimits(USER, {"daily": 1}))),
        case.store.append(request_command(between, daily=9)),
        case.store.append(Command(limits=OwnLimits(USER, {"daily": 2}))),
        case.store.append(request_command(behind, daily=9)),
    )
    assert [type(outcome) for outcome in outcomes] == [
        Accepted,
        Accepted,
        OverLimit,
        *[Accepted] * 2,
    ]
    assert outcomes[2] == OverLimit(allowances_of(between, (1, 1), (None, 1)))


async def test_a_command_that_is_refused_changes_no_limit(case: Case) -> None:
    generation = await case.placed()
    loaded = await case.store.get(Generation, generation.id)
    assert loaded is not None
    generation.cancel(by=USER)
    await case.store.append(Command(events_of(generation)))
    loaded.cancel(by=USER)
    late = Command(events_of(loaded), limits=OwnLimits(USER, {"daily": 0}))
    assert isinstance(await case.store.append(late), Conflict)
    full = Command(
        units=Units(USER, 2, generation.windows, {"daily": 1}),
        limits=OwnLimits(USER, {"daily": 9}),
    )
    assert isinstance(await case.store.append(full), OverLimit)
    assert await held(case, daily=5) == [(5, 1), (None, 1)]


async def test_a_limit_that_is_lowered_below_what_is_used_lets_nothing_through(case: Case) -> None:
    first, _ = await ask(case, 4, daily=10)
    await ask(case, 3, daily=10)
    await case.limit(USER, daily=5)
    refused, outcome = await ask(case, daily=10)
    assert outcome == OverLimit(allowances_of(refused, (5, 7), (None, 7)))
    assert [one.remaining for one in outcome.allowances] == [0, None]
    await cancel(case, first)
    assert await held(case, 2, daily=10) == [(5, 5), (None, 5)]
    assert await exceeded(case, daily=10) == ["daily"]
    await case.limit(USER, daily=6)
    assert await held(case, daily=10) == [(6, 6), (None, 6)]


# --- in time -------------------------------------------------------------------------------------


async def test_units_of_yesterdays_window_are_never_taken_today(case: Case) -> None:
    await case.move_clock(MIDDAY)
    generation = case.generation(user_id=USER)
    midnight = generation.windows[0].ends_at
    await case.move_clock(midnight)
    outcome = await case.store.append(request_command(generation, daily=0, monthly=0))
    assert isinstance(outcome, WindowClosed)
    assert midnight <= outcome.now < midnight + DAY
    again = case.generation(user_id=USER)
    assert again.windows[0].starts_at == midnight
    assert isinstance(await case.store.append(request_command(again, daily=1)), Accepted)


async def test_a_month_that_is_full_before_the_day_stays_so_until_its_end(case: Case) -> None:
    limits = {"daily": 4, "monthly": 5}
    await case.move_clock(MIDDAY)
    assert await held(case, 3, **limits) == [(4, 3), (5, 3)]
    await case.move_clock(MIDDAY + DAY)
    assert await held(case, 2, **limits) == [(4, 2), (5, 5)]
    assert await exceeded(case, **limits) == ["monthly"]
    await case.move_clock(MIDDAY + 2 * DAY)
    assert await exceeded(case, **limits) == ["monthly"]
    await case.move_clock(datetime(2031, 4, 1, tzinfo=UTC))
    assert await held(case, 4, **limits) == [(4, 4), (5, 4)]


@pytest.mark.parametrize(
    ("asked_on", "used_of_its_month"), [(MIDDAY, 4), (datetime(2031, 2, 28, 12, tzinfo=UTC), 0)]
)
async def test_units_that_go_back_when_the_day_is_over_make_no_room_in_another(
    case: Case, asked_on: datetime, used_of_its_month: int
) -> None:
    limits = {"daily": 3, "monthly": 9}
    await case.move_clock(asked_on)
    generation, _ = await ask(case, 3, **limits)
    await case.move_clock(asked_on + DAY)
    assert (await held(case, 3, **limits))[0] == (3, 3)
    await cancel(case, generation)
    assert await case.units_taken(USER, generation.windows[0]) == 0
    assert await exceeded(case, **limits) == ["daily"]
    day = windows_at(case.store.now())[0]
    assert await case.units_taken(USER, day) == 3
    await case.move_clock(asked_on + 2 * DAY)
    assert await held(case, 1, **limits) == [(3, 1), (9, 4)]
    assert await case.units_taken(USER, generation.windows[1]) == used_of_its_month
