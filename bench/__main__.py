"""`python -m bench [figure ...]`: all figures, or those named.

A run of all of them also writes docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import uvloop
from rich.console import Console

from bench import (
    accepting,
    append_alone,
    append_together,
    at_rest,
    beside_others,
    end_to_end,
    fairness,
    history,
    limited,
    openai_route,
    provider_call,
    rebuilding,
    report,
    served_url,
    view_lag,
)
from bench.figures import BenchError, Figure
from bench.servers import Servers, temporary_folder
from infrastructure.embedded import EmbeddedServerError

FIGURES: dict[str, Callable[[Servers], Awaitable[Figure]]] = {
    "append": append_alone.take,
    "append-64": append_together.take,
    "accept": accepting.take,
    "limit": limited.take,
    "call": provider_call.take,
    "url": served_url.take,
    "beside": beside_others.take,
    "lag": view_lag.take,
    "rebuild": rebuilding.take,
    "history": history.take,
    "end-to-end": end_to_end.take,
    "openai": openai_route.take,
    "fairness": fairness.take,
    "memory": at_rest.take,
}


async def run(names: Sequence[str], console: Console) -> None:
    """Take these figures, one after the other, and write them down."""
    began = time.monotonic()
    with temporary_folder() as folder, Servers(folder) as servers:
        before = report.Before.now(folder)
        figures = {name: await _take(name, servers, console) for name in names}
        conditions = before.conditions(folder, servers.versions())
    report.show_conditions(console, conditions)
    report.keep(figures, conditions)
    if list(figures) == list(FIGURES):
        report.publish(list(figures.values()), conditions)
    console.print(f"[dim]in {time.monotonic() - began:.0f} s[/]")


async def _take(name: str, servers: Servers, console: Console) -> Figure:
    with console.status(f"{name} …"):
        figure = await FIGURES[name](servers)
    report.show(console, figure)
    return figure


async def _until_told(names: Sequence[str], console: Console) -> None:
    """SIGTERM stops everything as Ctrl-C does."""
    running = asyncio.ensure_future(run(names, console))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    await running


def _named() -> list[str]:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    known = ", ".join(FIGURES)
    parser.add_argument("figures", nargs="*", metavar="figure", help=f"one of {known}")
    named: list[str] = parser.parse_args().figures
    if unknown := set(named) - set(FIGURES):
        parser.error(f"there is no figure {', '.join(sorted(unknown))}: take {known}")
    return named or list(FIGURES)


def main() -> int:
    """The process's exit status."""
    names = _named()
    try:
        uvloop.run(_until_told(names, Console()))
    except (BenchError, ConnectionError, EmbeddedServerError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
