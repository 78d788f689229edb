"""Processes whose image store hangs, as on a dead server: `python -m tests.hanging_disk api`."""

from __future__ import annotations

import sys
import threading
from typing import Any, NoReturn

from infrastructure.image_stores import filesystem
from interfaces.cli.main import app

HANGING_DISK = ("tests.hanging_disk",)
TOLD = "the image store hangs"


def _hang(*_: Any) -> NoReturn:
    print(TOLD, file=sys.stderr, flush=True)
    while True:
        threading.Event().wait()


if __name__ == "__main__":
    filesystem.marks_in = _hang
    filesystem.FilesystemImageStore.path_of = _hang
    filesystem.FilesystemImageStore._put = _hang
    app(sys.argv[1:], prog_name="darkroom")
