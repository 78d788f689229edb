"""Looking through the image store's folder, however much lies in it."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from application.ports import SeenObject, SeenObjects

KEY = re.compile(r"(images|references)/[A-Za-z0-9-]{1,64}/[A-Za-z0-9-]{1,128}\.(png|jpg|webp)")
KINDS = ("images", "references")
UNFINISHED = ".unfinished-"  # what is being written
HIDDEN = ".removing-"  # what is being removed if nobody has put it again
GIVEN_UP = timedelta(hours=1)  # no put takes that long


def seen_below(folder: Path, *, at_once: int) -> Iterator[SeenObjects]:
    """Every object below the folder, after each `at_once` entries what was seen until then.

    Holds no more in memory than that. What killed puts and removals left is cleared away.
    """
    objects: list[SeenObject] = []
    leftovers = looked_at = 0
    for path in _entries(folder):
        looked_at += 1
        if KEY.fullmatch(key := str(path.relative_to(folder))):
            with suppress(FileNotFoundError):
                objects.append(SeenObject(key, age_of(path)))
        else:
            leftovers += _clear_away(path)
        if looked_at == at_once:
            yield SeenObjects(objects, leftovers)
            objects, leftovers, looked_at = [], 0, 0
    yield SeenObjects(objects, leftovers)


def age_of(path: Path) -> timedelta:
    """How long ago it was put. Raises FileNotFoundError."""
    return timedelta(seconds=time.time() - path.stat().st_mtime)


def out_of_sight(path: Path) -> Path:
    """Where an object waits for its removal: nobody finds it under its key."""
    return path.with_name(f"{HIDDEN}{path.name}")


def back_into_sight(hidden: Path) -> None:
    """Under its key again, unless it was put anew meanwhile. Raises FileNotFoundError."""
    with suppress(FileExistsError):
        os.link(hidden, hidden.with_name(hidden.name.removeprefix(HIDDEN)))
    hidden.unlink()


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that nothing lies in any more; absent is no error."""
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
            raise


def _entries(folder: Path) -> Iterator[Path]:
    """Every folder two levels below, and behind it what lies in it."""
    for kind in KINDS:
        for inner in _inside(folder / kind):
            yield from _inside(inner)
            yield inner


def _inside(folder: Path) -> Iterator[Path]:
    try:
        entries = os.scandir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        yield from (Path(entry.path) for entry in entries)


def _clear_away(path: Path) -> int:
    """What is neither an object nor anybody's any more; how many files were removed."""
    with suppress(FileNotFoundError):
        if path.name.startswith(HIDDEN):
            back_into_sight(path)  # its remover was killed: it is looked at again
        elif path.name.startswith(UNFINISHED) and age_of(path) > GIVEN_UP:
            path.unlink()
            return 1
        elif path.parent.name in KINDS and path.is_dir():
            remove_if_empty(path)
    return 0
