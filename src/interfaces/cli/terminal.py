"""What a person sees: colours and links on a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.text import Text

STATUS_STYLES = {
    "completed": "green",
    "failed": "red",
    "cancelled": "yellow",
    "processing": "cyan",
    "queued": "blue",
}
STEPS = ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h"), (30 * 86_400, 86_400, "d"))


def output() -> Console:
    """Results, on standard output."""
    return Console(highlight=False, soft_wrap=True)


def side() -> Console:
    """Progress and hints, on standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def printable(text: str) -> str:
    """What somebody wrote, on one line and without what a terminal would obey."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else "�" for c in line)


def shortened(text: str, most: int) -> str:
    """At most so many characters, on one line."""
    line = printable(text)
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


def link(url: str, shown: str | None = None) -> Text:
    """A clickable link, on terminals that know them."""
    return Text(printable(shown or url), Style(link=printable(url), underline=True))


def coloured(status: str) -> Text:
    """A generation's status."""
    return Text(printable(status), STATUS_STYLES.get(status, ""))


def moment(text: str) -> datetime:
    """An RFC 3339 time."""
    return datetime.fromisoformat(text)


def ago(text: str, now: datetime | None = None) -> str:
    """How long ago a time was, in a word; a date, when it was long ago."""
    then = moment(text)
    seconds = max(0.0, ((now or datetime.now(UTC)) - then).total_seconds())
    for below, size, unit in STEPS:
        if seconds < below:
            return f"{int(seconds // size)} {unit} ago"
    return f"{then.astimezone():%Y-%m-%d}"


def local(text: str) -> str:
    """A time as the clock on the wall here shows it."""
    return f"{moment(text).astimezone():%Y-%m-%d %H:%M:%S}"


def took(generation: dict[str, Any]) -> str:
    """How long a generation took from request to end."""
    if not generation.get("completedAt"):
        return ""
    seconds = (moment(generation["completedAt"]) - moment(generation["createdAt"])).total_seconds()
    return f"{seconds:.1f} s"


def pictures(count: int) -> str:
    """So many pictures."""
    return "1 picture" if count == 1 else f"{count} pictures"


def asks_a_person() -> bool:
    """Whether somebody sits at the terminal to answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()
