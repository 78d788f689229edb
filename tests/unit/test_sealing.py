"""What a browser keeps for us, sealed."""

from __future__ import annotations

import pytest

from infrastructure.sealing import Seal

SEAL = Seal("a secret of sixteen", "login attempts")


def test_what_was_sealed_is_opened_and_says_nothing_before() -> None:
    sealed = SEAL.close(b"who, when and where to")
    assert SEAL.open(sealed) == b"who, when and where to"
    assert "who" not in sealed
    assert SEAL.close(b"who") != SEAL.close(b"who")
    assert Seal("a secret of sixteen", "login attempts").open(sealed) is not None


@pytest.mark.parametrize(
    "seal", [Seal("another secret of it", "login attempts"), Seal("a secret of sixteen", "other")]
)
def test_another_secrets_or_purposes_seal_does_not_open_it(seal: Seal) -> None:
    assert seal.open(SEAL.close(b"x")) is None


@pytest.mark.parametrize("sealed", ["", "x", "é", "A" * 200])
def test_what_was_not_sealed_is_nothing(sealed: str) -> None:
    assert SEAL.open(sealed) is None


def test_what_was_cut_off_is_nothing() -> None:
    assert SEAL.open(SEAL.close(b"x")[:-2]) is None


def test_what_was_changed_is_nothing() -> None:
    sealed = SEAL.close(b"a place")
    middle = len(sealed) // 2
    other = "A" if sealed[middle] != "A" else "B"
    assert SEAL.open(sealed[:middle] + other + sealed[middle + 1 :]) is None
