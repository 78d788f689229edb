"""What makes repeats of a command one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from application.idempotency import Idempotency, NumberedSending
from application.ports.event_store import KEEP_KEYS, Sending

USER = uuid4()
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SAID = {"wish": "a fox"}


def of(secret: str, deadline: timedelta = timedelta(minutes=15)) -> Idempotency:
    made = Idempotency.of_sending(USER, NumberedSending(Sending(0, NOW), secret), SAID, deadline)
    assert made is not None
    return made


def test_sendings_share_a_fingerprint_that_needs_their_secret_and_never_a_key() -> None:
    assert of("sk-1").fingerprint == of("sk-1").fingerprint != of("sk-2").fingerprint
    assert of("sk-1").key != of("sk-1").key


def test_a_secret_is_never_shown() -> None:
    assert "sk-1" not in repr(NumberedSending(Sending(0, NOW), "sk-1"))


def test_sendings_are_known_as_long_as_an_answer_may_take_and_ten_minutes_more() -> None:
    assert of("sk-1").keep == timedelta(minutes=25)
    assert of("sk-1", deadline=timedelta(days=3)).keep == KEEP_KEYS
    assert of("sk-1").recorded.keep_seconds == 1500


def test_who_does_not_number_what_it_sends_has_none() -> None:
    assert Idempotency.of_sending(USER, None, SAID, timedelta(minutes=1)) is None
