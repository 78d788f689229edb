"""Cursors: opaque to clients, and good for one log only."""

from __future__ import annotations

import base64
import binascii
from uuid import UUID

from interfaces.rest.errors import CursorRefusedError

POSITION_BYTES = 8


def encode(position: int, log: UUID) -> str:
    """Where a page ended."""
    raw = position.to_bytes(POSITION_BYTES, "big") + log.bytes
    return base64.urlsafe_b64encode(raw).decode()


def decode(cursor: str, log: UUID) -> int:
    """The position. Raises CursorRefusedError for one that this log did not give."""
    try:
        raw = base64.b64decode(cursor.encode("ascii"), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError) as error:
        raise CursorRefusedError from error
    position = int.from_bytes(raw[:POSITION_BYTES], "big")
    if raw[POSITION_BYTES:] != log.bytes or encode(position, log) != cursor or position >= 2**63:
        raise CursorRefusedError
    return position
