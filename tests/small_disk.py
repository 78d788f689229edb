"""Disks that are small, full or read-only: real ones, in memory."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of that size at this folder, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _run("umount", "--lazy", str(folder))


def make_read_only(folder: Path, *, read_only: bool = True) -> None:
    """As a disk becomes that has errors."""
    _run("mount", "-o", "remount,ro" if read_only else "remount,rw", str(folder))


def fill(folder: Path) -> Path:
    """Take all that is left of the disk; the file that does."""
    path = folder / "filling"
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
    return path


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
