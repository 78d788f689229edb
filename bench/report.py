"""Where the figures go: the terminal, `build/bench.json`, `docs/benchmarks.md`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.chart import drawn
from bench.figures import BenchError, Figure, Latency, Line

ROOT = Path(__file__).parent.parent
JSON = ROOT / "build" / "bench.json"
PAGE = ROOT / "docs" / "benchmarks.md"
CHART = ROOT / "docs" / "benchmarks.svg"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
COLUMNS = tuple(field.name for field in fields(Line))


@dataclass(frozen=True)
class Conditions:
    """What the figures depend on; load averages are over 1, 5 and 15 minutes."""

    taken_at: datetime
    processors: str
    versions: Mapping[str, str]
    commit_before: Latency
    commit_after: Latency
    load_before: str
    load_after: str

    def facts(self) -> dict[str, str]:
        """For a reader."""
        return {
            "taken at": f"{self.taken_at:%Y-%m-%d %H:%M} UTC",
            "processors": self.processors,
            "commit latency of the disk, before": self.commit_before.line().measured,
            "commit latency of the disk, after": self.commit_after.line().measured,
            "load average before, after": f"{self.load_before}; {self.load_after}",
            "versions": ", ".join(f"{name} {number}" for name, number in self.versions.items()),
        }


def show(console: Console, figure: Figure) -> None:
    """One figure as a table."""
    table = Table(*COLUMNS, title=figure.title, title_justify="left", title_style="bold")
    for measured in figure.measured:
        table.add_row(*astuple(measured.line()))
    console.print(table)


def show_conditions(console: Console, conditions: Conditions) -> None:
    """What they were taken on."""
    for name, fact in conditions.facts().items():
        console.print(f"[dim]{name}:[/] {fact}")


def keep(figures: Mapping[str, Figure], conditions: Conditions) -> None:
    """All that was measured, every round and every time, as JSON."""
    JSON.parent.mkdir(exist_ok=True)
    everything = {
        "conditions": asdict(conditions),
        "figures": {name: _with_lines(figure) for name, figure in figures.items()},
    }
    JSON.write_text(json.dumps(everything, indent=1, default=_iso) + "\n")


def _with_lines(figure: Figure) -> dict[str, Any]:
    lines = [
        asdict(measured)
        | {
            "line": asdict(measured.line()),
            "goals": [asdict(goal) | {"reached": goal.reached} for goal in measured.goals()],
        }
        for measured in figure.measured
    ]
    return asdict(figure) | {"measured": lines}


def publish(figures: Sequence[Figure], conditions: Conditions) -> None:
    """Put chart and tables between the markers of docs/benchmarks.md; its prose stays."""
    CHART.write_text(drawn([goal for figure in figures for goal in figure.goals()]))
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchError(f"{PAGE.name} has lost its markers {BEGIN} and {END}: put them back.")
    tables = "\n".join(_markdown(figures, conditions))
    PAGE.write_text(f"{before}{BEGIN}\n{tables}\n{END}{after}")


def _markdown(figures: Sequence[Figure], conditions: Conditions) -> Iterator[str]:
    goals = [goal for figure in figures for goal in figure.goals()]
    reached = sum(goal.reached for goal in goals)
    yield f"{reached} of {len(goals)} limits are reached.\n"
    yield f"![How far each figure is from its limit]({CHART.name})\n"
    yield from _table(("condition", ""), conditions.facts().items())
    for figure in figures:
        yield f"\n### {figure.title}\n\n{figure.setting}\n"
        yield from _table(COLUMNS, (astuple(measured.line()) for measured in figure.measured))


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    names = list(columns)
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def now() -> datetime:
    """When the figures are taken."""
    return datetime.now(UTC)


def _iso(moment: datetime) -> str:
    return moment.isoformat()
