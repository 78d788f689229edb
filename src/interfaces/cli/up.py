"""`darkroom up`: the whole service on this machine, with servers of its own unless told others."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from infrastructure.embedded import EmbeddedServerError
from infrastructure.logging import configure_logging
from infrastructure.settings import Settings

log = logging.getLogger(__name__)

KEY_FILE = "admin-key"
DRAIN_MARGIN = 20.0  # seconds a worker gets beyond the longest call, to store and to record
API_GRACE = 15.0  # seconds; it ends what it serves within 10
SECONDS_BETWEEN_LOOKS = 0.05
SECONDS_UNTIL_A_WORD = 15.0


@dataclass(frozen=True)
class Programs:
    """What `up` runs: one command that ends, then several that are kept running."""

    migrate: Sequence[str]
    children: Mapping[str, Sequence[str]]  # stopped in this order


def _darkroom(name: str) -> list[str]:
    return [sys.executable, "-m", "interfaces.cli.main", name]


DARKROOM = Programs(
    migrate=_darkroom("migrate"),
    children={name: _darkroom(name) for name in ("api", "worker", "projector")},
)


class UpError(Exception):
    """The service cannot start; the message is a sentence with the remedy."""


@dataclass(frozen=True)
class AdminKey:
    """The administrator's API key; `path` is its file, unless the operator has set it."""

    value: str
    path: Path | None = None
    is_new: bool = False


async def up(settings: Settings, programs: Programs = DARKROOM) -> int:
    """Run everything until SIGINT, SIGTERM or SIGHUP, and return the process's exit status.

    The first signal stops in order: children, Redis, PostgreSQL. The second kills the children.
    """
    configure_logging(settings.log_format)
    service = _Service(settings, programs)
    running = asyncio.create_task(service.run())
    with _signals_to(lambda: service.stop(running)):
        try:
            await running
        except asyncio.CancelledError:
            return 0
        except (UpError, EmbeddedServerError) as error:
            typer.echo(f"darkroom: {error}", err=True)
    return 1
