"""The table of all rounds, and what of a round is kept to look into."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from application.ports.event_store import Recorded
from tests.chaos.rounds.promises import abandoned_and_repeated, in_flight_at_silences, is_excused
from tests.chaos.rounds.round import Verdict, sentences

Cell = Callable[[Verdict], object]
OTHER_FAULTS = ("flush", "stop", "restart", "deploy", "fill", "take away", "refuse", "hang")


def _status(status: str) -> Cell:
    return lambda v: sum(v.facts.generation(id_).status == status for id_ in v.facts.streams)


def _faults(*whats: str, of: str = "") -> Cell:
    return lambda v: sum(f.what in whats and of in f.target for f in v.plan.faults)


def _answers(verdict: Verdict, *, excused: bool) -> int:
    facts = verdict.facts
    return sum(
        answer.status >= 500 and answer.status not in (502, 504)
        for answer in facts.happened.answers
        if is_excused(facts, answer) is excused
    )


def _recorded(verdict: Verdict) -> str:
    cost = sum(call.cost for call in verdict.facts.calls.values())
    billed = sum(billed.cost for billed in verdict.facts.ledger.values())
    return f"{cost} + {billed - cost}"


def _final(verdict: Verdict) -> str:
    after = verdict.facts.happened.final_after
    return "not" if after is None else f"{after:.1f} s"


def _others(name: str, *, billed: bool = False) -> Cell:
    """How many requests came to a server of others, or how many of them it bills."""

    def count(verdict: Verdict) -> object:
        if verdict.others is None:
            return "-"
        switches = verdict.others.switches[name]
        return switches.billed if billed else len(switches.seen)

    return count


COLUMNS: tuple[tuple[str, Cell], ...] = (
    ("seed", lambda v: v.plan.seed),
    ("outside", lambda v: v.plan.outside),
    ("asked", lambda v: len(v.plan.orders)),
    ("generations", lambda v: len(v.facts.streams)),
    ("completed", _status("completed")),
    ("failed", _status("failed")),
    ("cancelled", _status("cancelled")),
    ("kills", _faults("kill", of="")),
    ("pauses", _faults("pause")),
    ("cuts", _faults("cut", "lose answers")),
    ("other faults", _faults(*OTHER_FAULTS)),
    ("calls", lambda v: len(v.facts.ledger)),
    ("at OpenAI", _others("openai")),
    ("billed there", _others("openai", billed=True)),
    ("at Supabase", _others("supabase")),
    ("lost", lambda v: sum(c.was_abandoned for c in v.facts.calls.values())),
    ("repeated", lambda v: len(abandoned_and_repeated(v.facts))),
    ("in flight", lambda v: len(in_flight_at_silences(v.facts))),
    ("cost + of lost", _recorded),
    ("503 while down", lambda v: _answers(v, excused=True)),
    ("other 5xx", lambda v: _answers(v, excused=False)),
    ("final after", _final),
    ("orphans", lambda v: len(v.orphans)),
    ("took", lambda v: f"{v.seconds:.0f} s"),
    ("promises", lambda v: f"{len(v.broken)} BROKEN" if v.broken else "kept"),
)

LEGEND = """\
outside: who paints and keeps pictures; servers are an OpenAI and a Supabase of the tests, which
fail by chance, with the built-in provider behind them. calls: as all providers counted them.
kills: with -9; pauses: for longer than a lease; both of processes and servers.
lost: calls whose worker was given up; repeated: those whose images were asked for again;
in flight: calls under way when their worker was killed, stopped or cut off.
cost + of lost: recorded, and billed besides for calls recorded as lost.
orphans: pictures, stored or spooled, that no generation publishes."""


def table(verdicts: Sequence[Verdict]) -> str:
    """A row for each round."""
    names = [name for name, _ in COLUMNS]
    cells = [[str(cell(verdict)) for _, cell in COLUMNS] for verdict in verdicts]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    lines = [
        "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
        for row in [names, *cells]
    ]
    return "\n".join([*lines, "", LEGEND, *_disks(verdicts)])


def _disks(verdicts: Sequence[Verdict]) -> Iterator[str]:
    if any(verdict.disk_is_mounted for verdict in verdicts):
        yield "disk: a tmpfs filled to the last page, and taken away."
    else:
        yield "disk: only taken away; filling one needs the right to mount a tmpfs."


def keep(verdict: Verdict, folder: Path, into: Path) -> None:
    """Events, ledger, faults, answers, tables and logs, to look into."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    facts = verdict.facts
    _write(into / "plan.json", [dataclasses.asdict(verdict.plan)])
    _write(into / "events.jsonl", map(_event, facts.log))
    _write(into / "faults.jsonl", facts.happened.faults)
    _write(into / "answers.jsonl", map(dataclasses.asdict, facts.happened.answers))
    _write(into / "silences.jsonl", map(dataclasses.asdict, facts.happened.silences))
    _write(into / "outages.jsonl", map(dataclasses.asdict, facts.happened.outages))
    (into / "broken.txt").write_text("\n".join(sentences(verdict)))
    (into / "said.txt").write_text("\n".join(f"{n} × {s}" for s, n in _most(verdict.said)))
    (into / "orphans.txt").write_text("\n".join(verdict.orphans))
    for file in (*folder.glob("*.log"), *folder.glob("*.jsonl"), *folder.glob("*/server.log")):
        name = file.name if file.parent == folder else f"{file.parent.name}-{file.name}"
        shutil.copy(file, into / name)


def _event(one: Recorded) -> dict[str, object]:
    event = one.event
    return {
        "position": one.position,
        "recorded_at": one.recorded_at.isoformat(),
        "stream": str(event.originator_id),
        "topic": event.topic,
        **event.model_dump(mode="json"),
    }


def _most(said: Counter[str]) -> list[tuple[str, int]]:
    return said.most_common()


def _write(path: Path, lines: Iterable[object]) -> None:
    with path.open("w") as file:
        for line in lines:
            file.write(json.dumps(line, default=str) + "\n")
