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
from infrastructure.event_store.projection import describe
from infrastructure.event_store.repair import UnreadableLogError, repair
from infrastructure.event_store.session_mode import SharedSessionsError, refuse_shared_sessions
from infrastructure.logging import configure_logging
from interfaces.cli.endings import CommandError, Exit
from interfaces.cli.terminal import output, printable, side

ROWS: Mapping[Part, str] = {
    "events": "events",
    "quota": "counters",
    "limits": "limits of users' own",
    "work": "pieces of work",
    "in-flight": "counters",
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

    @property
    def unknown(self) -> int:
        """What only a newer release may mend."""
        return sum(difference.problem == "unknown" for difference in self.differences)


def check(database_url: str, *, mend: bool, as_json: bool) -> Exit:
    """Compare, say what differs, mend it if wanted; whether something is left to mend."""
    if mend:
        configure_logging()
    found = _Found()
    try:
        asyncio.run(_check(database_url, found, mend=mend, as_json=as_json))
    except SharedSessionsError as error:
        raise CommandError(f"{error}", Exit.MISUSED) from error
    except (UnknownEventError, UnreadableLogError, psycopg.Error) as error:
        if as_json and found.differences and mend:
            output().print_json(json.dumps(_document(found, mend=mend)))
        raise _cut_short(found, error) from error
    if as_json:
        output().print_json(json.dumps(_document(found, mend=mend)))
    else:
        output().print(f"\n{_ending(found, mend=mend)}")
    left = found.unknown if mend else len(found.differences)
    return Exit.FAILED if found.more or left else Exit.DONE


def _cut_short(found: _Found, error: Exception) -> CommandError:
    """Why it did not come to its end, with what was mended until then."""
    match error:
        case UnreadableLogError():
            return CommandError(f"{error}")
        case UnknownEventError():
            return CommandError(f"{error}", Exit.UNAVAILABLE)
        case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedFunction():
            sentence = "The database has not the tables of this release: run `darkroom migrate`."
            return CommandError(sentence, Exit.UNAVAILABLE)
    reason = " ".join(describe(error).split())
    if not found.mended:
        return CommandError(f"It was not checked to the end: {reason}", Exit.UNAVAILABLE)
    count = f"{len(found.mended)} of {_differences(len(found.differences))}"
    return CommandError(f"Only {count} were mended, run it again: {reason}", Exit.UNAVAILABLE)


async def _check(database_url: str, found: _Found, *, mend: bool, as_json: bool) -> None:
    await refuse_shared_sessions(database_url)

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
    known = len(found.differences) - found.unknown
    left = f" {_differences(found.unknown)} left to the newer release." if found.unknown else ""
    if not mend and known:
        return f"{_differences(known)}: `darkroom check --repair` mends them.{left}"
    gone = known - len(found.mended)
    since = f" {_differences(gone)} had gone by then." if gone and mend else ""
    return f"{len(found.mended)} mended.{since}{left}"


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
        "user": str(difference.user_id) if difference.user_id else None,
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
        case "events":
            what = f"event {place['position']}: {place['topic']} of {place['ref']}"
        case "quota":
            what = f"{place['window_type']} units since {place['starts_at'][:10]}"
        case "limits":
            what = f"{place['window_type']} limit of their own"
        case "work":
            what = f"work: {place['kind']} {place['ref']}"
        case "in-flight":
            what = f"generations in flight of {place['whose']}"
        case _:
            what = f"key {_shortened(place['key'])} of {place['ref']}"
    it_is, said = _two_sides(difference)
    user = str(difference.user_id or "nobody knows whose")
    return printable(what), user, printable(it_is), printable(said)


def _two_sides(difference: Difference) -> tuple[str, str]:
    """The row and what the events say, without what is the same in both."""
    match difference.problem:
        case "unreadable":
            return "cannot be read", "not known"
        case "unknown":
            return "a kind that only a newer release knows", "not known"
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
