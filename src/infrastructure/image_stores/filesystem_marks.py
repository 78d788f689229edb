"""Which logs use the image store's folder: an empty file for each says all in its name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from application.ports.images import Mark

FOLDER = "logs"
NAME = re.compile(r"([0-9a-f-]{36})\.([0-9]{1,19})\.([0-9]{1,18})")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def name_of(mark: Mark) -> str:
    """The log's identity, the position, and its time in microseconds."""
    return f"{mark.log}.{mark.position}.{(mark.recorded_at - EPOCH) // MICROSECOND}"


def marks_in(folder: Path) -> Sequence[Mark]:
    """None where nobody has left one yet."""
    try:
        names = os.listdir(folder / FOLDER)
    except FileNotFoundError:
        return []
    found = [NAME.fullmatch(name) for name in sorted(names)]
    return [
        Mark(UUID(match[1]), int(match[2]), EPOCH + int(match[3]) * MICROSECOND)
        for match in found
        if match
    ]


def leave_mark(folder: Path, mark: Mark, instead_of: Sequence[Mark]) -> None:
    """Durable before the others are removed."""
    marks = folder / FOLDER
    marks.mkdir(mode=0o700, parents=True, exist_ok=True)
    (marks / name_of(mark)).touch(mode=0o600)
    for naming in (marks, folder, folder.parent):
        sync(naming)
    for other in instead_of:
        if other != mark:
            (marks / name_of(other)).unlink(missing_ok=True)


def sync(folder: Path) -> None:
    """Make durable which names are in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
