"""`python -m bench.soak --minutes 20`: half of what the service can do, for long; nothing may grow.

Every look goes to build/soak.json, what became of it to docs/benchmarks.md (ten minutes or more).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import psycopg
import uvloop
from rich.console import Console
from rich.table import Table

from bench import processes, report
from bench.end_to_end import CONNECTIONS, SLOTS, WORKERS
from bench.figures import MISSED, REACHED, BenchError
from bench.growth import Growth, Tolerance, growth
from bench.load import Load
from bench.one_at_a_time import SIZE, warm_service
from bench.servers import Servers, temporary_folder
from bench.service import Service
from infrastructure.read_models import image_generations, jobs

JSON = report.ROOT / "build" / "soak.json"
SECONDS_FOR_THE_MOST = 10.0
BETWEEN_LOOKS = 10.0
FEWEST_LOOKS = 8
MINUTES_TO_PUBLISH = 10
CREATED, SERVER_ERROR = 201, 500
MEGABYTE = 1_000_000
SMALL_TABLES = ("work", "quota_counters", "workers", "follower_positions")
KEPT_TABLES = (  # what every generation leaves for ever
    "stored_events",
    f"{image_generations.READ_MODEL.schema}.image_generations",
    f"{jobs.READ_MODEL.schema}.jobs",
)
TABLES = """
SELECT relname, pg_total_relation_size(relid), n_dead_tup
  FROM pg_stat_user_tables WHERE relname = ANY (%s)
"""
KEPT = """
SELECT (SELECT count(*) FROM image_generations),
       (SELECT sum(pg_total_relation_size(name)) FROM unnest(%s::regclass[]) name)
