"""A running `darkroom up` for tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infrastructure.settings import without_settings
from tests.e2e.stack import free_port
from tests.integration.test_embedded import until, working_below

DARKROOM = ("interfaces.cli.main", "up")
PATIENCE = 40.0  # seconds; it takes three when the machine has nothing else to do


@dataclass
class Up:
    """A `darkroom up` that is running; what it says goes to a file."""

    process: subprocess.Popen[bytes]
    data: Path
    port: int
    log: Path

    def said(self) -> str:
        return self.log.read_text()

    def until_ready(self) -> None:
        until(lambda: "Darkroom is ready." in self.said() or self.has_ended(), PATIENCE)
        assert not self.has_ended(), self.said()

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def ctrl_c(self) -> None:
        """As the terminal does: everybody in the group gets it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def status(self) -> int:
        return self.process.wait(PATIENCE)

    def get(self, path: str, key: str = "") -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {key}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            body: dict[str, Any] = json.load(answer)
            return body

    def is_all_well(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.get("/readyz")["status"] == "ready")
        return False


def start_up(
    folder: Path, *command: str, log: str = "up.log", port: int | None = None, **variables: str
) -> Up:
    """Start it, or another command in its place, with its data in this folder."""
    port = port or free_port()
    environment = without_settings(os.environ) | variables
    environment |= {"DARKROOM_DATA_DIR": str(folder / "data"), "DARKROOM_PORT": str(port)}
    with (folder / log).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *(command or DARKROOM)],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Up(process, folder / "data", port, folder / log)


@contextmanager
def ended(folder: Path, started: list[Up]) -> Iterator[None]:
    """End all of them after the block, whatever happened."""
    try:
        yield
    finally:
        for up in started:
            up.process.kill()
            up.process.wait()
        until(lambda: not working_below(folder))
