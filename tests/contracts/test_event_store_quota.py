"""Quotas of users and end users, as every event store keeps them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

from application.ports.event_store import (
    Accepted,
    Command,
    OverLimit,
    Units,
    WindowClosed,
)
from application.units import units_given_back
from domain.generation import Generation
from domain.quota import Window, windows_at
from tests.contracts.stores import Case, allowances_of
from tests.generations import events_of, request_command


def over_limit(generation: Generation, *held: tuple[int | None, int]) -> OverLimit:
    """What is told of each window: its limit, and what is used of it."""
    return OverLimit(allowances_of(generation, *held))


async def test_units_are_taken_from_every_window_or_from_none(case: Case) -> None:
    generation = case.generation(count=3)
    outcome = await case.store.append(request_command(generation, daily=10, monthly=2))
    assert outcome == over_limit(generation, (10, 0), (2, 0))
    for window in generation.windows:
        assert await case.units_taken(generation.user_id, window) == 0
    assert await case.store.read(after=0, limit=1) == []


async def test_the_first_request_of_a_window_can_be_above_the_limit(case: Case) -> None:
    generation = case.generation(count=5)
    outcome = await case.store.append(request_command(generation, daily=4))
    assert outcome == over_limit(generation, (4, 0), (None, 0))


async def test_a_limit_of_zero_lets_nothing_through(case: Case) -> None:
    generation = case.generation()
    outcome = await case.store.append(request_command(generation, daily=0))
    assert outcome == over_limit(generation, (0, 0), (None, 0))


async def test_exactly_the_limit_fits(case: Case) -> None:
    user = uuid4()
    first, second = case.generation(user_id=user, count=3), case.generation(user_id=user, count=2)
    assert isinstance(await case.store.append(request_command(first, daily=5)), Accepted)
    assert isinstance(await case.store.append(request_command(second, daily=5)), Accepted)
    third = await case.store.append(request_command(case.generation(user_id=user), daily=5))
    assert third == over_limit(first, (5, 5), (None, 5))


async def test_a_users_own_limit_wins_over_the_configured_one(case: Case) -> None:
    low, none = uuid4(), uuid4()
    await case.limit(low, daily=1)
    await case.limit(none, daily=None)
    generation = case.generation(user_id=low, count=2)
    refused = await case.store.append(request_command(generation, daily=100))
    assert refused == over_limit(generation, (1, 0), (None, 0))
    passed = await case.store.append(
        request_command(case.generation(user_id=none, count=2), daily=1)
    )
    assert isinstance(passed, Accepted)


async def test_units_go_back_to_the_recorded_window_even_when_it_is_over(case: Case) -> None:
    user, yesterday = uuid4(), windows_at(case.store.now() - timedelta(days=40))
    await case.store.append(Command(units=Units(user, -2, yesterday)))
    assert await case.units_taken(user, yesterday[0]) == -2
    assert await case.units_taken(user, windows_at(case.store.now())[0]) == 0


async def test_units_are_never_taken_from_a_window_that_is_not_open(case: Case) -> None:
    user, yesterday = uuid4(), windows_at(case.store.now() - timedelta(days=40))
    outcome = await case.store.append(Command(units=Units(user, 1, yesterday, {"daily": 9})))
    assert isinstance(outcome, WindowClosed)
    assert abs(outcome.now - case.store.now()) < timedelta(seconds=5)
    assert await case.units_taken(user, yesterday[0]) == 0


def owner(generation: Generation, window: Window) -> UUID:
    """Whose window of this generation it is."""
    mine = generation.end_user_id if window.is_end_users else generation.user_id
    assert mine is not None
    return mine


async def test_units_are_taken_from_the_user_and_the_end_user_or_from_neither(case: Case) -> None:
    generation = case.generation(count=3, end_user="customer 17")
    command = request_command(generation, daily=9, monthly=9, end_user_daily=3, end_user_monthly=2)
    outcome = await case.store.append(command)
    assert outcome == over_limit(generation, (9, 0), (9, 0), (3, 0), (2, 0))
    for window in generation.windows:
        assert await case.units_taken(owner(generation, window), window) == 0
    assert await case.store.read(after=0, limit=1) == []
    fits = request_command(case.generation(count=3, end_user="customer 17"), end_user_monthly=3)
    assert isinstance(await case.store.append(fits), Accepted)


async def test_a_users_full_quota_takes_nothing_from_the_end_user(case: Case) -> None:
    generation = case.generation(count=2, end_user="customer 17")
    outcome = await case.store.append(request_command(generation, daily=1, end_user_daily=2))
    assert outcome == over_limit(generation, (1, 0), (None, 0), (2, 0), (None, 0))
    end_users = generation.windows[2]
    assert await case.units_taken(owner(generation, end_users), end_users) == 0


async def test_end_users_of_one_user_have_a_quota_each(case: Case) -> None:
    user = uuid4()

    async def take(end_user: str | None, units: int) -> object:
        generation = case.generation(user_id=user, count=units, end_user=end_user)
        return await case.store.append(request_command(generation, end_user_daily=2))

    assert isinstance(await take("one", 2), Accepted)
    assert isinstance(await take("one", 1), OverLimit)
    assert isinstance(await take("other", 2), Accepted)
    assert isinstance(await take(None, 5), Accepted)
    assert await case.units_taken(user, windows_at(case.store.now())[0]) == 9


async def test_an_end_users_own_limit_wins_over_the_configured_one(case: Case) -> None:
    generation = case.generation(count=2, end_user="customer 17")
    assert generation.end_user_id is not None
    await case.limit_user(generation.end_user_id, "end-user-daily", 1)
    outcome = await case.store.append(request_command(generation, end_user_daily=100))
    assert outcome == over_limit(generation, (None, 0), (None, 0), (1, 0), (None, 0))


async def test_units_go_back_to_the_user_and_the_end_user(case: Case) -> None:
    generation = await case.placed(count=3, end_user="customer 17")
    generation.cancel(by=generation.user_id)
    units = units_given_back(generation)
    assert isinstance(await case.store.append(Command(events_of(generation), units)), Accepted)
    for window in generation.windows:
        assert await case.units_taken(owner(generation, window), window) == 0


async def test_commands_at_once_for_one_end_user_get_exactly_the_limit(case: Case) -> None:
    user = uuid4()
    generations = [case.generation(user_id=user, end_user="customer 17") for _ in range(40)]
    outcomes = await asyncio.gather(
        *(case.store.append(request_command(g, end_user_daily=25)) for g in generations)
    )
    told = [one.allowances[2].used for one in outcomes if isinstance(one, Accepted)]
    assert sorted(told) == list(range(1, 26)), "each was told of those before it and its own"
    assert sum(isinstance(o, OverLimit) for o in outcomes) == 15
    windows = generations[0].windows
    taken = [await case.units_taken(owner(generations[0], window), window) for window in windows]
    assert taken == [25, 25, 25, 25]
