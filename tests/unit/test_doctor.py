"""What doctor says of what it has seen."""

from __future__ import annotations

from typing import Any

import pytest

from infrastructure.connection_budget import Budget, connections_of_each
from infrastructure.doctor import _connections, _read_model, _version

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
    ("usable", "others", "state"),
    [(97, 2, "ok"), (47, 2, "ok"), (46, 2, "degraded"), (97, 53, "degraded"), (31, 2, "failing")],
)
def test_connections_must_do_for_a_rolling_restart(usable: int, others: int, state: str) -> None:
    each = connections_of_each()
    assert (each["api"], each["worker"], each["projector"]) == (6, 6, 3)
    found = _connections(Budget(usable, {"api": 2, "worker": 2, "projector": 2}, others))
    assert found.state == state
    assert found.sentence.startswith(
        f"At work: 2 api, 2 worker, 2 projector; they take up to 30 of {usable} connections, "
        f"others have {others}."
    )
    assert (found.remedy is None) == (state == "ok")
    if found.remedy:
        missing = 30 + others + 15 - usable
        assert f"by {missing}, or run fewer processes." in found.remedy
