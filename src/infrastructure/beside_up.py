"""What a running `darkroom up` leaves for the commands beside it: where its servers are."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

FILE = "servers"


class NotRunningError(Exception):
    """The servers of a `darkroom up` cannot be found; what is wrong, and the remedy."""

    def __init__(self, wrong: str, remedy: str) -> None:
        super().__init__(f"{wrong} {remedy}")
        self.wrong = wrong
        self.remedy = remedy


@contextlib.contextmanager
def left_for_others(folder: Path, addresses: Mapping[str, str]) -> Iterator[None]:
    """Keep addresses by their variables, passwords and all, in a private file of the folder.

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
        Path(unfinished).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(file)):
                path.unlink()
        os.close(file)


def addresses_left(folder: Path) -> dict[str, str]:
    """DARKROOM_URL, DATABASE_URL and REDIS_URL of what runs on this folder; empty, if nothing does.

    The two latter are there when the servers are embedded. Raises NotRunningError.
    """
    path = folder / FILE
    try:
        with open(path, "rb") as file:
            addresses: dict[str, str] = json.load(file) if _is_locked(file.fileno()) else {}
            return addresses
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise NotRunningError(
            f"What `darkroom up` left in {path} cannot be read ({error.strerror}).",
            "Be the user who runs it.",
        ) from error


def servers_left(folder: Path) -> dict[str, str]:
    """DATABASE_URL and REDIS_URL of what runs on this folder. Raises NotRunningError."""
    addresses = addresses_left(folder)
    if not addresses:
        raise NotRunningError(
            f"`darkroom up` does not run on {folder}.",
            "Start it, or set DATABASE_URL and REDIS_URL.",
        )
    if "DATABASE_URL" not in addresses:
        raise NotRunningError(
            f"`darkroom up` runs on {folder} with servers of yours.",
            "Set DATABASE_URL and REDIS_URL as you did for it.",
        )
    return {name: addresses[name] for name in ("DATABASE_URL", "REDIS_URL")}


def _is_locked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
