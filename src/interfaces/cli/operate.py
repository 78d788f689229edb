"""What an operator asks for: the settings, the database's schema, another try of what is parked."""

from __future__ import annotations

import asyncio
import json

import psycopg
import typer

from infrastructure.event_store.connections import LOST
from infrastructure.event_store.follower import retry_parked as retry_one
from infrastructure.event_store.follower_tables import (
    LeadershipLostError,
    TablesInUseError,
    ensure_tables,
)
from infrastructure.event_store.mapper import UnknownEventError
from infrastructure.event_store.migrate import NotMigratedError
from infrastructure.event_store.migrate import migrate as apply_migrations
from infrastructure.event_store.projection import describe
from infrastructure.event_store.session_mode import SharedSessionsError, refuse_shared_sessions
from infrastructure.read_models import discover
from infrastructure.read_models.read_model import ReadModel
from infrastructure.settings import (
    FOR_THE_COMMAND_LINE,
    NOT_SET,
    Settings,
    for_the_command_line,
    variable,
)
from interfaces.cli.endings import Exit


def config(settings: Settings, *, as_json: bool) -> None:
    """Every setting, secrets masked, and whether it is a default."""
    given = {variable(name) for name in settings.model_fields_set} | set(for_the_command_line())
    shown = settings.shown() | dict.fromkeys(FOR_THE_COMMAND_LINE, NOT_SET)
    shown |= for_the_command_line()
    if as_json:
        document = {n: {"value": t, "isDefault": n not in given} for n, t in shown.items()}
        typer.echo(json.dumps(document, indent=2))
        return
    for name, text in shown.items():
        typer.echo(f"{name:<33}{text}{'' if name in given else '  (default)'}")


def migrate(database_url: str) -> int:
    """Bring the schema and the read models' tables up to date; the exit status."""
    try:
        asyncio.run(refuse_shared_sessions(database_url))
        apply_migrations(database_url)
    except SharedSessionsError as error:
        return _fail(error, Exit.MISUSED)
    except NotMigratedError as error:
        return _fail(error, _status_of(error.__cause__))
    except psycopg.Error as error:
        return _fail(NotMigratedError(error), _status_of(error))
    return _make_tables(database_url)


def _make_tables(database_url: str) -> int:
    try:
        asyncio.run(ensure_tables(database_url))
    except TablesInUseError as error:
        return _fail(f"The schema is up to date. {error}", Exit.UNAVAILABLE)
    except psycopg.Error as error:
        words = " ".join(describe(error).split())
        sentence = f"The schema is up to date; the tables of read models are not: {words}"
        return _fail(sentence, _status_of(error))
    return Exit.DONE


def retry_parked(database_url: str, name: str | None) -> int:
    """Retry the parked aggregates of one read model, or of all; 1 if any stay parked."""
    read_models = [model for model in discover() if name in (None, model.name)]
    if not read_models:
        names = ", ".join(model.name for model in discover())
        return _fail(f"There is no read model {name!r}: choose from {names}.", Exit.MISUSED)
    try:
        return max([_retry(database_url, read_model) for read_model in read_models])
    except UnknownEventError as error:
        return _fail(error, Exit.UNAVAILABLE)
    except psycopg.errors.UndefinedTable:
        sentence = "The database has no tables of Darkroom's: run `darkroom migrate`."
        return _fail(sentence, Exit.UNAVAILABLE)
    except psycopg.Error as error:
        words = " ".join(describe(error).split())
        return _fail(f"What is parked was not retried: {words}", Exit.UNAVAILABLE)


def _retry(database_url: str, read_model: ReadModel) -> int:
    try:
        count = asyncio.run(retry_one(database_url, read_model))
    except LeadershipLostError as error:
        sentence = f"{error} Start `darkroom projector` of this release, then retry."
        return _fail(sentence, Exit.UNAVAILABLE)
    typer.echo(f"{read_model.name}: {count} parked")
    return Exit.FAILED if count else Exit.DONE


def _status_of(error: BaseException | None) -> int:
    return Exit.UNAVAILABLE if isinstance(error, LOST) else Exit.FAILED


def _fail(reason: object, status: int = Exit.FAILED) -> int:
    typer.echo(f"darkroom: {reason}", err=True)
    return status
