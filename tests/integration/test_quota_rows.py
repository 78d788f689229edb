"""What a user has used of the quota, read from the counters that the append keeps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from application.ports.event_store import Accepted, Command, OwnLimits
from domain.quota import Allowance, windows_at
from infrastructure.event_store.quota import PostgresQuota
from infrastructure.event_store.store import PostgresEventStore
from tests.generations import new_generation, request_command

LIMITS = {"daily": 10, "monthly": None}


@pytest.fixture
def quota(store: PostgresEventStore) -> PostgresQuota:
    return PostgresQuota(store.fetch, LIMITS)


async def take(store: PostgresEventStore, user_id: UUID, count: int) -> None:
    generation = new_generation(store.now(), user_id=user_id, count=count)
    assert isinstance(await store.append(request_command(generation)), Accepted)


async def test_before_the_first_request_nothing_is_used(quota: PostgresQuota) -> None:
    now = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)

    day, month = windows_at(now)
    assert await quota.of(uuid4(), now) == [Allowance(day, 10, 0), Allowance(month, None, 0)]


async def test_what_is_used_counts_in_both_windows_for_its_user_alone(
    store: PostgresEventStore, quota: PostgresQuota
) -> None:
    user = uuid4()
    await take(store, user, 3)
    await take(store, user, 4)
    await take(store, uuid4(), 1)

    daily, monthly = await quota.of(user, store.now())

    assert (daily.used, daily.remaining) == (7, 3)
    assert (monthly.used, monthly.remaining) == (7, None)


async def test_what_an_end_user_has_used_comes_behind_what_the_user_has(
    store: PostgresEventStore,
) -> None:
    generation = new_generation(store.now(), count=3, end_user="customer 17")
    assert isinstance(await store.append(request_command(generation)), Accepted)
    quota = PostgresQuota(store.fetch, {"daily": 10, "end-user-daily": 4})

    told = await quota.of(generation.user_id, store.now(), end_user_id=generation.end_user_id)
    other = await quota.of(generation.user_id, store.now(), end_user_id=uuid4())

    assert [(one.window.type, one.used, one.remaining) for one in told] == [
        ("daily", 3, 7),
        ("monthly", 3, None),
        ("end-user-daily", 3, 1),
        ("end-user-monthly", 3, None),
    ]
    assert [one.used for one in other] == [3, 3, 0, 0]


async def test_another_window_has_its_own_count(
    store: PostgresEventStore, quota: PostgresQuota
) -> None:
    user = uuid4()
    await take(store, user, 3)

    daily, monthly = await quota.of(user, store.now() + timedelta(days=32))

    assert (daily.used, monthly.used) == (0, 0)


@pytest.mark.parametrize(("limit", "remaining"), [(5, 2), (0, 0), (2, 0), (None, None)])
async def test_a_limit_of_ones_own_wins(
    store: PostgresEventStore,
    quota: PostgresQuota,
    limit: int | None,
    remaining: int | None,
) -> None:
    user = uuid4()
    await take(store, user, 3)
    await store.append(Command(limits=OwnLimits(user, {"daily": limit})))

    daily, _ = await quota.of(user, store.now())

    assert (daily.limit, daily.used, daily.remaining) == (limit, 3, remaining)
