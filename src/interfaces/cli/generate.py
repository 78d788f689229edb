"""`darkroom generate` and `retry`: ask, follow, save the pictures."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from rich.text import Text

from interfaces.cli.client import (
    GENERATIONS,
    Client,
    Json,
    ProblemError,
    connected,
    of_generation,
)
from interfaces.cli.endings import CommandError, Exit
from interfaces.cli.follow import ENDED, accepted, follow
from interfaces.cli.saving import Destination, save
from interfaces.cli.terminal import link, output, printable, side, took

LARGEST_REFERENCES = 32 * 1024 * 1024  # bytes in all: the service takes no larger body
EARLIER_PICTURE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(/[0-9]+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Wait:
    """What happens after a request was accepted; `destination` is None where nothing is kept."""

    wait: bool
    destination: Destination | None
    as_json: bool


def generate(fields: Json, references: Sequence[str], mask: Path | None, wait: Wait) -> None:
    """Ask for pictures, once; the fields are named as the API's."""
    fields = {name: value for name, value in fields.items() if value not in (None, {})}
    fields["prompt"] = _prompt(fields["prompt"])
    if wait.destination and wait.wait:
        wait.destination.refuse_unless_usable(fields.get("count", 1))
        _choose_format(fields, wait.destination)
    content = _content(fields, *_read(references, mask))
    with connected(quiet=wait.as_json) as client:
        conclude(client, _ask(client, GENERATIONS, **content), wait)


def retry(id_: str, wait: Wait) -> None:
    """Ask again for what failed or was cancelled, as a new generation."""
    if wait.destination and wait.wait:
        wait.destination.refuse_unless_usable(1)
    with connected(quiet=wait.as_json) as client:
        conclude(client, _ask(client, of_generation(id_, "retry")), wait)


def metadata_of(pairs: Sequence[str]) -> dict[str, str]:
    """Read `--meta key=value`."""
    metadata = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise CommandError(f"--meta must be key=value, not {printable(pair)!r}.", Exit.MISUSED)
        metadata[key] = value
    return metadata


# --- asking --------------------------------------------------------------------------------------


def _ask(client: Client, path: str, **content: Any) -> Json:
    try:
        return client.post(path, f"{uuid4()}", **content)
    except ProblemError as problem:
        if problem.generation_id is None:
            raise
        with accepted(problem.generation_id):  # which tells itself how it ended
            return client.get(of_generation(problem.generation_id))
    except KeyboardInterrupt:
        raise CommandError(
            "You stopped while it was being asked for: `darkroom history` shows whether it was"
            " accepted.",
            Exit.INTERRUPTED,
        ) from None


def _prompt(text: str) -> str:
    if text != "-":
        return text
    if sys.stdin.isatty():
        side().print("Type the prompt, then Ctrl-D.")
    prompt = sys.stdin.read().strip()
    if not prompt:
        raise CommandError("The prompt on standard input is empty.", Exit.MISUSED)
    return prompt


def _choose_format(fields: Json, destination: Destination) -> None:
    """A file's name asks for its format."""
    if destination.format is None:
        return
    if fields.setdefault("format", destination.format) != destination.format:
        raise CommandError(
            f"--out ends in {destination.extension}, and --format is {fields['format']}: leave one"
            " out, or let them agree.",
            Exit.MISUSED,
        )


def _read(references: Sequence[str], mask: Path | None) -> tuple[list[str | bytes], bytes | None]:
    """Files; what is an id of a generation, or names one of its pictures, stays as it is."""
    images = [
        _read_one(Path(one), "reference image", "--reference") if _is_file(one) else one
        for one in references
    ]
    painted = _read_one(mask, "mask", "--mask") if mask else None
    if sum(map(len, (*images, painted or b""))) > LARGEST_REFERENCES:
        raise CommandError(
            "The reference images are larger than 32 MB together: send fewer or smaller ones.",
            Exit.MISUSED,
        )
    return images, painted


def _is_file(reference: str) -> bool:
    return EARLIER_PICTURE.fullmatch(reference) is None or Path(reference).exists()


