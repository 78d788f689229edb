"""`darkroom show`, `cancel` and `delete`: one generation, as it is and as it came to be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import typer
from rich.console import Console
from rich.text import Text

from interfaces.cli.client import Client, Json, connected, of_generation
from interfaces.cli.endings import CommandError, Exit
from interfaces.cli.follow import ENDED, follow, sentence
from interfaces.cli.generate import ended_badly, print_json
from interfaces.cli.saving import Destination, save
from interfaces.cli.terminal import (
    asks_a_person,
    coloured,
    link,
    local,
    output,
    printable,
    side,
    took,
)

WISHES = (
    "provider",
    "model",
    "size",
    "aspectRatio",
    "quality",
    "format",
    "count",
    "seed",
    "negativePrompt",
    "endUser",
)


def show(
    id_: str, *, events: bool, following: bool, destination: Destination | None, as_json: bool
) -> None:
    """Show one generation; followed to its end, its failure is the command's."""
    with connected(quiet=as_json) as client:
        generation = client.get(of_generation(id_))
        if following:
            generation = follow(client, generation, quiet=as_json)
        trail = _trail(client, id_) if events else None
        if as_json:
            print_json(generation | ({} if trail is None else {"events": trail}))
        else:
            _show(output(), generation, trail)
        if following and generation["status"] != "completed":
            raise ended_badly(generation)
        if destination:
            _save(client, generation, destination, quiet=as_json)


def cancel(id_: str, *, as_json: bool) -> None:
    """End a generation that is under way."""
    with connected(quiet=as_json) as client:
        generation = client.post(of_generation(id_, "cancel"), f"{uuid4()}")
        if as_json:
            print_json(generation)
        else:
            side().print("Cancelled; what was not made counts no more against the quota.")


def delete(id_: str, *, confirmed: bool, as_json: bool) -> None:
    """Remove the pictures of a generation; its record stays."""
    with connected(quiet=as_json) as client:
        if not confirmed:
            _confirm(client.get(of_generation(id_)))
        generation = client.delete(of_generation(id_), f"{uuid4()}")
        if as_json:
            print_json(generation)
        else:
            side().print("Deleted: the pictures leave the store, and their URLs lead nowhere.")


def _confirm(generation: Json) -> None:
    if not asks_a_person():
        raise CommandError("Nobody is here to confirm it: say --yes to delete.", Exit.MISUSED)
    _show(side(), generation, None)
    if not typer.confirm("Delete its pictures for good?", err=True):
        raise CommandError("Nothing was deleted.", Exit.FAILED)


def _save(client: Client, generation: Json, destination: Destination, *, quiet: bool) -> None:
    if not generation["images"]:
        raise CommandError(_why_no_pictures(generation))
    for path in save(client, generation, destination):
        if not quiet:
            output().print("saved", link(path.absolute().as_uri(), f"{path}"))


def _why_no_pictures(generation: Json) -> str:
    if generation["status"] not in ENDED:
        return "There are no pictures yet: say --follow to wait for them."
    what = "deleted" if generation.get("deletedAt") else generation["status"]
    return f"There are no pictures to save: the generation was {what}."


def _trail(client: Client, id_: str) -> list[Json]:
    events: list[Json] = []
    after = None
    while True:
        page = client.get(of_generation(id_, "events"), after=after)
        events += page["items"]
        after = page["nextCursor"]
        if after is None:
            return events


# --- for a person --------------------------------------------------------------------------------


def _show(console: Console, generation: Json, trail: list[Json] | None) -> None:
    for name, value in _facts(generation):
        console.print(Text.assemble((f"{name:<12}", "dim"), value))
    if trail is not None:
        console.print()
        for event in trail:
            console.print(_line_of(event))


def _facts(generation: Json) -> list[tuple[str, Text]]:
    status = coloured(generation["status"])
    if duration := took(generation):
        status.append(f" after {duration}", "")
    error = generation.get("error")
    return [
        ("id", Text(generation["id"])),
        ("status", status),
        *([("error", Text(_error(error), "red"))] if error else []),
        ("created", Text(local(generation["createdAt"]))),
        *_wishes(generation),
        *(("call", _call(call)) for call in generation.get("calls") or ()),
        *_consequences(generation),
        *(("picture", _picture(image)) for image in generation["images"]),
    ]


def _wishes(generation: Json) -> Iterator[tuple[str, Text]]:
    """What was asked for."""
    yield "prompt", Text(printable(generation["prompt"] or ""))
    for name in WISHES:
        if generation.get(name) is not None:
            yield _spaced(name), Text(printable(f"{generation[name]}"))
    if references := generation.get("referenceImages"):
        yield "references", Text(", ".join(map(_reference, references)))
    if mask := generation.get("mask"):
        yield "mask", Text(_size(mask))
    for key, value in (generation.get("metadata") or {}).items():
        yield "metadata", Text(printable(f"{key} = {value}"))
    if before := generation.get("retryOf"):
        yield "retry of", Text(before)


def _reference(image: Json) -> str:
    """Its size, and which generation's picture it was."""
    earlier = f" of {image['generation']}/{image['number']}" if image.get("generation") else ""
    return f"{_size(image)}{earlier}"


def _consequences(generation: Json) -> Iterator[tuple[str, Text]]:
    if cost := generation.get("cost"):
        yield "cost", Text(f"{cost['amount']} {cost['currency']} ({cost['priceList']})")
    if generation.get("missing"):
        yield "missing", Text(f"{generation['missing']}, whose units are back")
    if deleted := generation.get("deletedAt"):
        yield "deleted", Text(local(deleted))


def _error(error: Json) -> str:
    return printable(f"{error['message']} ({error['kind']})")


def _spaced(name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).removesuffix(" prompt")


def _call(call: dict[str, Any]) -> Text:
    images = ", ".join(map(str, call["images"]))
    return Text(
        printable(
            f"{call['number']}: {call['provider']} {call['model']}, image {images},"
            f" {call['outcome']}"
        )
    )


def _size(image: dict[str, Any]) -> str:
    return f"{image['width']}x{image['height']} {image['contentType'].removeprefix('image/')}"


def _picture(image: dict[str, Any]) -> Text:
    return link(image["url"]) + Text(f"  {_size(image)}, {image['bytes']:,} bytes", "dim")


def _line_of(event: Json) -> Text:
    actor = event["actor"].partition(":")[0]
    kind = event["type"].removeprefix("generation.")
    told = sentence(event["type"], event) or ""
    return Text.assemble(
        (f"{event['position']:>8}  {local(event['recordedAt'])}  {actor:<8}", "dim"),
        (f"{kind:<15}", "cyan"),
        printable(told),
    )
