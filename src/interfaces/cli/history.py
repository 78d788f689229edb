"""`darkroom history`: what was generated, the newest first."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from rich.table import Table
from rich.text import Text

from interfaces.cli.client import GENERATIONS, Client, connected
from interfaces.cli.endings import CommandError, Exit
from interfaces.cli.terminal import ago, coloured, output, printable, shortened, side

A_PAGE = 100
BESIDE_THE_PROMPT = 76  # characters of a line
LEAST_OF_A_PROMPT = 8
_AGO = re.compile(r"(\d+)\s*(s|min|h|d|w)")
_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


Filters = Mapping[str, str | None]  # named as the API's parameters


def history(filters: Filters, *, limit: int, everything: bool, as_json: bool) -> None:
    """Print a table, tab-separated lines where nobody looks, or a JSON object a line."""
    with connected(quiet=as_json) as client:
        generations = _generations(client, filters, None if everything else limit)
        if as_json:
            for generation in generations:
                print(json.dumps(generation), flush=everything)  # noqa: T201  # a machine reads it
        elif sys.stdout.isatty():
            _show_table(list(generations))
        else:
            _show_lines(generations)


def time_of(option: str, text: str | None, now: datetime | None = None) -> str | None:
    """A time as the API reads it: from RFC 3339, a date, or an age such as `2h` or `7d`."""
    if text is None:
        return None
    try:
        if age := _AGO.fullmatch(text.strip()):
            past = timedelta(**{_UNITS[age[2]]: int(age[1])})
            return _written((now or datetime.now(UTC)) - past)
        return _written(datetime.fromisoformat(text.strip()).astimezone())
    except (ValueError, OverflowError):
        raise CommandError(
            f"{option} must be a time such as 2026-01-31T12:00, a date, or an age such as 2h or 7d,"
            f" not {printable(text)!r}.",
            Exit.MISUSED,
        ) from None


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _generations(client: Client, filters: Filters, most: int | None) -> Iterator[dict[str, Any]]:
    return islice(_pages(client, filters, most), most)


def _pages(client: Client, filters: Filters, most: int | None) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        page = client.get(GENERATIONS, limit=min(most or A_PAGE, A_PAGE), cursor=cursor, **filters)
        yield from page["items"]
        cursor = page["nextCursor"]
        if cursor is None:
            return


def _show_table(generations: list[dict[str, Any]]) -> None:
    if not generations:
        side().print(
            'Nothing yet, or nothing like that. `darkroom generate "a lighthouse"` begins.'
        )
        return
    console = output()
    console.soft_wrap = False
    console.width = max(console.width, BESIDE_THE_PROMPT + LEAST_OF_A_PROMPT)  # ids stay whole
    for_prompts = console.width - BESIDE_THE_PROMPT
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for name in ("created", "status", "pictures", "id", "prompt"):
        table.add_column(name, no_wrap=True)
    for generation in generations:
        table.add_row(
            ago(generation["createdAt"]),
            coloured(generation["status"]),
            _count(generation),
            generation["id"],
            Text(shortened(generation["prompt"] or "", for_prompts)),
        )
    console.print(table)


def _count(generation: dict[str, Any]) -> str:
    if generation.get("deletedAt"):
        return "deleted"
    made, asked = len(generation["images"]), generation["count"]
    return f"{made}" if generation["status"] == "completed" and made == asked else f"{made}/{asked}"


def _show_lines(generations: Iterator[dict[str, Any]]) -> None:
    for generation in generations:
        fields = (
            generation["createdAt"],
            generation["status"],
            generation["id"],
            generation["imageUrl"] or "",
            printable(generation["prompt"] or ""),
        )
        print("\t".join(fields))  # noqa: T201  # a program reads it
