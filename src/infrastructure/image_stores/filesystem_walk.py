"""Looking through the image store's folder, however much lies in it."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from application.ports.images import SeenObject, SeenObjects
from infrastructure.image_stores.keys import KEY

KINDS = ("images", "references")
UNFINISHED = ".unfinished-"  # what is being written
HIDDEN = ".removing-"  # what is being removed if nobody has put it again
GIVEN_UP = timedelta(hours=1)  # no put takes that long


def seen_below(folder: Path, *, at_once: int) -> Iterator[SeenObjects]:
    """Every object below the folder, after each `at_once` entries what was seen until then.

    Holds no more in memory than that. What killed puts and removals left is cleared away; what
    cannot be read is passed by.
    """
    seen = _Seen()
    for path in _entries(folder, seen):
        seen.look_at(path, key=str(path.relative_to(folder)))
        if seen.looked_at == at_once:
            yield seen.told()
    yield seen.told()


class _Seen:
    """What was seen since it was last told."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self.objects: list[SeenObject] = []
        self.leftovers = self.unreadable = self.looked_at = 0

    def look_at(self, path: Path, *, key: str) -> None:
        self.looked_at += 1
        try:
            if KEY.fullmatch(key):
                self.objects.append(SeenObject(key, age_of(path)))
            else:
                self.leftovers += _clear_away(path)
        except FileNotFoundError:  # it has just been removed
            pass
        except OSError:
            self.unreadable += 1

    def told(self) -> SeenObjects:
        seen = SeenObjects(self.objects, self.leftovers, self.unreadable)
        self._start()
        return seen


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


def _entries(folder: Path, seen: _Seen) -> Iterator[Path]:
    """Every folder two levels below, and behind it what lies in it."""
    for kind in KINDS:
        for inner in _inside(folder / kind):
            try:
                yield from _inside(inner)
            except OSError:
                seen.unreadable += 1
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
