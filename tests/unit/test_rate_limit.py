"""What is left of the quota, as headers tell it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from domain.quota import Allowance, QuotaExceededError, windows_at
from interfaces.rest.problems import told_of
from interfaces.rest.rate_limit import parameterized, rate_limit

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY, MONTH, END_USERS_DAY, END_USERS_MONTH = windows_at(NOW, end_user=True)


def test_each_window_with_a_limit_is_a_policy() -> None:
    headers = rate_limit([Allowance(DAY, 500, 3), Allowance(MONTH, 10_000, 4_000)], NOW)

    assert headers == {
        "RateLimit-Policy": '"daily";q=500;w=86400;darkroom-unit="images", '
        '"monthly";q=10000;w=2592000;darkroom-unit="images"',
        "RateLimit": '"daily";r=497;t=43200, "monthly";r=6000;t=648000',
    }


def test_windows_without_a_limit_are_left_out() -> None:
    end_users = [Allowance(END_USERS_DAY, 3, 3), Allowance(END_USERS_MONTH, None, 3)]
    users = [Allowance(DAY, None, 3), Allowance(MONTH, None, 3)]

    headers = rate_limit([*users, *end_users], NOW)

    assert headers["RateLimit-Policy"] == '"end-user-daily";q=3;w=86400;darkroom-unit="images"'
    assert headers["RateLimit"] == '"end-user-daily";r=0;t=43200'
    assert rate_limit(users, NOW) == rate_limit([], NOW) == {}


def test_nothing_is_left_of_a_limit_that_was_lowered_below_what_is_used() -> None:
    assert rate_limit([Allowance(DAY, 3, 7)], NOW)["RateLimit"] == '"daily";r=0;t=43200'


def test_a_window_that_is_over_is_not_told_of() -> None:
    both = [Allowance(DAY, 500, 3), Allowance(MONTH, 10_000, 3)]
    tomorrow = DAY.ends_at

    assert rate_limit(both, tomorrow)["RateLimit"] == '"monthly";r=9997;t=604800'
    assert rate_limit(both, MONTH.ends_at) == {}
    assert rate_limit(both, tomorrow - timedelta(milliseconds=1))["RateLimit"].startswith(
        '"daily";r=497;t=1,'
    )


@pytest.mark.parametrize("before", [timedelta(0), timedelta(milliseconds=1), timedelta(hours=3.7)])
def test_who_is_refused_is_to_come_back_when_no_exceeded_window_is_left(before: timedelta) -> None:
    now = NOW - before
    day, month = Allowance(DAY, 2, 2), Allowance(MONTH, 3, 3)

    def answer(*allowances: Allowance) -> dict[str, str]:
        return told_of(QuotaExceededError(allowances, asked=1), now=lambda: now).headers

    for refused, waited_for in (([day], '"daily";r=0'), ([day, month], '"monthly";r=0')):
        headers = answer(*refused)
        assert f"{waited_for};t={headers['Retry-After']}" in headers["RateLimit"]


def test_a_structured_field_can_name_anything_printable() -> None:
    told = parameterized({'a "b" \\': {"q": 1, "of": 'x"y'}, "c": {}})

    assert told == '"a \\"b\\" \\\\";q=1;of="x\\"y", "c"'
