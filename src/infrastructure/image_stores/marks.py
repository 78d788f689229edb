"""Which logs use an image store: a small object for each says all in its name."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from application.ports.images import Mark

FOLDER = "logs"
NAME = re.compile(r"([0-9a-f-]{36})\.([0-9]{1,19})\.([0-9]{1,18})")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def name_of(mark: Mark) -> str:
    """The log's identity, the position, and its time in microseconds."""
    return f"{mark.log}.{mark.position}.{(mark.recorded_at - EPOCH) // MICROSECOND}"


def mark_of(name: str) -> Mark | None:
    """The mark that has this name."""
    match = NAME.fullmatch(name)
    if match is None:
        return None
    return Mark(UUID(match[1]), int(match[2]), EPOCH + int(match[3]) * MICROSECOND)
