"""What the command line makes of times, names and what somebody wrote."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from interfaces.cli.endings import CommandError
from interfaces.cli.follow import sentence
from interfaces.cli.history import time_of
from interfaces.cli.saving import Destination
from interfaces.cli.terminal import ago, printable, shortened

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2h", "2026-11-25T10:00:00Z"),
        ("7d", "2026-11-18T12:00:00Z"),
        ("90 min", "2026-11-25T10:30:00Z"),
        ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00Z"),
    ],
)
def test_times_are_ages_or_rfc_3339(text: str, moment: str) -> None:
    assert time_of("--after", text, NOW) == moment


@pytest.mark.parametrize("text", ["soon", "2 fortnights", "99999999999w", "2026-13-01"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(CommandError, match="--after must be a time such as"):
        time_of("--after", text, NOW)


@pytest.mark.parametrize(
    ("moment", "word"),
    [
        ("2026-11-25T12:00:01Z", "0 s ago"),
        ("2026-11-25T11:59:01Z", "59 s ago"),
        ("2026-11-25T11:00:01Z", "59 min ago"),
        ("2026-11-24T12:00:01Z", "23 h ago"),
        ("2026-11-01T00:00:00Z", "24 d ago"),
    ],
)
def test_ages_are_one_word(moment: str, word: str) -> None:
    assert ago(moment, NOW) == word


def test_what_somebody_wrote_moves_no_cursor() -> None:
    assert printable("red\x1b[31m\x9b1m\n and\u202e so on") == "red�[31m�1m and� so on"
    assert shortened("a lighthouse", 6) == "a lig…"


def test_a_generations_pictures_are_named_after_it() -> None:
    image = {"contentType": "image/jpeg"}
    one, two = {"id": "7", "images": [image]}, {"id": "7", "images": [image] * 2}
    assert Destination.of("album").path_of(one, 1) == Path("album/7-1.jpg")
    assert Destination.of("fox.jpeg").path_of(one, 1) == Path("fox.jpeg")
    assert Destination.of("fox.png").path_of(one, 1) == Path("fox.jpg")
    assert Destination.of("album/fox.jpg").path_of(two, 2) == Path("album/fox-2.jpg")
    assert Destination.of("v1.png/").folder == Path("v1.png")


def test_what_happens_is_told_in_sentences() -> None:
    queued = {"place": None, "reason": "workers-busy", "detail": "All 8 places are taken."}
    assert sentence("queue", queued) == "Queued: All 8 places are taken."
    failed = {"data": {"call": 2, "message": "It refused.", "retryAt": None}}
    assert sentence("generation.call_failed", failed) == "Call 2 failed: It refused."
    assert sentence("generation.something_new", {"data": {}}) is None