def _read_one(path: Path, what: str, option: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(LARGEST_REFERENCES + 1)
    except OSError as error:
        raise CommandError(
            f"The {what} {path} cannot be read ({error.strerror}): look at {option}.",
            Exit.MISUSED,
        ) from error


def _content(fields: Json, references: Sequence[str | bytes], mask: bytes | None) -> dict[str, Any]:
    """JSON, or a form when files go along."""
    if mask is None and not any(isinstance(one, bytes) for one in references):
        return {"json": fields | ({"referenceImages": references} if references else {})}
    texts = {
        name: json.dumps(value) if isinstance(value, dict) else str(value)
        for name, value in fields.items()
    }
    parts = [
        ("referenceImages", _part(f"reference-{n}", one)) for n, one in enumerate(references, 1)
    ]
    if mask is not None:
        parts.append(("mask", _part("mask", mask)))
    return {"data": texts, "files": parts}


def _part(name: str, sent: str | bytes) -> tuple[str | None, bytes]:
    """A file, or a text without a file's name."""
    return (None, sent.encode()) if isinstance(sent, str) else (name, sent)


# --- the end -------------------------------------------------------------------------------------


def conclude(client: Client, generation: Json, wait: Wait) -> None:
    """Wait if wanted, keep the pictures, and say how it ended. Raises CommandError."""
    if not wait.wait and generation["status"] not in ENDED:
        _say_how_to_follow(generation, as_json=wait.as_json)
        return
    generation = follow(client, generation, quiet=wait.as_json)
    if generation["status"] != "completed":
        if wait.as_json:
            print_json(generation)
        raise ended_badly(generation)
    paths = _save(client, generation, wait.destination)
    if wait.as_json:
        print_json(_with_paths(generation, paths))
    else:
        _show(generation, paths)


def _save(client: Client, generation: Json, destination: Destination | None) -> list[Path]:
    try:
        return save(client, generation, destination) if destination else []
    except CommandError as error:
        again = f"The service keeps it: `darkroom show {generation['id']} -o DIR/` saves it."
        raise CommandError(f"{error} {again}", error.status) from error


def ended_badly(generation: Json) -> CommandError:
    """Why there is no picture, as an error."""
    id_, error = generation["id"], generation.get("error") or {}
    reason = printable(error.get("message") or "The generation was cancelled.")
    problem = {
        "code": error.get("kind", generation["status"]),
        "detail": reason,
        "generationId": id_,
    }
    sentence = (
        f"{reason} `darkroom show {id_} --events` tells all, `darkroom retry {id_}` asks again."
    )
    return CommandError(sentence, Exit.FAILED, problem)


def print_json(document: Json) -> None:
    """One JSON document on standard output."""
    print(json.dumps(document, indent=2))  # noqa: T201  # a machine reads it


def _say_how_to_follow(generation: Json, *, as_json: bool) -> None:
    if as_json:
        print_json(generation)
        return
    id_ = generation["id"]
    side().print(
        f"Accepted. `darkroom show {id_} --follow --out .` waits for it and saves the pictures,\n"
        f"`darkroom cancel {id_}` ends it."
    )
    print(id_)  # noqa: T201  # so that a script has it


def _with_paths(generation: Json, paths: Sequence[Path]) -> Json:
    images = [dict(image) for image in generation["images"]]
    for image, path in zip(images, paths, strict=False):
        image["path"] = str(path)
    return generation | {"images": images}


def _show(generation: Json, paths: Sequence[Path]) -> None:
    """The files, or where none were kept the URLs, on standard output; all else beside it."""
    console = side()
    console.print(Text.assemble(("✓ ", "green"), _summary(generation)))
    if generation["missing"]:
        console.print(
            f"[yellow]![/] {generation['missing']} could not be made; their units are back."
        )
    for number, image in enumerate(generation["images"]):
        if paths:
            console.print("  ", link(image["url"]), sep="")
            path = paths[number]
            output().print(link(path.absolute().as_uri(), f"{path}"))
        else:
            output().print(link(image["url"]))
    console.print(f"  darkroom show {generation['id']}", style="dim")


def _summary(generation: Json) -> str:
    cost = generation.get("cost")
    parts = (
        f"completed in {took(generation)}",
        f"by {printable(generation.get('provider') or '')}",
        f"{cost['amount']} {cost['currency']}" if cost else "",
    )
    return ", ".join(part for part in parts if part)
