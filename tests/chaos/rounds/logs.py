"""What the processes' own logs give away: bugs, and words that no log may hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.chaos.rounds.load import MARK
from tests.processes import ADMIN_KEY, Process

NEVER = re.compile(
    r'"exception": |Traceback|was never (awaited|retrieved)|unclosed|RuntimeWarning|Fatal'
)


def no_log_tells_of_a_bug(processes: Sequence[Process]) -> Iterator[str]:
    """A traceback, an exception that nobody looked at, a coroutine that nobody awaited."""
    for process in processes:
        for line in process.log.read_text(errors="replace").splitlines():
            if NEVER.search(line):
                yield f"{process.log.name}: {line[:300]} … {line[-500:]}"


def no_log_holds_what_is_personal(folder: Path) -> Iterator[str]:
    """Neither a prompt nor a key."""
    for log in folder.rglob("*.log"):
        text = log.read_text(errors="replace")
        for secret, name in ((MARK, "a prompt"), (ADMIN_KEY, "the key")):
            if secret in text:
                yield f"{log.name} holds {name}"


def what_was_said(processes: Sequence[Process]) -> Counter[str]:
    """How often which warning or error was logged."""
    entries: list[dict[str, Any]] = [entry for p in processes for entry in p.entries()]
    return Counter(
        f"{entry['level']}: {entry['event']}"
        for entry in entries
        if entry.get("level") in ("warning", "error", "critical")
    )
