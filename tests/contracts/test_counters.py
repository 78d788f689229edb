"""Sliding windows: in Redis, and in the memory of a process that Redis does not answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from application.rate_limits import Counters
from infrastructure.rate_limiting.counters import RedisCounters
from infrastructure.rate_limiting.own import OwnCounters
from infrastructure.redis_line import Line
from tests.gates import NOBODY_LISTENS
from tests.limits import HOUR, Moments, OwnOnly, let_pass, limit, redis_counters, until_refused

NEARLY = 0.995  # of a second: of the time that Redis lets pass, too, while a test runs


@dataclass
class Case:
    """Counters, and how time passes for them."""

    counters: Counters
    let_pass: Callable[[float], None]


@pytest.fixture(params=["own", "redis", "redis away"])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    moments = Moments()

    def tick(seconds: float) -> None:
        moments.now += seconds

    if request.param == "own":
        yield Case(OwnOnly(moments), tick)
    elif request.param == "redis":
        url = request.getfixturevalue("redis_url")
        shared = redis_counters(url)
        yield Case(shared, lambda seconds: let_pass(url, seconds))
        await shared.close()
    else:
        away = RedisCounters(NOBODY_LISTENS, line=Line(), own=OwnCounters(moments))
        yield Case(away, tick)
        await away.close()


async def test_so_many_fit_and_no_more(case: Case) -> None:
    assert await until_refused(case.counters, limit(3)) == 3


async def test_each_tells_how_many_more_there_are(case: Case) -> None:
    seen = [(await case.counters.take([limit(3)])).standings[0].remaining for _ in range(3)]
    assert seen == [2, 1, 0]


async def test_a_look_counts_nothing(case: Case) -> None:
    assert [(await case.counters.look([limit(1)])).fits for _ in range(3)] == [True] * 3
    await case.counters.take([limit(1)])
    assert not (await case.counters.look([limit(1)])).fits


async def test_each_has_a_count_of_their_own(case: Case) -> None:
    await case.counters.take([limit(1)])
    others = [limit(1, whose="b"), limit(1, kind="user"), limit(1, HOUR + 1)]
    assert (await case.counters.take(others)).fits


async def test_what_one_limit_refuses_counts_against_no_other(case: Case) -> None:
    wide, narrow = limit(10), limit(2, 60)
    assert await until_refused(case.counters, wide, narrow) == 2
    for _ in range(5):
        await case.counters.take([wide, narrow])
    told = (await case.counters.look([wide, narrow])).standings
    assert [one.remaining for one in told] == [8, 0]


async def test_whoever_used_all_up_at_once_waits_until_some_of_it_is_long_ago(case: Case) -> None:
    assert await until_refused(case.counters, limit(4)) == 4
    (told,) = (await case.counters.look([limit(4)])).standings
    assert told.wait == pytest.approx(HOUR, abs=60)

    case.let_pass(told.wait + NEARLY)
    assert await until_refused(case.counters, limit(4)) == 1
    (told,) = (await case.counters.look([limit(4)])).standings
    assert told.wait == pytest.approx(HOUR / 4, abs=60)


async def test_what_was_counted_fades_over_one_window_more(case: Case) -> None:
    for _ in range(100):
        await case.counters.take([limit(100)])
    case.let_pass(1.5 * HOUR)
    (told,) = (await case.counters.look([limit(100)])).standings
    assert told.remaining == pytest.approx(50, abs=2)
    case.let_pass(0.5 * HOUR)
    (told,) = (await case.counters.look([limit(100)])).standings
    assert told.remaining == 100


async def test_in_no_time_of_a_window_more_are_admitted_than_it_allows_by_much(case: Case) -> None:
    """All at the end of one window, and all at the beginning of the next: not twice as many."""
    await case.counters.take([limit(100)])
    case.let_pass(HOUR - 10)
    first = await until_refused(case.counters, limit(100))
    case.let_pass(20)
    assert first == 99
    assert await until_refused(case.counters, limit(100)) <= 2


async def test_a_limit_that_was_lowered_holds_at_once(case: Case) -> None:
    for _ in range(5):
        await case.counters.take([limit(10)])
    tally = await case.counters.take([limit(3)])
    assert (tally.fits, tally.standings[0].remaining) == (False, 0)
    assert tally.standings[0].wait > HOUR
