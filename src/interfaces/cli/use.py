"""The commands of somebody who uses a Darkroom: what can be typed, and help that teaches it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interfaces.cli.endings import CommandError, Exit, endings

if TYPE_CHECKING:
    from interfaces.cli.saving import Destination

PANEL = "Use it"


def _one_of(*words: str) -> Callable[[str], list[str]]:
    """Words that a shell completes; others are taken too, for a newer service may know them."""
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


PROVIDERS = _one_of("openai", "gemini", "stability", "sketch")
STATUSES = _one_of("queued", "processing", "completed", "failed", "cancelled")
FORMATS = _one_of("png", "jpeg", "webp")
SIZES = _one_of("1024x1024", "1536x1024", "1024x1536")
ASPECTS = _one_of("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16")

Id = Annotated[str, typer.Argument(metavar="ID", help="A generation's id.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines, errors too.")]
Waiting = Annotated[
    bool,
    typer.Option("--wait/--no-wait", help="Wait for the pictures, or print the id and go."),
]
Out = Annotated[
    str,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR|FILE",
        help="Where pictures are saved: a folder, or a file whose ending is the format.",
    ),
]
Saving = Annotated[bool, typer.Option("--save/--no-save", help="Save them, or print their URLs.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")]
Provider = Annotated[
    str | None,
    typer.Option(help="One of the service's, such as sketch.", autocompletion=PROVIDERS),
]
Model = Annotated[str | None, typer.Option(help="The provider's name of a model.")]
EndUser = Annotated[str | None, typer.Option(metavar="ID", help="Whom of your users it is for.")]


def generate(
    prompt: Annotated[
        str, typer.Argument(help="What to paint; - reads standard input.", show_default=False)
    ],
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            "-r",
            metavar="FILE|ID",
            help="A picture to start from, or a generation that made one; may be repeated.",
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="A PNG: where it is transparent, the first reference is painted anew."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="In pixels.", autocompletion=SIZES)
    ] = None,
    aspect: Annotated[
        str | None,
        typer.Option(metavar="W:H", help="Where no size is given.", autocompletion=ASPECTS),
    ] = None,
    count: Annotated[int, typer.Option("--count", "-n", help="How many pictures.")] = 1,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="png, jpeg or webp.", autocompletion=FORMATS),
    ] = None,
    quality: Annotated[str | None, typer.Option(help="As the provider calls it.")] = None,
    seed: Annotated[int | None, typer.Option(help="Where the provider takes one.")] = None,
    negative: Annotated[str | None, typer.Option(help="What to leave out.")] = None,
    provider: Provider = None,
    model: Model = None,
    meta: Annotated[
        list[str] | None,
        typer.Option("--meta", metavar="KEY=VALUE", help="Kept with it; may be repeated."),
    ] = None,
    end_user: EndUser = None,
    deadline: Annotated[
        int | None, typer.Option(metavar="SECONDS", help="How long it may take in all.")
    ] = None,
    on_unknown: Annotated[
        str | None,
        typer.Option(
            metavar="repeat|fail",
            help="Whether a call whose outcome is unknown is made again, and maybe billed twice.",
            autocompletion=_one_of("repeat", "fail"),
        ),
    ] = None,
    wait: Waiting = True,
    out: Out = ".",
    save: Saving = True,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Generate pictures from a prompt, and save them.

    \b
    darkroom generate "a lighthouse at dusk"
    darkroom generate "the same in spring" -r dusk.png -n 2 -o spring/
    darkroom generate "with a boat" -r 0b5c1a52-7d0f-4b0e-9d6f-0a4c54f7a2c1/2
    darkroom generate "a fox" --size 1024x1024 -o fox.webp
    id=$(darkroom generate "a fox" --no-wait)
    darkroom generate - --json < prompt.txt | jq -r '.images[].path'

    Standard output has the saved files, a line each; progress goes to standard
    error. A connection that is lost makes no second generation. Ctrl-C stops
    the waiting, not the generation.
    """
    with endings(as_json=as_json):
        from interfaces.cli.generate import Wait, metadata_of
        from interfaces.cli.generate import generate as run

        fields = {
            "prompt": prompt,
            "negativePrompt": negative,
            "provider": provider,
            "model": model,
            "size": size,
            "aspectRatio": aspect,
            "quality": quality,
            "format": format_,
            "count": count,
            "seed": seed,
            "metadata": metadata_of(meta or ()),
            "endUser": end_user,
            "deadlineSeconds": deadline,
            "onUnknown": on_unknown,
        }
        run(fields, reference or (), mask, Wait(wait, _destination(out, save, overwrite), as_json))


