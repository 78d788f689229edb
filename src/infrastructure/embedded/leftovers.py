"""What an earlier PostgreSQL left in a data folder: processes that still work there, a lock file.

Either would keep the next one from starting. Whoever calls this holds the folder's lock, so that
whatever still works there belongs to nobody.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

from infrastructure.embedded.errors import EmbeddedServerError

SECONDS_BETWEEN_LOOKS = 0.02

# They notice the end of their parent by themselves, unless they are busy, stopped or stuck.
_ONLY_LOOK = 0  # the signal that does nothing
_PATIENCE = ((_ONLY_LOOK, 0.5), (signal.SIGQUIT, 1.0), (signal.SIGKILL, 5.0))  # seconds after each


def end_leftovers(data: Path) -> None:
    """Wait for PostgreSQL's processes that still work in this data folder, then end them."""
    for way, seconds in _PATIENCE:
        for process in _working_in(data):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, way)
        if _are_gone(data, seconds):
            return
    raise EmbeddedServerError(
        f"PostgreSQL's processes {_working_in(data)} still work in {data} and cannot be ended:"
        " end them, or set DARKROOM_DATA_DIR to another folder."
    )


def clear_stale_lock(data: Path) -> None:
    """Remove a lock file that PostgreSQL would not dare to remove.

    It clears the lock of a process that is gone by itself, with the shared memory noted there; it
    stops at an empty one, and at one whose number has meanwhile been given to another process.
    """
    lock = data / "postmaster.pid"
    with contextlib.suppress(FileNotFoundError):
        number = lock.read_text(errors="replace").partition("\n")[0].strip().lstrip("-")
        if not number.isdecimal() or Path("/proc", number).exists():
            lock.unlink()


def _are_gone(data: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _working_in(data):
        if time.monotonic() > deadline:
            return False
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return True


def _working_in(data: Path) -> list[int]:
    try:
        folder = data.stat()
    except FileNotFoundError:
        return []
    processes = (entry for entry in os.scandir("/proc") if entry.name.isdecimal())
    return [int(entry.name) for entry in processes if _works_in(entry.path, folder)]


def _works_in(process: str, folder: os.stat_result) -> bool:
    try:  # one that has ended, or that belongs to somebody else, cannot be looked at
        name = Path(process, "comm").read_text(errors="replace").strip()
        return name == "postgres" and os.path.samestat(os.stat(f"{process}/cwd"), folder)
    except OSError:
        return False
