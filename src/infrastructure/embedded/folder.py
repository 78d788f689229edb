"""What surrounds every embedded server: a private folder, its lock and log, the environment."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from infrastructure.embedded.errors import DataFolderInUseError, EmbeddedServerError

LARGEST_OLD_LOG = 5_000_000  # bytes
LONGEST_START = 1_000_000  # bytes that a server may say of one start


def make_private(folder: Path) -> None:
    """Create a folder, or take an existing one, for this user only."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise EmbeddedServerError(
            f"The folder {folder} cannot be created or made private ({error.strerror}):"
            " set DARKROOM_DATA_DIR to a folder that is yours."
        ) from error


def clean_environment() -> dict[str, str]:
    """Return what a server's program inherits: the way to programs, but nobody's PGOPTIONS."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


class FolderLock:
    """Keeps a folder for one process; the kernel takes the lock back however the process ends."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._file: int | None = None

    def take(self) -> None:
        """Take the lock unless this object has it; raise DataFolderInUseError if another has it."""
        if self._file is not None:
            return
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.read(file, 20).decode() or "unknown"
            os.close(file)
            raise DataFolderInUseError(
                f"Another Darkroom (process {owner}) uses the data folder {self._path.parent}:"
                " stop it, or set DARKROOM_DATA_DIR to another folder."
            ) from error
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        self._file = file

    def release(self) -> None:
        """Give the folder back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class ServerLog:
    """The file that a server writes to, and the part of it that belongs to the latest start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = 0

    @contextlib.contextmanager
    def opened(self) -> Iterator[int]:
        """Open the file for a new start; a large old one is put aside, the one before is gone."""
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_size > LARGEST_OLD_LOG:
                self._path.replace(self._path.with_suffix(".log.1"))
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._start = os.fstat(file).st_size
        try:
            yield file
        finally:
            os.close(file)

    def since_start(self) -> str:
        """Return what the server has said since its latest start."""
        with self._path.open("rb") as file:
            file.seek(self._start)
            return file.read(LONGEST_START).decode(errors="replace")

    def last_words(self) -> str:
        """Return the last lines since the latest start, for an error message."""
        return quoted(self.since_start())


def quoted(output: str) -> str:
    """Return the last lines of a program's output, indented, for an error message."""
    lines = output.strip().splitlines()[-8:]
    return "\n".join(f"  {line}" for line in lines) or "  (it said nothing)"
