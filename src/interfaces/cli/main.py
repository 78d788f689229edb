"""`darkroom`: what is typed to use the service, to run its processes, and to operate it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from interfaces.cli import use
from interfaces.cli.endings import Exit, endings, say, whatever_threads_do

if TYPE_CHECKING:
    import asyncio

    from infrastructure.settings import Settings

RUN, OPERATE = "Run it", "Operate it"

# typer's switch: the shell is named, as in `--show-completion zsh`, not guessed from the parent
# process, which a container, an editor or an installer is.
os.environ.setdefault("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")

app = typer.Typer(
    name="darkroom",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="Exit status: 0 done, 1 it failed or was refused, 2 wrong usage or settings, 3 not"
    " authenticated, 4 not found, 5 over the quota or a limit, 6 the service does not answer, 130"
    " interrupted. Documentation: docs/operating.md, and /docs of a running service, as"
    " http://127.0.0.1:8000/docs.",
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"darkroom {version('darkroom')}")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", "-V", callback=_say_version, is_eager=True, help="Say which release."
    ),
]


@app.callback()
def darkroom(_version: Version = False) -> None:
    """Image generation behind one durable API.

    \b
    darkroom up                          the whole service on this machine
    darkroom generate "a lighthouse"     in another terminal: the first picture
    darkroom doctor                      what is wrong, and what to do about it

    Commands that use a service find it at DARKROOM_URL, by default
    http://127.0.0.1:8000, and send DARKROOM_API_KEY, by default the key that
    `darkroom up` keeps in its data folder, DARKROOM_DATA_DIR or .darkroom here.
    """


use.add_to(app)


@app.command(rich_help_panel=RUN)
def up() -> None:
    """Run the whole service on this machine until Ctrl-C.

    \b
    darkroom up
    DARKROOM_PORT=8080 DARKROOM_DATA_DIR=~/pictures darkroom up
    """
    import asyncio

    from interfaces.cli.up import up as run_up

    sys.exit(asyncio.run(run_up(_settings())))


@app.command(rich_help_panel=RUN)
def demo(
    providers: Annotated[
        str, typer.Option(metavar="NAME,NAME", help="Who paints, each a picture of his own.")
    ] = "sketch",
    store: Annotated[
        str, typer.Option(metavar="NAME", help="Where pictures go: filesystem or supabase.")
    ] = "filesystem",
) -> None:
    """Paint pictures on a throw-away stack and prove what was recorded of them.

    Other providers than sketch, and supabase, take their keys from the environment, and cost.

    \b
    darkroom demo
    OPENAI_API_KEY=sk-... darkroom demo --providers openai,sketch
    """
    import asyncio

    from interfaces.cli.demo import demo as run_demo

    names = tuple(name.strip() for name in providers.split(","))
    sys.exit(asyncio.run(run_demo(names, store.strip())))


@app.command(rich_help_panel=OPERATE)
def migrate() -> None:
    """Bring the database's schema up to date; of the settings it needs DATABASE_URL alone.

    \b
    DATABASE_URL=postgresql://darkroom:secret@db/darkroom darkroom migrate
    """
    from interfaces.cli.operate import migrate as run_migrate

    sys.exit(run_migrate(_database_url()))


@app.command(rich_help_panel=RUN)
def api() -> None:
    """Serve the REST API; any number may run.

    \b
    darkroom api
    """
    from interfaces.rest.serve import serve

    _run_process(serve)


@app.command(rich_help_panel=RUN)
def worker() -> None:
    """Perform generations; any number may run, one of them dispatches.

    \b
    DARKROOM_WORKER_SLOTS=16 darkroom worker
    """
    from interfaces.worker import run

    _run_process(run)


@app.command(rich_help_panel=RUN)
def projector() -> None:
    """Keep the read models up to date; any number may run, one of them leads each.

    \b
    darkroom projector
    """
    from interfaces.projector import serve

    _run_process(serve)


@app.command(rich_help_panel=OPERATE)
def doctor(as_json: use.AsJson = False) -> None:
    """Look at everything the service needs, and say what to do about what is wrong.

    \b
    darkroom doctor
    darkroom doctor --json | jq '.findings[] | select(.state != "ok")'

    It looks at the configuration, PostgreSQL, the session mode of its pooler,
    connections, schema, read models, Redis, workers, the image store and the
    API. Exit status 1 if anything needs you.
    """
    from interfaces.cli.doctor import doctor as run_doctor

    run_doctor(as_json=as_json)


@app.command(rich_help_panel=OPERATE)
def config(as_json: use.AsJson = False) -> None:
    """Print every setting, secrets masked.

    \b
    darkroom config
    darkroom config --json | jq -r .DARKROOM_PUBLIC_URL.value
    """
    from interfaces.cli.operate import config as run_config

    run_config(_settings(), as_json=as_json)


@app.command(rich_help_panel=OPERATE)
def login_link() -> None:
    """Print a link that logs the administrator in, once, within ten minutes.

    \b
    darkroom login-link
    xdg-open "$(darkroom login-link)"

    It takes DARKROOM_ADMIN_KEY, or the key that `darkroom up` keeps in its
    data folder, and DARKROOM_PUBLIC_URL. Nothing is asked of the service.
    """
    from interfaces.cli.login_link import print_login_link

    with endings(as_json=False):
        print_login_link(_settings())


@app.command(rich_help_panel=OPERATE)
def retry_parked(
    name: Annotated[str | None, typer.Argument(help="A read model; all, if left out.")] = None,
) -> None:
    """Project again what could not be projected, of DATABASE_URL or a running `darkroom up`.

    \b
    darkroom retry-parked
    darkroom retry-parked image_generations
    """
    from interfaces.cli.operate import retry_parked as run_retry_parked

    sys.exit(run_retry_parked(_database_url(or_embedded=True), name))


@app.command(rich_help_panel=OPERATE)
def check(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what differs.")] = False,
    as_json: use.AsJson = False,
) -> None:
    """Compare quota, limits, work and keys with the events, while the service runs.

    \b
    darkroom check
    darkroom check --repair
    darkroom check --json | jq '.differences[]'

    It looks at one moment of DATABASE_URL, or of a running `darkroom up`, and
    blocks nobody. --repair then takes the append's lock for a moment for each
    user concerned. Exit status 1 if anything differs and was not mended.
    """
    from interfaces.cli.check import check as run_check

    with endings(as_json=as_json):
        sys.exit(run_check(_database_url(or_embedded=True), mend=repair, as_json=as_json))


@app.command(rich_help_panel=OPERATE)
def replay(
    name: Annotated[str | None, typer.Argument(help="A read model; all, if left out.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only compare; status 1 if anything differs.")
    ] = False,
    as_json: use.AsJson = False,
) -> None:
    """Rebuild read models while the service runs, of DATABASE_URL or a running `darkroom up`.

    \b
    darkroom replay
    darkroom replay image_generations --check

    Each is built beside the live one, catches up with it, is compared with it,
    and takes its place at once. What differed is told by table and key. Ended
    early, for whatever reason, it changes nothing.
    """
    from interfaces.cli.replay import run

    with endings(as_json=as_json):
        sys.exit(run(_database_url(or_embedded=True), name, check=check, as_json=as_json))


def _run_process(run: Callable[[Settings, asyncio.Event], Awaitable[None]]) -> None:
    import asyncio

    import uvloop

    from infrastructure.logging import configure_logging

    settings = _settings()
    configure_logging(settings.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, whatever_threads_do():
        runner.run(_until_told(settings, run))


async def _until_told(
    settings: Settings, run: Callable[[Settings, asyncio.Event], Awaitable[None]]
) -> None:
    import asyncio

    from application.tasks import end_all_others
    from infrastructure.event_store.session_mode import SharedSessionsError, refuse_shared_sessions
    from infrastructure.settings import SettingsError

    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    try:
        if settings.database_url is not None:
            await refuse_shared_sessions(settings.database_url)
        await run(settings, stopping)
    except SettingsError as error:
        _refuse(error.mistakes)
    except SharedSessionsError as error:
        _refuse((f"{error}",))
    finally:
        await end_all_others()


def _settings() -> Settings:
    from infrastructure.settings import SettingsError, load_settings

    try:
        return load_settings()
    except SettingsError as error:
        _refuse(error.mistakes)


def _database_url(*, or_embedded: bool = False) -> str:
    from infrastructure.beside_up import NotRunningError, servers_left
    from infrastructure.client_settings import data_folder
    from infrastructure.settings import SettingsError, load_database_url

    try:
        if or_embedded and not os.environ.get("DATABASE_URL", "").strip():
            return servers_left(data_folder(os.environ).absolute())["DATABASE_URL"]
        return load_database_url()
    except NotRunningError as error:
        _refuse((f"DATABASE_URL is not set. {error}",))
    except SettingsError as error:
        _refuse(error.mistakes)


def _refuse(mistakes: tuple[str, ...]) -> NoReturn:
    for mistake in mistakes:
        say(f"darkroom: {mistake}")
    sys.exit(Exit.MISUSED)


if __name__ == "__main__":
    app(prog_name="darkroom")