def retry(
    id_: Id,
    wait: Waiting = True,
    out: Out = ".",
    save: Saving = True,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Ask again for what failed or was cancelled; it becomes a new generation.

    \b
    darkroom retry 0193f1c2-6a4b-7000-8000-3f1f5c9f2b11
    """
    with endings(as_json=as_json):
        from interfaces.cli.generate import Wait
        from interfaces.cli.generate import retry as run

        run(id_, Wait(wait, _destination(out, save, overwrite), as_json))


def history(
    status: Annotated[
        str | None,
        typer.Option(
            help="queued, processing, completed, failed or cancelled.", autocompletion=STATUSES
        ),
    ] = None,
    provider: Provider = None,
    model: Model = None,
    end_user: EndUser = None,
    after: Annotated[
        str | None, typer.Option(metavar="TIME", help="Created since: 2026-01-31, 2h, 7d.")
    ] = None,
    before: Annotated[str | None, typer.Option(metavar="TIME", help="Created before then.")] = None,
    query: Annotated[str | None, typer.Option("--query", "-q", help="Words of the prompt.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-l", min=1, help="At most so many.")] = 20,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: AsJson = False,
) -> None:
    """List generations, the newest first.

    \b
    darkroom history
    darkroom history --status failed --after 7d
    darkroom history --all --json | jq -r '[.id, .imageUrl] | @tsv'

    In a pipe it is tab-separated: created, status, id, URL, prompt.
    --json gives an object a line.
    """
    with endings(as_json=as_json):
        from interfaces.cli.history import history as run
        from interfaces.cli.history import time_of

        filters = {
            "status": status,
            "provider": provider,
            "model": model,
            "endUser": end_user,
            "createdAfter": time_of("--after", after),
            "createdBefore": time_of("--before", before),
            "q": query,
        }
        run(filters, limit=limit, everything=everything, as_json=as_json)


def show(
    id_: Id,
    events: Annotated[bool, typer.Option("--events", help="And all that was decided.")] = False,
    following: Annotated[bool, typer.Option("--follow", "-f", help="Wait for its end.")] = False,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="DIR|FILE", help="Save its pictures.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Show one generation: status, calls, cost, pictures.

    \b
    darkroom show 0193f1c2-6a4b-7000-8000-3f1f5c9f2b11 --events
    darkroom show 0193f1c2-6a4b-7000-8000-3f1f5c9f2b11 --follow --out pictures/
    """
    with endings(as_json=as_json):
        from interfaces.cli.show import show as run

        destination = _destination(out, True, overwrite) if out else None
        run(id_, events=events, following=following, destination=destination, as_json=as_json)


def cancel(id_: Id, as_json: AsJson = False) -> None:
    """Stop a generation that has not ended.

    \b
    darkroom cancel 0193f1c2-6a4b-7000-8000-3f1f5c9f2b11
    """
    with endings(as_json=as_json):
        from interfaces.cli.show import cancel as run

        run(id_, as_json=as_json)


def delete(
    id_: Id,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove the pictures of a generation for good; its record stays.

    \b
    darkroom delete 0193f1c2-6a4b-7000-8000-3f1f5c9f2b11 --yes
    """
    with endings(as_json=as_json):
        from interfaces.cli.show import delete as run

        run(id_, confirmed=yes, as_json=as_json)


def providers(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The one to change.", show_default=False)
    ] = None,
    enabled: Annotated[
        bool | None, typer.Option("--on/--off", help="Whether calls to it may begin.")
    ] = None,
    place: Annotated[int | None, typer.Option(min=1, metavar="N", help="1 is asked first.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the providers and how each is; administrators switch and reorder them.

    \b
    darkroom providers
    darkroom providers openai --off
    darkroom providers gemini --on --place 1

    In a pipe it is tab-separated: place, name, on or off, circuit, calls under
    way, models. --json gives an object a line.
    """
    with endings(as_json=as_json):
        from interfaces.cli.providers import providers as run

        change = {"enabled": enabled, "place": place}
        given = {field: value for field, value in change.items() if value is not None}
        if (name is None) != (not given):
            wrong = "Say what to change: --on, --off or --place." if name else "Name a provider."
            raise CommandError(wrong, Exit.MISUSED)
        run(name, given, as_json=as_json)


def add_to(app: typer.Typer) -> None:
    """Make them commands."""
    for command in (generate, history, show, cancel, retry, delete, providers):
        app.command(rich_help_panel=PANEL)(command)


def _destination(out: str, save: bool, overwrite: bool) -> Destination | None:
    from interfaces.cli.saving import Destination

    return Destination.of(out, overwrite=overwrite) if save else None
