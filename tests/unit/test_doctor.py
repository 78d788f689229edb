"""What doctor says of what it has seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infrastructure.connection_budget import Budget, connections_of_each
from infrastructure.doctor import _connections, _of_clocks, _read_model, _version
from infrastructure.read_models import discover

WELL: dict[str, Any] = {"behind": 0, "parked": 0, "error": None}


@pytest.mark.parametrize(
    ("number", "state", "sentence"),
    [
        (180004, "ok", "PostgreSQL 18.4 answers."),
        (160000, "ok", "PostgreSQL 16.0 answers."),
        (150012, "failing", "PostgreSQL 15.12 is older than 16."),
    ],
)
def test_postgres_must_be_16_or_newer(number: int, state: str, sentence: str) -> None:
    found = _version(number)
    assert (found.state, found.sentence) == (state, sentence)


@pytest.mark.parametrize(
    ("facts", "followed", "state", "sentence"),
    [
        ({}, True, "ok", "It is up to date."),
        ({"behind": 3}, True, "ok", "It is 3 events behind."),
        ({"behind": 1001}, True, "degraded", "It is 1001 events behind."),
        ({"behind": 3}, False, "failing", "Nobody leads it; it is 3 events behind."),
        ({"parked": 2}, True, "degraded", "2 aggregates are parked, because"),
        ({"error": "no space"}, True, "failing", "It stands still, up to date: no space"),
    ],
)
def test_a_read_model_is_judged_by_its_worst(
    facts: dict[str, Any], followed: bool, state: str, sentence: str
) -> None:
    found = _read_model("jobs", WELL | facts, followed=followed)
    assert (found.name, found.state) == ("read model jobs", state)
    assert found.sentence.startswith(sentence)
    assert (found.remedy is None) == (state == "ok")


@pytest.mark.parametrize(
    ("beside_all", "others", "state"),
    [(47, 2, "ok"), (0, 2, "ok"), (-1, 2, "degraded"), (-1, 53, "degraded"), (-99, 2, "failing")],
)
def test_connections_must_do_for_a_rolling_restart(
    beside_all: int, others: int, state: str
) -> None:
    each = connections_of_each()
    assert (each["api"], each["worker"], each["projector"]) == (6, 8, len(discover()))
    two, one = 2 * sum(each.values()), sum(each.values())
    usable = max(two + one + others + beside_all, two + others - 1)
    found = _connections(Budget(usable, {"api": 2, "worker": 2, "projector": 2}, others))
    assert found.state == state
    assert found.sentence.startswith(
        f"At work: 2 api, 2 worker, 2 projector; they take up to {two} of {usable} connections, "
        f"others have {others}."
    )
    assert (found.remedy is None) == (state == "ok")
    if found.remedy:
        missing = two + others + one - usable
        assert f"by {missing}, or run fewer processes." in found.remedy


@pytest.mark.parametrize(
    ("behind_event", "behind_machine", "state", "sentence"),
    [
        (-5, 59, "ok", "They agree."),
        (300, 0, "degraded", "PostgreSQL's clock is 300 seconds behind the newest event"),
        (-5, 61, "degraded", "The clocks of this machine and of PostgreSQL are 61 seconds apart"),
        (-5, -61, "degraded", "The clocks of this machine and of PostgreSQL are 61 seconds apart"),
    ],
)
def test_clocks_must_agree_and_not_be_behind_the_log(
    behind_event: int, behind_machine: int, state: str, sentence: str
) -> None:
    clock = datetime(2026, 11, 25, 12, tzinfo=UTC)
    newest = clock + timedelta(seconds=behind_event)
    found = _of_clocks(clock, newest, clock + timedelta(seconds=behind_machine))
    assert found.state == state
    assert found.sentence.startswith(sentence)
    assert (found.remedy is None) == (state == "ok")
