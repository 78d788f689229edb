"""Server-sent events as the HTML standard has them, read from bytes as they arrive."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_END_OF_LINE = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True)
class ServerEvent:
    """One event; `id` is what a reconnect sends as Last-Event-ID, None before any was given."""

    type: str
    data: str
    id: str | None = None


@dataclass
class _Unfinished:
    type: str = ""
    data: list[str] = field(default_factory=list)


def read_events(chunks: Iterable[bytes]) -> Iterator[ServerEvent]:
    """Every event that ended; comments are skipped, and so is what was cut off."""
    unfinished, last_id = _Unfinished(), None
    for line in _lines(chunks):
        if not line:
            if unfinished.data:
                yield ServerEvent(unfinished.type or "message", "\n".join(unfinished.data), last_id)
            unfinished = _Unfinished()
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            unfinished.type = value
        elif name == "data":
            unfinished.data.append(value)
        elif name == "id" and "\0" not in value:
            last_id = value


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        rest += chunk
        # A CR at the end may be half of a CRLF: it waits for what comes.
        whole = len(rest) - 1 if rest.endswith(b"\r") else len(rest)
        *lines, last = _END_OF_LINE.split(rest[:whole])
        rest = last + rest[whole:]
        for line in lines:
            yield line.decode(errors="replace")
