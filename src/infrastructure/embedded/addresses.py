"""Where the embedded servers of a running `darkroom up` are, for commands beside it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

FILE = "servers"


class NotRunningError(Exception):
    """No `darkroom up` runs on the data folder; the message says so in one sentence."""


@contextlib.contextmanager
def left_for_others(folder: Path, addresses: dict[str, str]) -> Iterator[None]:
    """Keep the addresses, passwords and all, in a private file of the folder.

    It is locked for as long as this process lives: a file without lock is a dead process's.
    """
    file, unfinished = tempfile.mkstemp(prefix=f"{FILE}-", dir=folder)  # mode 0600
    path = folder / FILE
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.write(file, json.dumps(addresses).encode())
        Path(unfinished).replace(path)
        yield
    finally:
        for name in (path, Path(unfinished)):
            name.unlink(missing_ok=True)
        os.close(file)


def addresses_left(folder: Path) -> dict[str, str]:
    """DATABASE_URL and REDIS_URL of the servers in this folder. Raises NotRunningError."""
    try:
        with open(folder / FILE, "rb") as file:
            if _is_locked(file.fileno()):
                addresses: dict[str, str] = json.load(file)
                return addresses
    except FileNotFoundError:
        pass
    except OSError as error:
        raise NotRunningError(
            f"The addresses of `darkroom up` in {folder / FILE} cannot be read"
            f" ({error.strerror}): be the user who runs it."
        ) from error
    raise NotRunningError(
        f"`darkroom up` does not run on {folder}: start it, or set DATABASE_URL and REDIS_URL."
    )


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
