"""What the headers Prefer and Idempotency-Key say."""

from __future__ import annotations

import pytest

from interfaces.rest.errors import MalformedIdempotencyKeyError
from interfaces.rest.headers import Patience, idempotency_key, patience

LONGEST = 55.0


@pytest.mark.parametrize(
    ("sent", "seconds", "asked", "respond_async"),
    [
        ([], LONGEST, False, False),
        (["respond-async"], 0, False, True),
        (["Respond-Async"], 0, False, True),
        (["wait=10"], 10, True, False),
        (["wait=0"], 0, True, False),
        (['wait="10"'], 10, True, False),
        (["wait=600"], LONGEST, True, False),
        (["respond-async, wait=10"], 10, True, True),
        (["respond-async", "wait=10"], 10, True, True),
        (["wait = 10 ; strictly"], 10, True, False),
        (["wait=10, wait=20"], 10, True, False),
        (["return=minimal, handling=lenient"], LONGEST, False, False),
        (["wait=soon"], LONGEST, False, False),
        (["wait=-1"], LONGEST, False, False),
        (["wait=1e3"], LONGEST, False, False),
        (["wait=" + "9" * 5000], LONGEST, True, False),
        (["wait=٣"], LONGEST, False, False),
        (['foo="a, wait=0, b"'], LONGEST, False, False),
        (['foo="a\\", wait=0, b", wait=5'], 5, True, False),
        (['foo="unfinished, wait=0'], LONGEST, False, False),
        (['wait=7; note="a, b"'], 7, True, False),
        (["=;,,\x00"], LONGEST, False, False),
    ],
)
def test_prefer_says_how_long_to_wait(
    sent: list[str], seconds: float, asked: bool, respond_async: bool
) -> None:
    assert patience(sent, longest=LONGEST) == Patience(seconds, asked, respond_async)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("sent", ["a{}a", "a{}=", "a={}(", "a={}b{}(", "a{};"])
def test_a_header_full_of_blanks_is_read_at_once(sent: str) -> None:
    blanks = " " * 30_000
    assert patience([sent.replace("{}", blanks)], longest=LONGEST).seconds == LONGEST


@pytest.mark.parametrize(
    ("sent", "ended", "applied"),
    [
        ([], True, None),
        ([], False, None),
        (["respond-async"], False, "respond-async"),
        (["wait=10"], True, "wait=10"),
        (["wait=600"], False, "wait=55"),
        (["respond-async, wait=10"], False, "respond-async, wait=10"),
        (["respond-async, wait=10"], True, "wait=10"),
    ],
)
def test_the_preference_that_was_applied_is_told(
    sent: list[str], ended: bool, applied: str | None
) -> None:
    assert patience(sent, longest=LONGEST).applied(ended=ended) == applied


@pytest.mark.parametrize(
    ("sent", "key"),
    [
        ([], None),
        (['"8e03978e-40d5-43dd-bc93"'], "8e03978e-40d5-43dd-bc93"),
        (["8e03978e-40d5-43dd-bc93"], "8e03978e-40d5-43dd-bc93"),
        ([' "with spaces" '], "with spaces"),
        ([r'"with \"quotes\" and \\"'], r'with "quotes" and \ '.rstrip()),
        (["x" * 255], "x" * 255),
    ],
)
def test_an_idempotency_key_comes_quoted_or_bare(sent: list[str], key: str | None) -> None:
    assert idempotency_key(sent) == key


@pytest.mark.parametrize(
    "sent",
    [
        [""],
        ['""'],
        ['"unfinished'],
        ['"two" "keys"'],
        ["two keys"],
        ["a,b"],
        ["one", "two"],
        ["x" * 256],
        ["schlüssel"],
        ['"tab\there"'],
        ['"key";a=1'],
        [r'"escaped \n"'],
    ],
)
def test_a_malformed_idempotency_key_is_refused(sent: list[str]) -> None:
    with pytest.raises(MalformedIdempotencyKeyError):
        idempotency_key(sent)
