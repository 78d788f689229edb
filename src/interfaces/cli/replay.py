"""`darkroom replay`: read models built anew beside the live ones, with what was found to differ."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import psycopg
import typer
import uvloop
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from infrastructure.event_store.follower_tables import LeadershipLostError
from infrastructure.event_store.mapper import UnknownEventError
from infrastructure.event_store.projection import describe
from infrastructure.event_store.replay import (
    MadeAnewError,
    NothingToReplayError,
    NotSwappedError,
    Outcome,
    ParksMoreError,
    Progress,
    ReplayUnderWayError,
    StillReadError,
    replay,
)
from infrastructure.event_store.session_mode import SharedSessionsError, refuse_shared_sessions
from infrastructure.read_models import discover
from infrastructure.read_models.read_model import ReadModel
from interfaces.cli.endings import CommandError, Exit
from interfaces.cli.terminal import side

BETWEEN_LINES = 5.0  # seconds, where there is no terminal
GIVES_WAY = 5  # how much less of a processor it wants than the service does
NOT_NOW = (
    MadeAnewError,
    NothingToReplayError,
    NotSwappedError,
    ReplayUnderWayError,
    StillReadError,
    UnknownEventError,
    LeadershipLostError,
)
PHASES = {"waiting": "waiting for transactions that read it"}

Tell = Callable[[Progress], None]


def run(database_url: str, name: str | None, *, check: bool, as_json: bool) -> int:
    """Replay one read model, or all, one after the other; the exit status.

    Raises CommandError.
    """
    os.nice(GIVES_WAY)
    chosen = _chosen(name)
    outcomes: list[Outcome] = []
    try:
        uvloop.run(_replay_all(database_url, chosen, outcomes, check=check, quiet=as_json))
    except SharedSessionsError as error:
        raise CommandError(str(error), Exit.MISUSED) from error
    except ParksMoreError as error:
        raise CommandError(str(error)) from error
    except psycopg.errors.UndefinedTable as error:
        sentence = "The database has no tables of Darkroom's: run `darkroom migrate`."
        raise CommandError(sentence, Exit.UNAVAILABLE) from error
    except (*NOT_NOW, psycopg.Error) as error:
        done = "compared" if check else "exchanged"
        words = " ".join(describe(error).split())
        sentence = f"{chosen[len(outcomes)].name} was not {done}: {words}"
        raise CommandError(sentence, Exit.UNAVAILABLE) from error
    finally:
        if as_json and (outcomes or sys.exception() is None):
            typer.echo(json.dumps({"readModels": [_in_json(outcome) for outcome in outcomes]}))
    return Exit.FAILED if check and any(o.differences for o in outcomes) else Exit.DONE


def _chosen(name: str | None) -> Sequence[ReadModel]:
    read_models = [model for model in discover() if name in (None, model.name)]
    if not read_models:
        names = ", ".join(model.name for model in discover())
        raise CommandError(f"There is no read model {name!r}: choose from {names}.", Exit.MISUSED)
    return read_models


async def _replay_all(
    database_url: str,
    read_models: Sequence[ReadModel],
    outcomes: list[Outcome],
    *,
    check: bool,
    quiet: bool,
) -> None:
    await refuse_shared_sessions(database_url)
    for read_model in read_models:
        with _progress(read_model.name) as tell:
            outcome = await replay(database_url, read_model, check=check, tell=tell)
        outcomes.append(outcome)
        if not quiet:
            typer.echo(_in_words(outcome))


@contextmanager
def _progress(name: str) -> Iterator[Tell]:
    """A bar on a terminal, a line now and then anywhere else."""
    console = side()
    if not console.is_terminal:
        yield _Lines(name).tell
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)

        def tell(now: Progress) -> None:
            described = f"{name}: {PHASES.get(now.phase, now.phase)}"
            bar.update(task, description=described, completed=now.position, total=now.goal)

        yield tell


class _Lines:
    def __init__(self, name: str) -> None:
        self._name = name
        self._next_at = time.monotonic() + BETWEEN_LINES

    def tell(self, now: Progress) -> None:
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + BETWEEN_LINES
            how_far = f", {now.position:,} of {now.goal:,} events" if now.phase == "reading" else ""
            typer.echo(f"{self._name}: {PHASES.get(now.phase, now.phase)}{how_far}", err=True)


def _in_words(outcome: Outcome) -> str:
    done = "rebuilt" if outcome.swapped else "compared"
    found = "differences:" if outcome.differences else "no differences"
    parked = f", {outcome.parked} aggregates parked" if outcome.parked else ""
    line = (
        f"{outcome.read_model}: {done} from {outcome.events:,} events in"
        f" {outcome.seconds:.1f} s{parked}, {found}"
    )
    return "\n".join([line, *(f"  {difference}" for difference in outcome.differences)])


def _in_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "name": outcome.read_model,
        "swapped": outcome.swapped,
        "events": outcome.events,
        "seconds": round(outcome.seconds, 3),
        "parked": outcome.parked,
        "differences": [
            {_camel(name): value for name, value in asdict(difference).items()}
            for difference in outcome.differences
        ],
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
