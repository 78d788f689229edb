"""What `make bench` and `make soak` conclude from what they measured."""

from __future__ import annotations

from xml.etree import ElementTree

from bench.chart import drawn
from bench.figures import MISSED, REACHED, Comparison, Goal, Latency
from bench.growth import Tolerance, growth

MINUTES = [60.0 * minute for minute in range(20)]
TOLERANCE = Tolerance(percent=5, at_least=1)


def test_a_ratio_is_the_median_of_the_rounds_beside_its_limit() -> None:
    compared = Comparison("ours", "theirs", (8.0, 9.0, 100.0), (10.0, 10.0, 10.0), at_least=0.9)
    (goal,) = compared.goals()
    assert (goal.measured, goal.reached) == (0.9, True)
    assert compared.line().reached == REACHED


def test_a_ratio_that_may_not_be_exceeded_is_missed_above_its_limit() -> None:
    compared = Comparison("ours", "theirs", (3.0, 3.0), (1.0, 1.0), at_most=2, unit=" ms")
    assert compared.line().reached == MISSED
    assert compared.line().limit == "at most 2 times"


def test_a_latency_is_reached_when_each_of_its_percentiles_is() -> None:
    times = (*[10.0] * 95, *[300.0] * 5)
    assert Latency("wait", times, at_most={50: 80, 95: 60}).line().reached == REACHED
    assert Latency("wait", times, (50, 99), at_most={50: 80, 99: 200}).line().reached == MISSED


def test_the_chart_draws_a_reached_goal_and_a_missed_one_on_either_side_of_the_limit() -> None:
    goals = [
        Goal("fast", 200, 100, "/s", at_least=True),
        Goal("a < b", 9, 3, " ms", at_least=False),
    ]
    bars = [e for e in ElementTree.fromstring(drawn(goals)).iter() if e.tag.endswith("rect")]
    assert [bar.get("class") for bar in bars] == ["reached", "missed"]
    reached, missed = bars
    assert reached.get("x") == str(float(missed.get("x", 0)) + float(missed.get("width", 0)))


def test_what_rises_to_a_level_and_stays_there_does_not_grow() -> None:
    values = [80.0 + 4 * min(minute, 8) for minute in range(20)]
    assert not growth("memory", MINUTES, values, TOLERANCE).grows


def test_what_rises_all_the_time_grows() -> None:
    values = [80.0 + minute for minute in range(20)]
    grown = growth("memory", MINUTES, values, TOLERANCE)
    assert (grown.grows, grown.added) == (True, 9.0)


def test_a_saw_tooth_and_a_strange_look_are_no_growth() -> None:
    values = [1000.0 * (minute % 3) for minute in range(20)]
    values[15] = 50_000
    assert not growth("dead rows", MINUTES, values, Tolerance(percent=50, at_least=100)).grows


def test_a_leak_too_slow_for_the_tolerance_is_tolerated_and_said() -> None:
    values = [100 + minute / 10 for minute in range(20)]
    grown = growth("files", MINUTES, values, Tolerance(percent=0, at_least=2))
    assert not grown.grows
    assert 0 < grown.added < grown.tolerated
