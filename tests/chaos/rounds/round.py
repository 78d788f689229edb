"""One round: the stack, the load and the faults, the wait for the end, the verdict."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.rounds import pictures
from tests.chaos.rounds.facts import Facts, facts_of
from tests.chaos.rounds.faults import break_things
from tests.chaos.rounds.happened import Happened
from tests.chaos.rounds.ledger import Billed, CallId, ledger_of
from tests.chaos.rounds.load import all_orders
from tests.chaos.rounds.logs import (
    no_log_holds_what_is_personal,
    no_log_tells_of_a_bug,
    what_was_said,
)
from tests.chaos.rounds.others import Others
from tests.chaos.rounds.plan import Plan
from tests.chaos.rounds.promises import PROMISES
from tests.chaos.rounds.rebuilt import read_models_are_as_rebuilt
from tests.chaos.rounds.stack import Stack, rows, stack

FINAL_WITHIN = 60.0  # seconds after the last fault and the last request
MOST_SENTENCES = 20

OPEN = """
SELECT originator_id::text FROM stored_events WHERE topic LIKE 'generation.requested@%'
EXCEPT
SELECT originator_id::text FROM stored_events
 WHERE topic LIKE ANY ('{generation.completed@%,generation.failed@%,generation.cancelled@%}')
"""
# What a worker spooled whose answer was never recorded is an orphan, and goes after two days.
LEFT = """
SELECT kind || ' ' || ref FROM work
UNION ALL
SELECT 'spooled ' || key FROM spool
 WHERE EXISTS (SELECT FROM events, jsonb_array_elements(event -> 'images') AS image
                WHERE originator_id = split_part(key, '/', 2)::uuid
                  AND topic LIKE 'generation.call_answered@%'
                  AND image ->> 'key' = key AND image ->> 'held' = 'spool')
"""
BEHIND = """
SELECT name || ' is behind' FROM follower_positions
 WHERE position < (SELECT max(notification_id) FROM stored_events)
"""
CHECKS = (("check",), ("replay", "--check"))


@dataclass
class Verdict:
    """What a round showed: `broken` has the sentences of each promise that was not kept."""

    plan: Plan
    disk_is_mounted: bool
    facts: Facts
    others: Others | None
    orphans: list[str]
    said: Counter[str]
    broken: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

    def note(self, promise: str, sentences: list[str]) -> None:
        if sentences:
            self.broken[promise] = sentences


async def play(plan: Plan, folder: Path) -> Verdict:
    """Everything that it leaves behind is in the folder."""
    happened = Happened()
    started = time.monotonic()
    async with stack(plan, folder, happened) as playing:
        begun = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as both:
            both.create_task(all_orders(playing, begun))
            both.create_task(break_things(playing, begun))
        if playing.others:
            playing.others.calm()
        await _until_final(playing)
        await playing.until_ready()
        verdict = await _judge(playing)
    verdict.seconds = time.monotonic() - started
    return verdict


async def _until_final(playing: Stack) -> None:
    """Everything has ended, is tidied up and projected; or what is not is noted."""
    since = time.monotonic()
    while left := await _left(playing):
        if time.monotonic() - since > FINAL_WITHIN:
            late = [f"{what}, {FINAL_WITHIN:g} s after the last fault" for what in left]
            playing.happened.not_final = late
            return
        await asyncio.sleep(0.1)
    playing.happened.final_after = time.monotonic() - since


async def _left(playing: Stack) -> list[str]:
    """What is not final yet."""
    url = playing.database_url
    opened = [f"{id_} is open" for (id_,) in await rows(url, OPEN)]
    return opened + [what for query in (LEFT, BEHIND) for (what,) in await rows(url, query)]


async def _judge(playing: Stack) -> Verdict:
    url = playing.database_url
    facts = await facts_of(url, _ledger(playing), playing.happened, playing.plan)
    verdict = Verdict(
        playing.plan,
        playing.disk.is_mounted,
        facts,
        playing.others,
        await pictures.orphans(playing, facts),
        what_was_said(playing.running.started),
    )
    serving = pictures.urls_serve_what_is_recorded(playing, facts)
    verdict.note("urls_serve_what_is_recorded", [s async for s in serving])
    gone = pictures.deleted_pictures_are_gone(playing, facts)
    verdict.note("deleted_pictures_are_gone", [s async for s in gone])
    for command in CHECKS:
        said = await asyncio.to_thread(_command, playing, command)
        verdict.note(f"darkroom {' '.join(command)} finds nothing", said)
    await playing.stop()
    for promise in PROMISES:
        verdict.note(promise.__name__, list(promise(facts)))
    rebuilt = read_models_are_as_rebuilt(url)
    verdict.note("read_models_are_as_rebuilt", [s async for s in rebuilt])
    processes = playing.running.started
    verdict.note("no_log_tells_of_a_bug", list(no_log_tells_of_a_bug(processes)))
    personal = no_log_holds_what_is_personal(playing.folder)
    verdict.note("no_log_holds_what_is_personal", list(personal))
    return verdict


def _ledger(playing: Stack) -> dict[CallId, Billed]:
    """What all providers counted."""
    painted = ledger_of(playing.running.ledger)
    others = playing.others
    return painted | (others.ledger(playing.running.started) if others else {})


def _command(playing: Stack, command: tuple[str, ...]) -> list[str]:
    """What it said, if it did not end with 0."""
    done = subprocess.run(
        [sys.executable, "-m", "interfaces.cli.main", *command],
        env=playing.running.environment | {"DATABASE_URL": playing.database_url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return [done.stdout + done.stderr] if done.returncode else []


def sentences(verdict: Verdict) -> Iterator[str]:
    """Each promise that was broken, and how, a line each."""
    for promise, broken in verdict.broken.items():
        yield f"{promise.replace('_', ' ')}: broken {len(broken)} times"
        yield from (f"    {sentence}" for sentence in broken[:MOST_SENTENCES])
