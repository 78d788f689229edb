"""`darkroom check`: whether quota, limits, work and keys are as the events say; mends them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from rich.table import Table
from rich.text import Text

from infrastructure.event_store.check import MOST_DIFFERENCES, Compared, Difference, Part, compare
from infrastructure.event_store.mapper import UnknownEventError
from infrastructure.event_store.repair import repair
from infrastructure.event_store.session_mode import SharedSessionsError, refuse_shared_sessions
from infrastructure.logging import configure_logging
from interfaces.cli.endings import CommandError, Exit
from interfaces.cli.terminal import output, printable, side

ROWS: Mapping[Part, str] = {
    "quota": "counters",
    "limits": "limits of users' own",
    "work": "pieces of work",
    "idempotency": "keys",
}
NO_ROW = "no row"
OF_A_SECRET = 8  # characters that are shown of a key or a fingerprint


@dataclass
class _Found:
    """What a run has found and done so far."""

    compared: list[Compared] = field(default_factory=list)
    mended: list[Difference] = field(default_factory=list)

    @property
    def differences(self) -> list[Difference]:
        return [difference for part in self.compared for difference in part.differences]

    @property
    def more(self) -> bool:
        return any(part.more for part in self.compared)


def check(database_url: str, *, mend: bool, as_json: bool) -> Exit:
    """Compare, say what differs, mend it if wanted; whether something is left to mend."""
    if mend:
        configure_logging()
    try:
        found = asyncio.run(_check(database_url, mend=mend, as_json=as_json))
    except SharedSessionsError as error:
        raise CommandError(f"{error}", Exit.MISUSED) from error
    except UnknownEventError as error:
        raise CommandError(f"{error}", Exit.UNAVAILABLE) from error
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedFunction) as error:
        raise CommandError(
            "The database has not the tables of this release: run `darkroom migrate`.",
            Exit.UNAVAILABLE,
        ) from error
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise CommandError(f"It was not checked to the end: {reason}", Exit.UNAVAILABLE) from error
    if as_json:
        output().print_json(json.dumps(_document(found, mend=mend)))
    else:
        output().print(f"\n{_ending(found, mend=mend)}")
    return Exit.FAILED if found.more or (found.differences and not mend) else Exit.DONE


async def _check(database_url: str, *, mend: bool, as_json: bool) -> _Found:
    await refuse_shared_sessions(database_url)
    found = _Found()

    def tell(compared: Compared) -> None:
        found.compared.append(compared)
        if not as_json:
            _show_part(compared)

    with side().status("comparing with the events") as status:
        snapshot = await compare(database_url, tell=tell)
        if not as_json:
            _show_differences(found.differences)
        if mend and found.differences:
            async for mended in repair(database_url, snapshot):
                found.mended.append(mended)
                status.update(f"mended {len(found.mended)} of {len(found.differences)}")
    return found


def _show_part(compared: Compared) -> None:
    count = len(compared.differences)
    mark, style = ("✗", "bold red") if count else ("✓", "green")
    line = Text.assemble((f"{mark} ", style), (f"{compared.part:<13}", "bold"))
    line.append(f"{compared.rows:,} {ROWS[compared.part]}")
    if count:
        more = "more than " if compared.more else ""
        line.append(f", {more}{_differences(count)}")
    output().print(line)


def _show_differences(differences: Sequence[Difference]) -> None:
    """A table, or tab-separated lines where nobody looks."""
    if not differences:
        return
    if not sys.stdout.isatty():
        for difference in differences:
            print("\t".join(_cells(difference)))  # noqa: T201  # a program reads it
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for name in ("what", "user", "it is", "the events say"):
        table.add_column(name, overflow="fold")
    for difference in differences:
        what, *others = _cells(difference)
        table.add_row(Text(what), *map(Text, others))
    console = output()
    console.soft_wrap = False
    console.print("", table)


def _ending(found: _Found, *, mend: bool) -> str:
    if found.more:
        only = f"Only the first {MOST_DIFFERENCES:,} of a part were looked at"
        return f"{only}: run it again." if mend else f"{only}."
    if not found.differences:
        return "All is as the events say."
    if not mend:
        return f"{_differences(len(found.differences))}: `darkroom check --repair` mends them."
    gone = len(found.differences) - len(found.mended)
    since = f" {_differences(gone)} had gone by then." if gone else ""
    return f"{len(found.mended)} mended.{since}"


def _differences(count: int) -> str:
    return "1 difference" if count == 1 else f"{count:,} differences"


def _document(found: _Found, *, mend: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "ok": not found.differences,
        "more": found.more,
        "parts": [
            {"name": part.part, "rows": part.rows, "differences": len(part.differences)}
            for part in found.compared
        ],
        "differences": [_as_json(difference) for difference in found.differences],
    }
    if mend:
        document["mended"] = [_as_json(difference) for difference in found.mended]
    return document


def _as_json(difference: Difference) -> dict[str, Any]:
    return {
        "part": difference.part,
        "problem": difference.problem,
        "user": str(difference.user_id),
        "place": _without_secrets(difference.place),
        "found": _without_secrets(difference.found),
        "expected": _without_secrets(difference.expected),
    }


def _without_secrets(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Of a key, which may be somebody's data, and of what was asked with it, a few characters."""
    if row is None:
        return None
    return {n: _shortened(v) if n in ("key", "fingerprint") else v for n, v in row.items()}


def _shortened(secret: str) -> str:
    return secret if len(secret) <= OF_A_SECRET else f"{printable(secret[:OF_A_SECRET])}…"


def _cells(difference: Difference) -> tuple[str, str, str, str]:
    place = difference.place
    match difference.part:
        case "quota":
            what = f"{place['window_type']} units since {place['starts_at'][:10]}"
        case "limits":
            what = f"{place['window_type']} limit of their own"
        case "work":
            what = f"work: {place['kind']} {place['ref']}"
        case _:
            what = f"key {_shortened(place['key'])} of {place['ref']}"
    it_is, said = _two_sides(difference)
    return printable(what), str(difference.user_id), printable(it_is), printable(said)


def _two_sides(difference: Difference) -> tuple[str, str]:
    """The row and what the events say, without what is the same in both."""
    match difference.problem:
        case "worker":
            worker = (difference.found or {})["worker"]
            return f"held by {worker}, a worker that is gone", "held by nobody"
        case "late":
            return f"due at {(difference.found or {})['due_at']}", "due by its deadline"
    found, expected = _without_secrets(difference.found), _without_secrets(difference.expected)
    return _side(found, expected), _side(expected, found)


def _side(row: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str:
    if row is None:
        return NO_ROW
    names = [name for name in row if other is None or (name in other and row[name] != other[name])]
    return ", ".join(f"{name.removesuffix('_id')} {_value(row[name])}" for name in names) or "a row"


def _value(value: object) -> str:
    return "none" if value is None else f"{value}"
