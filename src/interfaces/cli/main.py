"""`darkroom`: every process of the service, and what an operator types."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, NoReturn

import typer

from infrastructure.settings import (
    Settings,
    SettingsError,
    load_database_url,
    load_settings,
    variable,
)

app = typer.Typer(
    name="darkroom",
    help="Image generation behind one durable API.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

MISCONFIGURED = 2


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"darkroom {version('darkroom')}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which release.")
]


@app.callback()
def darkroom(_version: Version = False) -> None:
    """Image generation behind one durable API."""


@app.command()
def up() -> None:
    """Run the whole service on this machine until Ctrl-C."""
    from interfaces.cli.up import up as run_up

    sys.exit(asyncio.run(run_up(_settings())))


@app.command()
def demo() -> None:
    """Paint two pictures on a throw-away stack and prove what was recorded of them."""
    from interfaces.cli.demo import demo as run_demo

    sys.exit(asyncio.run(run_demo()))


@app.command()
def migrate() -> None:
    """Bring the database's schema up to date; of the settings it needs DATABASE_URL alone."""
    from interfaces.cli.operate import migrate as run_migrate

    sys.exit(run_migrate(_database_url()))


@app.command()
def api() -> None:
    """Serve the REST API; any number may run."""
    from interfaces.rest.serve import serve

    _run_process(serve)


@app.command()
def worker() -> None:
    """Perform generations; any number may run, one of them dispatches."""
    from interfaces.worker import run

    _run_process(run)


@app.command()
def projector() -> None:
    """Keep the read models up to date; any number may run, one of them leads each."""
    from interfaces.projector import serve

    _run_process(serve)


@app.command()
def config() -> None:
    """Print every setting, secrets masked."""
    settings = _settings()
    given = {variable(name) for name in settings.model_fields_set}
    for name, text in settings.shown().items():
        typer.echo(f"{name:<33}{text}{'' if name in given else '  (default)'}")


@app.command()
def retry_parked(
    name: Annotated[str | None, typer.Argument(help="A read model; all, if left out.")] = None,
) -> None:
    """Project again what could not be projected; needs DATABASE_URL alone."""
    from interfaces.cli.operate import retry_parked as run_retry_parked

    sys.exit(run_retry_parked(_database_url(), name))


def _run_process(run: Callable[[Settings, asyncio.Event], Awaitable[None]]) -> None:
    import uvloop

    from infrastructure.logging import configure_logging

    settings = _settings()
    configure_logging(settings.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_told(settings, run))


async def _until_told(
    settings: Settings, run: Callable[[Settings, asyncio.Event], Awaitable[None]]
) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        await run(settings, stopping)
    except SettingsError as error:
        _refuse(error.mistakes)


def _settings() -> Settings:
    try:
        return load_settings()
    except SettingsError as error:
        _refuse(error.mistakes)


def _database_url() -> str:
    try:
        return load_database_url()
    except SettingsError as error:
        _refuse(error.mistakes)


def _refuse(mistakes: tuple[str, ...]) -> NoReturn:
    for mistake in mistakes:
        typer.echo(f"darkroom: {mistake}", err=True)
    sys.exit(MISCONFIGURED)


if __name__ == "__main__":
    app()
