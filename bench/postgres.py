"""The embedded PostgreSQL with something more to it: options, or commits that take longer."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Mapping
from pathlib import Path

from bench.figures import BenchError
from infrastructure.embedded import EmbeddedPostgres
from infrastructure.embedded.binaries import postgres_binaries

ROOT = Path(__file__).parent.parent
SLOW_COMMITS = ROOT / "build" / "slow_commits.so"
ENV = shutil.which("env") or "/usr/bin/env"


class ConfiguredPostgres(EmbeddedPostgres):
    """With more options on its command line, and more variables in its environment."""

    def __init__(
        self,
        folder: Path,
        options: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder)
        self._options = [f"--{name}={value}" for name, value in (options or {}).items()]
        self._variables = [f"{name}={value}" for name, value in (environment or {}).items()]

    def _command(self, port: int) -> list[str]:
        command = super()._command(port)
        program = command.index(str(postgres_binaries() / "postgres"))
        return [*command[:program], ENV, *self._variables, *command[program:], *self._options]


class SlowPostgres(ConfiguredPostgres):
    """Makes nothing durable before so many milliseconds have passed, which can be changed.

    A library is loaded into each of its processes that waits in fdatasync, where a network disk
    or a synchronous standby would let it wait.
    """

    def __init__(self, folder: Path) -> None:
        if not SLOW_COMMITS.exists():
            raise BenchError("build/slow_commits.so is not there: `make bench` makes it.")
        self._delay = folder.with_name(f"{folder.name}-delay")
        self._delay.parent.mkdir(parents=True, exist_ok=True)
        self._delay.write_bytes(struct.pack("=q", 0))
        self._delay.chmod(0o644)
        variables = {"LD_PRELOAD": SLOW_COMMITS, "ADDED_COMMIT_LATENCY": self._delay}
        super().__init__(folder, environment={name: str(path) for name, path in variables.items()})

    def add(self, milliseconds: float) -> None:
        """From the next flush on."""
        with self._delay.open("r+b") as file:
            file.write(struct.pack("=q", round(milliseconds * 1000)))
