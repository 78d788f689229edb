"""Real processes of Darkroom for tests: started, killed, looked at."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infrastructure.settings import without_settings

ADMIN_KEY = "an-administrators-key-for-tests"
SECONDS_TO_WAIT = 30.0
DARKROOM = ("interfaces.cli.main",)


class Process:
    """One `darkroom` process in a session of its own; its output goes to a file."""

    def __init__(
        self, name: str, environment: dict[str, str], log: Path, program: Sequence[str] = DARKROOM
    ) -> None:
        self.name, self.log = name, log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *program, name],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """As kill -9 does."""
        self._process.kill()
        self._process.wait()

    def stop(self, within: float = SECONDS_TO_WAIT) -> int:
        """As a deploy does; its exit status."""
        self._process.terminate()
        return self._process.wait(within)

    def wait(self, within: float = SECONDS_TO_WAIT) -> int:
        """Until it has ended by itself or by a signal; its exit status."""
        return self._process.wait(within)

    def ended(self) -> bool:
        return self._process.poll() is not None

    def entries(self) -> list[dict[str, Any]]:
        """Its log, an entry a line."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


class Processes:
    """Starts processes that share one environment, and ends all of them."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.ledger = folder / "ledger.jsonl"
        self.environment = without_settings(os.environ) | {
            "DARKROOM_DATA_DIR": str(self.data),
            "DARKROOM_SKETCH_LEDGER": str(self.ledger),
            "DARKROOM_LOG_FORMAT": "json",
            "DARKROOM_LEAVE_SECONDS": "0",
            **settings,
        }
        self.started: list[Process] = []

    def start(self, name: str, *, program: Sequence[str] = DARKROOM, **settings: str) -> Process:
        log = self.folder / f"{name}-{len(self.started)}.log"
        process = Process(name, self.environment | settings, log, program)
        self.started.append(process)
        return process

    def calls(self, event: str = "called") -> list[dict[str, Any]]:
        """What the sketch provider counted on its side."""
        if not self.ledger.exists():
            return []
        lines = [json.loads(line) for line in self.ledger.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]

    def end(self) -> None:
        for process in self.started:
            if not process.ended():
                process.send(signal.SIGCONT)
                process.kill()


@contextmanager
def processes(folder: Path, **settings: str) -> Iterator[Processes]:
    running = Processes(folder, **settings)
    try:
        yield running
    finally:
        running.end()


async def eventually(
    condition: Callable[[], Awaitable[Any]], *, within: float = SECONDS_TO_WAIT, why: str = ""
) -> Any:
    """The first true answer of `condition`; fails when there is none within so many seconds."""
    give_up_at = time.monotonic() + within
    while not (answer := await condition()):
        assert time.monotonic() < give_up_at, f"not within {within} s: {why}"
        await asyncio.sleep(0.01)
    return answer
