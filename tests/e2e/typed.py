"""The real `darkroom` command, typed beside the running service."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infrastructure.settings import without_settings
from tests.e2e.stack import Stack
from tests.processes import ADMIN_KEY

PATIENCE = 30.0


@dataclass(frozen=True)
class Typed:
    """What a command said, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def refused(self, status: int, *sentences: str) -> None:
        """It ended with one sentence, and no key in it."""
        assert self.status == status, self
        assert self.err.splitlines()[-1].startswith("darkroom: "), self.err
        assert all(sentence in self.err for sentence in sentences), self.err
        assert "Traceback" not in self.err
        assert ADMIN_KEY not in self.out + self.err


class Command:
    """A command that is running; what it says on standard error can be waited for."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""
        assert process.stdout is not None
        assert process.stderr is not None
        self._stderr = process.stderr
        self._out = asyncio.create_task(process.stdout.read())

    async def until(self, words: str) -> None:
        """Until it has said so."""
        async with asyncio.timeout(PATIENCE):
            while words not in self.said:
                line = await self._stderr.readline()
                assert line, f"it ended without {words!r}: {self.said}"
                self.said += line.decode()

    async def end(self) -> Typed:
        """How it ended."""
        async with asyncio.timeout(PATIENCE):
            self.said += (await self._stderr.read()).decode()
            out = (await self._out).decode()
            return Typed(await self.process.wait(), out, self.said)


@asynccontextmanager
async def typing(
    *arguments: str, folder: Path, stdin: bytes = b"", **variables: str
) -> AsyncIterator[Command]:
    """Type a command in a folder; nothing is set but what is given."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "interfaces.cli.main",
        *arguments,
        cwd=folder,
        env=without_settings(os.environ) | variables,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write(stdin)
    process.stdin.close()
    try:
        yield Command(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def darkroom(*arguments: str, folder: Path, stdin: bytes = b"", **variables: str) -> Typed:
    """Type a command, to its end."""
    async with typing(*arguments, folder=folder, stdin=stdin, **variables) as command:
        return await command.end()


def service(stack: Stack) -> dict[str, str]:
    """What somebody sets who uses this one."""
    return {"DARKROOM_URL": stack.settings.public_url, "DARKROOM_API_KEY": ADMIN_KEY}


def on_a_terminal(*arguments: str, answers: Mapping[str, bytes] | None = None, **given: str) -> str:
    """What a terminal of 120 columns shows; each answer is typed when its question appears."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "interfaces.cli.main", *arguments]
    environment = without_settings(os.environ) | given | {"COLUMNS": "120", "TERM": "xterm"}
    waiting = dict(answers or {})
    with subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs):
        os.close(theirs)
        shown = b""
        while read := _read(ours):
            shown += read
            for question in [q for q in waiting if q.encode() in shown]:
                os.write(ours, waiting.pop(question))
    os.close(ours)
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""
