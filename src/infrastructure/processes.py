"""Child processes that are started, kept alive and ended together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from infrastructure.leash import leashed

log = logging.getLogger(__name__)

LONGEST_LINE = 65_536  # bytes; a longer one is passed on in parts
SECONDS_FOR_LAST_LINES = 1.0


@dataclass
class Backoff:
    """The pauses before a restart, in seconds: they double while what was started dies young."""

    shortest: float = 0.2
    longest: float = 5.0
    grown_up: float = 10.0
    _pause: float = field(default=0.0, init=False)

    def pause_after(self, lived: float) -> float:
        """Return how long to wait after something that lived so many seconds."""
        is_young = lived < self.grown_up
        self._pause = min(max(self._pause * 2, self.shortest), self.longest)
        if not is_young:
            self._pause = self.shortest
        return self._pause


class Supervisor:
    """Keeps one process for each named command: whichever ends is started again, after a pause.

    The processes end with the thread that runs the event loop, also when that is killed. `grace`
    says for how many seconds `stop` waits for each, 10 unless said. On a terminal every line of
    theirs gets the name of its process, elsewhere they write to our output themselves.
    """

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        env: Mapping[str, str],
        *,
        grace: Mapping[str, float] | None = None,
    ) -> None:
        width = max(map(len, commands), default=0)
        self._children = [
            _Child(name, command, env, prefix=f"{name:{width}} | ", grace=(grace or {}).get(name))
            for name, command in commands.items()
        ]

    async def start(self) -> None:
        """Start all of them."""
        for child in self._children:
            child.start()

    async def stop(self) -> None:
        """End them one after the other, in the order of the commands."""
        for child in self._children:
            await child.stop()

    def kill(self) -> None:
        """End all of them at once, as kill -9 does; `stop` then has nothing to wait for."""
        for child in self._children:
            child.kill()


class _Child:
    """One command, which is run again and again until told to stop."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        prefix: str,
        grace: float | None,
    ) -> None:
        self._name = name
        self._command = leashed(command, signal.SIGKILL)
        self._env = {**env, "PYTHONUNBUFFERED": "1"}
        self._prefix = prefix
        self._grace = 10.0 if grace is None else grace
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._running = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        if self._running is None:
            return
        self._stopping.set()
        self._send(signal.SIGTERM)
        _, late = await asyncio.wait([self._running], timeout=self._grace)
        if late:
            facts = {"child": self._name, "seconds": self._grace}
            log.warning("a process did not end in time and is killed", extra=facts)
            self._send_to_group(signal.SIGKILL)
        await self._running

    def kill(self) -> None:
        self._stopping.set()
        self._send_to_group(signal.SIGKILL)

    async def _run(self) -> None:
        backoff = Backoff()
        with (
            _Output(sys.stdout, self._prefix) as stdout,
            _Output(sys.stderr, self._prefix) as stderr,
        ):
            while not self._stopping.is_set():
                began = time.monotonic()
                end = await self._run_once(stdout, stderr)
                if not self._stopping.is_set():
                    pause = backoff.pause_after(time.monotonic() - began)
                    facts = {"child": self._name, "end": end, "pause": pause}
                    log.warning("a process ended by itself and is started again", extra=facts)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), pause)

    async def _run_once(self, stdout: _Output, stderr: _Output) -> str:
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout.target,
                stderr=stderr.target,
                start_new_session=True,  # the terminal's Ctrl-C is for its parent alone
            )
        except OSError as error:  # no memory, no process left to be had
            return f"not started: {error.strerror}"
        return await self._end_of(self._process)

    async def _end_of(self, process: asyncio.subprocess.Process) -> str:
        if self._stopping.is_set():  # told so while it was being started
            self._send(signal.SIGTERM)
        try:
            return _told(await process.wait())
        finally:
            self._send_to_group(signal.SIGKILL)  # what it had started itself
            self._process = None

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _send_to_group(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


class _Output:
    """Where a child writes: to our own stream, or to a pipe whose lines get a prefix on the way.

    The pipe outlives the child's restarts. A thread reads it, so that a terminal that was halted
    (Ctrl-S) halts nothing else.
    """

    def __init__(self, stream: TextIO, prefix: str) -> None:
        self._stream = stream
        self._prefix = prefix.encode()
        self.target: int | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> _Output:
        if self._stream.isatty():
            source, self.target = os.pipe()
            self._thread = threading.Thread(target=self._pass_on, args=(source,), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.target is not None and self._thread is not None:
            os.close(self.target)
            self._thread.join(SECONDS_FOR_LAST_LINES)

    def _pass_on(self, source: int) -> None:
        with open(source, "rb") as lines:
            while line := lines.readline(LONGEST_LINE):
                with contextlib.suppress(OSError):  # the terminal is gone; the child goes on
                    self._stream.buffer.write(self._prefix + line)
                    self._stream.buffer.flush()


def _told(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
