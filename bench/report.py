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

from bench import machine
from bench.chart import drawn
from bench.figures import BenchError, Figure, Latency, Line

ROOT = Path(__file__).parent.parent
JSON = ROOT / "build" / "bench.json"
PAGE = ROOT / "docs" / "benchmarks.md"
CHART = ROOT / "docs" / "benchmarks.svg"
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


@dataclass(frozen=True)
class Before:
    """The machine before the figures are taken."""

    commit: Latency
    load: str

    @classmethod
    def now(cls, folder: Path) -> Before:
        """Commits are those of the disk under `folder`."""
        load = machine.load()
        return cls(machine.commit_latency(folder), load)

    def conditions(self, folder: Path, versions: dict[str, str]) -> Conditions:
        """With the machine as it is now, afterwards."""
        return Conditions(
            taken_at=datetime.now(UTC),
            processors=machine.processors(),
            versions=machine.versions() | versions,
            commit_before=self.commit,
            commit_after=machine.commit_latency(folder),
            load_before=self.load,
            load_after=machine.load(),
        )


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
    JSON.write_text(json.dumps(everything, indent=1, default=iso) + "\n")


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
    put("figures", _markdown(figures, conditions))


def put(name: str, lines: Iterable[str]) -> None:
    """Between the markers of this name. Raises BenchError."""
    begin_mark, end_mark = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, begin, rest = PAGE.read_text().partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not begin or not end:
        raise BenchError(f"{PAGE.name} has lost its markers {begin_mark} and {end_mark}.")
    text = "\n".join(lines)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def _markdown(figures: Sequence[Figure], conditions: Conditions) -> Iterator[str]:
    goals = [goal for figure in figures for goal in figure.goals()]
    reached = sum(goal.reached for goal in goals)
    yield f"{reached} of {len(goals)} limits are reached.\n"
    yield f"![How far each figure is from its limit]({CHART.name})\n"
    yield from table(("condition", ""), conditions.facts().items())
    for figure in figures:
        yield f"\n### {figure.title}\n\n{figure.setting}\n"
        yield from table(COLUMNS, (astuple(measured.line()) for measured in figure.measured))


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """In Markdown."""
    names = list(columns)
    yield f"| {' | '.join(names)} |"
    yield f"|{'---|' * len(names)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def iso(moment: datetime) -> str:
    """As JSON has it."""
    return moment.isoformat()