"""
TOLERANCES = {  # by the last word of a thing's name, over the second half of the time
    "memory": Tolerance(percent=3, at_least=3),  # MB
    "files": Tolerance(percent=0, at_least=2),
    "connections": Tolerance(percent=0, at_least=2),
    "processes": Tolerance(percent=0, at_least=2),
    "size": Tolerance(percent=10, at_least=1),  # MB
    "dead": Tolerance(percent=20, at_least=3000),  # rows; autovacuum looks once a minute
}
MORE_BYTES = Tolerance(percent=10, at_least=0)


@dataclass(frozen=True)
class Look:
    """What there was after so many seconds, by name; `generations` and `bytes` are of the log."""

    seconds: float
    generations: int
    bytes: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Soak:
    """All of it."""

    most: float
    load: Load
    looks: Sequence[Look]

    def growths(self) -> list[Growth]:
        """Of each thing that was looked at, and of the bytes that a generation takes."""
        seconds = [look.seconds for look in self.looks]
        return [
            self._bytes_of_a_generation(),
            *(
                growth(
                    name,
                    seconds,
                    [look.values[name] for look in self.looks],
                    TOLERANCES[name.split()[-1]],
                )
                for name in self.looks[0].values
            ),
        ]

    def server_errors(self) -> int:
        """Answers of 500 and above."""
        return sum(n for status, n in self.load.answers.items() if int(status) >= SERVER_ERROR)

    def failed(self) -> bool:
        """Whether something grows, or was answered otherwise than with a picture."""
        return set(self.load.answers) != {str(CREATED)} or any(g.grows for g in self.growths())

    def _bytes_of_a_generation(self) -> Growth:
        first, middle, last = (self.looks[place] for place in (0, len(self.looks) // 2, -1))
        early, late = _bytes_each(first, middle), _bytes_each(middle, last)
        return Growth(
            what="bytes of a generation",
            middle=late,
            added=late - early,
            tolerated=early * MORE_BYTES.percent / 100,
        )


async def soak(minutes: float, console: Console) -> bool:
    """Whether it passed."""
    names = ("projector", *["worker"] * WORKERS, "api")
    with temporary_folder() as folder, Servers(folder) as servers:
        before = report.Before.now(folder)
        async with warm_service(servers, *names, DARKROOM_WORKER_SLOTS=str(SLOTS)) as service:
            done = await _soaked(service, minutes * 60, console)
        conditions = before.conditions(folder, servers.versions())
    _keep(done, conditions)
    _show(done, console)
    report.show_conditions(console, conditions)
    if minutes >= MINUTES_TO_PUBLISH:
        report.put("soak", _markdown(done, conditions))
    return not done.failed()


async def _soaked(service: Service, seconds: float, console: Console) -> Soak:
    request = service.request(size=SIZE, wait=True)
    fastest = await service.load(request, connections=CONNECTIONS, seconds=SECONDS_FOR_THE_MOST)
    most = fastest.rate(CREATED)
    loading = asyncio.create_task(
        service.load(request, connections=CONNECTIONS, seconds=seconds, rate=most / 2)
    )
    began, looks = time.monotonic(), list[Look]()
    with console.status("") as status:
        while not loading.done():
            looks.append(await asyncio.to_thread(_look, service, time.monotonic() - began))
            status.update(f"{most / 2:.1f}/s, {looks[-1].seconds:.0f} of {seconds:.0f} s")
            await asyncio.wait([loading], timeout=BETWEEN_LOOKS)
    load = await loading
    if len(looks) < FEWEST_LOOKS:
        raise BenchError(f"{len(looks)} looks say nothing: let it run for at least two minutes.")
    return Soak(most, load, looks)


def _look(service: Service, seconds: float) -> Look:
    with psycopg.connect(service.database_url) as connection:
        tables = connection.execute(TABLES, (list(SMALL_TABLES),)).fetchall()
        generations, kept = connection.execute(KEPT, (list(KEPT_TABLES),)).fetchone() or (0, 0)
    values = dict(_of_processes(service))
    for name, size, dead in tables:
        values |= {f"{name} size": size / MEGABYTE, f"{name} dead": dead}
    return Look(seconds, generations, int(kept), values)


def _of_processes(service: Service) -> Iterator[tuple[str, float]]:
    ports = service.servers.ports()
    for name, pid in service.pids.items():
        yield f"{name} memory", processes.memory(pid).rss / MEGABYTE
        yield f"{name} files", processes.open_files(pid)
        yield f"{name} connections", sum(processes.connections(pid, ports).values())
    servers = service.servers.pids()
    for name, pid in servers.items():
        yield f"{name} memory", processes.memory_of_all(pid) / MEGABYTE
    yield "PostgreSQL processes", len(processes.children(servers["PostgreSQL"]))


def _bytes_each(earlier: Look, later: Look) -> float:
    return (later.bytes - earlier.bytes) / max(later.generations - earlier.generations, 1)


def _keep(done: Soak, conditions: report.Conditions) -> None:
    JSON.parent.mkdir(exist_ok=True)
    everything = {
        "conditions": asdict(conditions),
        "failed": done.failed(),
        "growths": [asdict(g) | {"grows": g.grows} for g in done.growths()],
        **asdict(done),
    }
    JSON.write_text(json.dumps(everything, indent=1, default=report.iso) + "\n")


COLUMNS = ("what", "in the second half", "its trend over that half", "tolerated", "")


def _rows(done: Soak) -> Iterator[tuple[str, ...]]:
    for g in done.growths():
        mark = MISSED if g.grows else REACHED
        yield g.what, f"{g.middle:,.1f}", f"{g.added:+,.1f}", f"+{g.tolerated:,.1f}", mark


def _sentence(done: Soak) -> str:
    answers = ", ".join(f"{n:,} of {status}" for status, n in sorted(done.load.answers.items()))
    return (
        f"{done.most / 2:.1f} generations a second, half of {done.most:.1f}, for"
        f" {done.load.seconds / 60:.1f} minutes; {len(done.looks)} looks. Answers: {answers};"
        f" {done.server_errors()} of 500 and above."
    )


def _show(done: Soak, console: Console) -> None:
    table = Table(*COLUMNS, title="Soak", title_justify="left", title_style="bold")
    for row in _rows(done):
        table.add_row(*row)
    console.print(table)
    console.print(_sentence(done))
    console.print("[bold red]failed[/]" if done.failed() else "[bold green]passed[/]")


def _markdown(done: Soak, conditions: report.Conditions) -> Iterator[str]:
    yield f"{_sentence(done)}\n"
    yield from report.table(COLUMNS, _rows(done))
    yield ""
    yield from report.table(("condition", ""), conditions.facts().items())


def main() -> int:
    """The process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    minutes = parser.parse_args().minutes
    try:
        return 0 if uvloop.run(soak(minutes, Console())) else 1
    except (BenchError, ConnectionError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


if __name__ == "__main__":
    sys.exit(main())
