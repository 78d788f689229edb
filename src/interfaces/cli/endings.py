"""How a command or a process ends: its exit status, and one sentence where it did not go well."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

import typer

log = logging.getLogger(__name__)

SECONDS_FOR_THREADS = 2.0


class Exit(IntEnum):
    """What the exit status says; the same for every command."""

    DONE = 0
    FAILED = 1
    MISUSED = 2
    NOT_AUTHENTICATED = 3
    NOT_FOUND = 4
    OVER_LIMIT = 5
    UNAVAILABLE = 6
    INTERRUPTED = 130


class CommandError(Exception):
    """Why a command cannot go on: a sentence with the remedy, and what the service said of it."""

    def __init__(
        self, sentence: str, status: Exit = Exit.FAILED, problem: dict[str, Any] | None = None
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.problem = problem or {
            "code": status.name.lower().replace("_", "-"),
            "detail": sentence,
        }


@contextlib.contextmanager
def endings(*, as_json: bool = False) -> Iterator[None]:
    """Say on standard error why the block failed, as the problem's JSON if wanted, and exit."""
    try:
        yield
    except CommandError as error:
        say(json.dumps(error.problem) if as_json else f"darkroom: {error}")
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)


@contextlib.contextmanager
def whatever_threads_do() -> Iterator[None]:
    """Soon after the block the process is gone, with the status that it has, or that it has then.

    Without this the event loop, and then Python, wait for a thread that waits for a dead disk.
    """
    why: BaseException | None = None
    try:
        yield
    except BaseException as error:
        why = error
        raise
    finally:
        last = threading.Timer(SECONDS_FOR_THREADS, _end_without_threads, (why,))
        last.daemon = True
        last.start()


def _end_without_threads(why: BaseException | None) -> None:
    code = int(Exit.FAILED if why else Exit.DONE)
    if isinstance(why, SystemExit) and (why.code is None or isinstance(why.code, int)):
        code, why = why.code or 0, None
    try:
        log.warning("ended without waiting for threads that do not end", exc_info=why)
        sys.stdout.flush()
    finally:
        os._exit(code)


def say(text: str) -> None:
    """Write a line to standard error, which may be gone."""
    with contextlib.suppress(OSError):
        typer.echo(text, err=True)
