"""Windows of the quota."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.quota import Allowance, QuotaExceededError, Window, windows_at


@pytest.mark.parametrize(
    ("now", "day", "month", "next_month"),
    [
        ("2026-11-23T12:00:00+00:00", "2026-11-23", "2026-11-01", "2026-12-01"),
        ("2026-12-31T23:59:59.999999+00:00", "2026-12-31", "2026-12-01", "2027-01-01"),
        ("2028-02-29T00:00:00+00:00", "2028-02-29", "2028-02-01", "2028-03-01"),
        ("2026-11-01T00:30:00+09:00", "2026-10-31", "2026-10-01", "2026-11-01"),
    ],
)
def test_windows_are_the_day_and_the_month_in_utc(
    now: str, day: str, month: str, next_month: str
) -> None:
    daily, monthly = windows_at(datetime.fromisoformat(now))
    assert daily.starts_at == datetime.fromisoformat(day).replace(tzinfo=UTC)
    assert daily.ends_at == daily.starts_at + timedelta(days=1)
    assert monthly.starts_at == datetime.fromisoformat(month).replace(tzinfo=UTC)
    assert monthly.ends_at == datetime.fromisoformat(next_month).replace(tzinfo=UTC)


def test_an_end_users_windows_come_behind_the_users_and_span_the_same_time() -> None:
    windows = windows_at(datetime(2026, 11, 23, 12, tzinfo=UTC), end_user=True)

    assert [(w.type, w.is_end_users) for w in windows] == [
        ("daily", False),
        ("monthly", False),
        ("end-user-daily", True),
        ("end-user-monthly", True),
    ]
    spans = [(w.starts_at, w.ends_at) for w in windows]
    assert spans[2:] == spans[:2]


@settings(deadline=None)
@given(
    st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)),
    st.integers(-14, 14),
)
def test_every_moment_lies_in_both_of_its_windows(naive: datetime, hours: int) -> None:
    now = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    for window in windows_at(now):
        assert window.starts_at <= now < window.ends_at


@pytest.mark.parametrize(
    ("used", "asked", "never_fits", "remedy"),
    [
        (9, 2, False, "wait until the quota resets at 2026-11-24T00:00:00+00:00"),
        (0, 11, True, "waiting does not help"),
        (10, 10, False, "wait until"),
    ],
)
def test_waiting_is_the_remedy_only_where_it_helps(
    used: int, asked: int, never_fits: bool, remedy: str
) -> None:
    daily, _ = windows_at(datetime(2026, 11, 23, 12, tzinfo=UTC))

    error = QuotaExceededError([Allowance(daily, limit=10, used=used)], asked=asked)

    assert error.never_fits == never_fits
    assert remedy in str(error)


def test_of_several_windows_the_one_is_told_that_is_waited_for_longest() -> None:
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    day, month, end_users_day, end_users_month = windows_at(now, end_user=True)

    def told(*allowances: Allowance) -> Window:
        return QuotaExceededError(allowances, asked=2).told.window

    roomy, full = Allowance(month, 9, 0), Allowance(month, 9, 9)
    assert told(Allowance(day, 2, 1), roomy) == day
    assert told(Allowance(end_users_day, 2, 1), Allowance(day, 2, 1), roomy) == day
    assert told(Allowance(end_users_month, 2, 1), full) == month
    assert told(Allowance(day, 1, 0), full) == day, "waiting for the month does not help"


def test_all_windows_that_are_exceeded_are_known() -> None:
    day, month = windows_at(datetime(2026, 11, 23, 12, tzinfo=UTC))

    error = QuotaExceededError([Allowance(day, 2, 2), Allowance(month, None, 9)], asked=1)
    both = QuotaExceededError([Allowance(day, 2, 2), Allowance(month, 9, 9)], asked=1)

    assert [one.window for one in error.exceeded] == [day]
    assert [one.window for one in both.exceeded] == [day, month]


def test_nothing_is_left_where_the_limit_was_lowered_below_what_is_used() -> None:
    day, _ = windows_at(datetime(2026, 11, 23, 12, tzinfo=UTC))

    assert Allowance(day, 3, 7).remaining == 0
    assert "0 of 3 daily units are left" in str(QuotaExceededError([Allowance(day, 3, 7)], asked=1))
    assert Allowance(day, None, 7).remaining is None
    assert Allowance(day, 0, 0).remaining == 0


@pytest.mark.parametrize(
    ("window", "told", "never"),
    [
        (0, "1 of 3 daily units are left", "the daily limit is 3"),
        (3, "1 of the end user's 3 monthly units are left", "the end user's monthly limit is 3"),
    ],
)
def test_whose_quota_it_is_is_told(window: int, told: str, never: str) -> None:
    full = windows_at(datetime(2026, 11, 23, 12, tzinfo=UTC), end_user=True)[window]

    allowance = Allowance(full, limit=3, used=2)

    assert told in str(QuotaExceededError([allowance], asked=2))
    assert never in str(QuotaExceededError([allowance], asked=4))
