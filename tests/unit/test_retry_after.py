"""Retry-After, as providers and whoever stands before them write it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from infrastructure.retry_after import LONGEST_WISH, wait_of


def asked(text: str) -> timedelta | None:
    return wait_of({"retry-after": text})


@pytest.mark.parametrize(("text", "seconds"), [("5", 5), ("0.5", 0.5), (" 90 ", 90)])
def test_seconds_are_heard(text: str, seconds: float) -> None:
    assert asked(text) == timedelta(seconds=seconds)


def test_a_date_is_heard() -> None:
    wait = asked(format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True))
    assert wait is not None
    assert timedelta(minutes=4) < wait <= timedelta(minutes=5)


@pytest.mark.parametrize("text", ["999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_nobody_is_waited_for_longer_than_an_hour(text: str) -> None:
    assert asked(text) == LONGEST_WISH == timedelta(hours=1)


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "0", "-5", "nan", "inf", "1e999"),
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "Wed, 21 Oct 99999999999999 07:28:00 GMT",
        "Wed, 21 Oct 2037 07:28:00 +99999999999999",
    ],
)
def test_what_says_nothing_or_no_wait_asks_for_none(text: str) -> None:
    assert asked(text) is None


def test_without_the_header_no_wait_is_asked_for() -> None:
    assert wait_of({}) is None
