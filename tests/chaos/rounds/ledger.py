"""What the provider counted on its side, call by call."""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from uuid import UUID

CallId = tuple[UUID, int]


@dataclass
class Billed:
    """One call at the provider's side: how often it came, from where, how it ended.

    `images` are the numbers asked for where the provider knows them, `pictures` how many they are.
    """

    times: int = 0
    process: int = 0
    images: tuple[int, ...] = ()
    pictures: int = 0
    outcome: str | None = None
    cost: Decimal = Decimal(0)


def ledger_of(path: Path) -> dict[CallId, Billed]:
    """The built-in provider's own account, by call."""
    calls: dict[CallId, Billed] = {}
    for line in map(json.loads, path.read_text().splitlines() if path.exists() else ()):
        billed = calls.setdefault((UUID(line["generation"]), line["call"]), Billed())
        if line["event"] == "called":
            billed.times += 1
            billed.process, billed.images = line["process"], tuple(line["images"])
            billed.pictures = len(billed.images)
        else:
            billed.outcome = line["event"]
            billed.cost += Decimal(line.get("cost", "0"))
    return calls
