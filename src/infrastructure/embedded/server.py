"""An embedded server: one process, one private folder, one port of the loopback address."""

import contextlib
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from infrastructure.embedded.errors import EmbeddedServerError
from infrastructure.embedded.folder import FolderLock, ServerLog, clean_environment, make_private

# Above the ports of well-known services, below those that Linux gives to outgoing connections:
# nobody's connection takes the port of a server that is restarting.
PORTS = range(20_000, 32_000)
PORTS_TO_TRY = 5
SECONDS_BETWEEN_LOOKS = 0.01

# Linux ends a leashed child with the thread that forked it: this one lives as long as the process.
_forking = ThreadPoolExecutor(max_workers=1, thread_name_prefix="forking")


class EmbeddedServer(ABC):
    """A server that ends with this process, however that ends; errors are EmbeddedServerError."""

    name: ClassVar[str]
    seconds_to_start: ClassVar[float]
    ways_to_end: ClassVar[Sequence[tuple[signal.Signals, float]]]  # and the seconds given to each

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._lock = FolderLock(self.folder)
        self._log = ServerLog(self.folder / "server.log")
        self._port: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """The address of the server that was started, with its password."""

    def start(self) -> str:
        """Start the server, unless it runs, and return its URL, which stays the same until stop."""
        is_restart = self._port is not None
        try:
            if not self.is_running():
                make_private(self.folder)
                self._lock.take()
                self._prepare()
                self._start_on_a_port()
        except BaseException:
            if not is_restart:
                self.stop()
            raise
        return self.url

    def is_running(self) -> bool:
        """Tell whether the server has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop the server, in bounded time, and give the folder back."""
        if self._process is not None:
            _end(self._process, self.ways_to_end)
            self._clean_up()
        self._process = None
        self._port = None
        self._lock.release()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _prepare(self) -> None:  # noqa: B027 - not every server has something to do
        """Do what must be done in the folder before a start."""

    def _clean_up(self) -> None:  # noqa: B027 - not every server has something to do
        """Do what must be done after the server's process has ended."""

    @abstractmethod
    def _command(self, port: int) -> list[str]:
        """Return the leashed command that starts the server."""

    def _input(self) -> bytes:
        """Return what the server reads on its standard input."""
        return b""

    @abstractmethod
    def _answers(self, port: int) -> bool:
        """Tell whether the server does its work on this port."""

    def _start_on_a_port(self) -> None:
        for port in self._ports():
            self._spawn(port)
            if self._becomes_ready(port):
                self._port = port
                return
        raise EmbeddedServerError(
            f"{self.name} found its port taken by another program, which has to go first:\n"
            f"{self._log.last_words()}"
        )

    def _ports(self) -> Iterator[int]:
        if self._port is not None:
            yield self._port
        else:
            yield from (_free_port() for _ in range(PORTS_TO_TRY))

    def _spawn(self, port: int) -> None:
        with self._log.opened() as log, tempfile.TemporaryFile(buffering=0) as standard_input:
            standard_input.write(self._input())
            standard_input.seek(0)
            self._process = _forking.submit(
                subprocess.Popen,
                self._command(port),
                env=clean_environment(),
                cwd=self.folder,
                stdin=standard_input,
                stdout=log,
                stderr=log,
                start_new_session=True,  # the terminal's Ctrl-C is not for it
            ).result()

    def _becomes_ready(self, port: int) -> bool:
        """Wait until it answers; return False when another program has taken the port."""
        deadline = time.monotonic() + self.seconds_to_start
        while time.monotonic() < deadline:
            if self._answers(port):
                return True
            if not self.is_running():
                return self._explain_its_end()
            time.sleep(SECONDS_BETWEEN_LOOKS)
        raise EmbeddedServerError(
            f"{self.name} did not answer within {self.seconds_to_start:.0f} seconds. The end of"
            f" {self.folder / 'server.log'} says why:\n{self._log.last_words()}"
        )

    def _explain_its_end(self) -> bool:
        if "Address already in use" in self._log.since_start():
            return False
        raise EmbeddedServerError(
            f"{self.name} ended as it started. The end of {self.folder / 'server.log'} says why:\n"
            f"{self._log.last_words()}"
        )


def _free_port() -> int:
    for port in secrets.SystemRandom().sample(PORTS, 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise EmbeddedServerError(
        f"No free port was found on 127.0.0.1 between {PORTS.start} and {PORTS.stop}:"
        " stop some of the servers there, or set DATABASE_URL and REDIS_URL to servers of yours."
    )


def _end(process: subprocess.Popen[bytes], ways: Sequence[tuple[signal.Signals, float]]) -> None:
    for way, seconds in ways:
        process.send_signal(way)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return
    process.kill()
    process.wait()
