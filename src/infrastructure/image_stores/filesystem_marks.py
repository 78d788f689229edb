"""Marks in the image store's folder, as empty files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from application.ports.images import Mark
from infrastructure.image_stores.marks import FOLDER, mark_of, name_of


def marks_in(folder: Path) -> Sequence[Mark]:
    """None where nobody has left one yet."""
    try:
        names = os.listdir(folder / FOLDER)
    except FileNotFoundError:
        return []
    return [mark for name in sorted(names) if (mark := mark_of(name))]


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
