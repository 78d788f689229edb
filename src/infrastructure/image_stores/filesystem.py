"""The image store on a folder of this machine, or of a disk that several machines share."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import uuid4

from application.ports.images import (
    ImageKeyRefusedError,
    ImageNotFoundError,
    ImageStoreUnavailableError,
    Mark,
    ObjectDiffersError,
    SeenObjects,
)
from domain.image import ContentType
from infrastructure.image_stores.filesystem_marks import leave_mark, marks_in, sync
from infrastructure.image_stores.filesystem_walk import (
    UNFINISHED,
    age_of,
    back_into_sight,
    out_of_sight,
    remove_if_empty,
    seen_below,
)
from infrastructure.image_stores.keys import checked, is_public

P = ParamSpec("P")
T = TypeVar("T")

TIMES_A_FOLDER_MAY_VANISH = 10


class FilesystemImageStore:
    """Objects as files below `folder`, images being served at `public_url`.

    An object appears under its key whole and durable or not at all. What a crash leaves behind is
    named `.unfinished-...` and is removed by a later walk.
    """

    def __init__(self, folder: Path, public_url: str) -> None:
        self._folder, self._public_url = folder.absolute(), public_url.rstrip("/")
        self._named_durably: set[Path] = set()  # of the two upper folders, by this process

    async def put(self, key: str, data: bytes, content_type: ContentType) -> None:  # noqa: ARG002  # the extension of the key says it
        """Store durably; the same bytes again are no error, and make the object young again.

        Raises ImageStoreUnavailableError, ObjectDiffersError, ImageKeyRefusedError.
        """
        await _in_thread(self._put, self._path(key), data)

    async def get(self, key: str) -> bytes:
        """Raises ImageNotFoundError, ImageStoreUnavailableError, ImageKeyRefusedError."""
        return await _in_thread(_read, self._path(key))

    async def holds(self, key: str, *, sha256: str) -> bool:
        """Whether exactly these bytes can be read there, by reading them."""
        return await _in_thread(_holds, self._path(key), sha256)

    async def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; absent ones are no error."""
        await _in_thread(self._delete, [self._path(key) for key in keys])

    async def walk(self, *, at_once: int) -> AsyncGenerator[SeenObjects]:
        """Look at every object, in the order of the disk, at most `at_once` entries at a time."""
        found = seen_below(self._folder, at_once=at_once)
        while (seen := await _in_thread(next, found, None)) is not None:
            yield seen

    async def forget(self, key: str, *, older_than: timedelta) -> bool:
        """Remove an object unless it was put within that time; whether it was removed."""
        return await _in_thread(self._forget, self._path(key), older_than)

    async def marks(self) -> Sequence[Mark]:
        """Those that logs have left here, as empty files of the folder `logs`."""
        return await _in_thread(marks_in, self._folder)

    async def mark(self, mark: Mark, *, instead_of: Sequence[Mark] = ()) -> None:
        """Leave a mark durably, then remove others."""
        await _in_thread(leave_mark, self._folder, mark, instead_of)

    async def close(self) -> None:
        """There is nothing to let go of."""

    def url(self, key: str) -> str:
        """The permanent public URL of an image; references have none."""
        if not is_public(key):
            raise ImageKeyRefusedError
        return f"{self._public_url}/{key}"

    def path_of(self, key: str) -> Path | None:
        """The file of an object, to serve it; None when there is none, whatever the key looks like.

        Blocks for as long as a look at the disk takes. Raises ImageStoreUnavailableError.
        """
        try:
            path = self._path(key).resolve(strict=True)
            inside = path.is_file() and path.is_relative_to(self._folder.resolve())
        except (FileNotFoundError, NotADirectoryError, ImageKeyRefusedError):
            return None
        except OSError as error:
            raise _refused(error) from None
        return path if inside else None

    def _path(self, key: str) -> Path:
        return self._folder / checked(key)

    def _put(self, path: Path, data: bytes) -> None:
        for _ in range(TIMES_A_FOLDER_MAY_VANISH):
            try:
                return self._write(path, data)
            except FileNotFoundError:  # the last object of the folder was just deleted, and it too
                continue
        return self._write(path, data)

    def _write(self, path: Path, data: bytes) -> None:
        self._make_folders(path.parent)
        with _unfinished(path.parent, data) as written:
            try:
                os.link(written, path)
            except FileExistsError:
                if path.read_bytes() != data:
                    raise ObjectDiffersError from None
                _make_young(path)
        # Even when all of it was there: another process may not have synced it yet.
        self._sync_folders(path.parent)

    def _delete(self, paths: Sequence[Path]) -> None:
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in {path.parent for path in paths}:
            remove_if_empty(folder)
            self._sync_folders(folder)

    def _forget(self, path: Path, older_than: timedelta) -> bool:
        """Out of sight first: who puts it from now on makes it anew, who did before is seen."""
        hidden = out_of_sight(path)
        try:
            if age_of(path) <= older_than:
                return False
            path.rename(hidden)
            if age_of(hidden) <= older_than:
                back_into_sight(hidden)
                return False
        except FileNotFoundError:  # somebody else removes it
            return False
        self._delete([hidden])
        return True

    def _make_folders(self, folder: Path) -> None:
        if folder.is_dir():
            return
        if not self._folder.is_dir():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync(self._folder.parent)
        if not folder.parent.is_dir():
            self._named_durably.discard(folder.parent)
            folder.parent.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)

    def _sync_folders(self, folder: Path) -> None:
        """The folder that names the object, the one that names that, and once the one above."""
        above = () if folder.parent in self._named_durably else (self._folder,)
        for naming in (folder, folder.parent, *above):
            with suppress(FileNotFoundError):
                sync(naming)
        self._named_durably.add(folder.parent)


@contextmanager
def _unfinished(folder: Path, data: bytes) -> Iterator[Path]:
    """The bytes as a durable file without its name yet."""
    path = folder / f"{UNFINISHED}{uuid4()}"
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def _make_young(path: Path) -> None:
    """Raises FileNotFoundError when it has just been removed as too old."""
    os.utime(path)
    path.stat()  # it may have been taken out of sight a moment before, and its age seen then


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageNotFoundError("No object lies under this key.") from None


def _holds(path: Path, sha256: str) -> bool:
    try:
        return hashlib.sha256(_read(path)).hexdigest() == sha256
    except ImageNotFoundError:
        return False


async def _in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Disk work outside the event loop; what the disk refuses is said without naming a path."""
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except OSError as error:
        raise _refused(error) from None


def _refused(error: OSError) -> ImageStoreUnavailableError:
    return ImageStoreUnavailableError(
        f"The image store's disk refused: {os.strerror(error.errno or 0)}. "
        "Look at its free space, its permissions and whether it is mounted."
    )
