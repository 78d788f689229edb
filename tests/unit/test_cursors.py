"""Cursors are opaque, and good for one log only."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest

from interfaces.rest.cursors import decode, encode
from interfaces.rest.errors import CursorRefusedError

LOG = UUID("0d2f0a39-2f0e-4a52-9f3c-0a3b6e9a8d11")


@pytest.mark.parametrize("position", [1, 42, 2**63 - 1])
def test_a_cursor_brings_back_its_position(position: int) -> None:
    assert decode(encode(position, LOG), LOG) == position


def test_a_cursor_of_another_log_is_refused() -> None:
    with pytest.raises(CursorRefusedError):
        decode(encode(42, UUID(int=1)), LOG)


@pytest.mark.parametrize(
    "made_up",
    [
        "",
        "42",
        "made-up",
        "ü",
        "\ud800",
        "A" * 100_000,
        encode(42, LOG) + "=",
        encode(42, LOG)[:-1],
        encode(42, LOG).lower(),
        " " + encode(42, LOG),
        base64.urlsafe_b64encode(b"\xff" * 8 + LOG.bytes).decode(),
    ],
)
def test_a_made_up_cursor_is_refused(made_up: str) -> None:
    with pytest.raises(CursorRefusedError):
        decode(made_up, LOG)
