"""`make chaos GENERATIONS=1000 SEEDS=1..10 FAULTS=all`: a table, and what broke is kept."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import shutil
import sys
import tempfile
from pathlib import Path
from typing import get_args

from tests.chaos.rounds.plan import Means, Outside, Plan, plan_of
from tests.chaos.rounds.round import Verdict, play, sentences
from tests.chaos.rounds.table import keep, table

KEPT = Path("build/chaos")


def main() -> int:
    """Play every seed; 1 if any promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=200)
    parser.add_argument("--seeds", type=_seeds, default=_seeds("1..3"))
    parser.add_argument("--faults", choices=get_args(Means), default="all")
    parser.add_argument("--outside", choices=(*get_args(Outside), "both"), default="both")
    parser.add_argument("--keep", action="store_true", help="keep also what was well")
    given = parser.parse_args()
    verdicts = []
    outsides = get_args(Outside) if given.outside == "both" else (given.outside,)
    for seed, outside in itertools.product(given.seeds, outsides):
        plan = plan_of(seed, given.generations, given.faults, outside)
        verdict = _play(plan, keep_always=given.keep)
        verdicts.append(verdict)
        print(f"{_name(plan)}: {'BROKEN' if verdict.broken else 'kept'}, {verdict.seconds:.0f} s")
        print("\n".join(sentences(verdict)), end="\n" if verdict.broken else "", flush=True)
    print(table(verdicts))
    broken = [_name(verdict.plan) for verdict in verdicts if verdict.broken]
    if broken:
        print(f"\nBroken: {', '.join(broken)}; look into {KEPT}.")
    return 1 if broken else 0


def _play(plan: Plan, *, keep_always: bool) -> Verdict:
    folder = Path(tempfile.mkdtemp(prefix="darkroom-chaos-"))
    try:
        verdict = asyncio.run(play(plan, folder))
    except BaseException:
        print(f"{_name(plan)} came to no verdict: look into {folder}", file=sys.stderr)
        raise
    if verdict.broken or keep_always:
        keep(verdict, folder, KEPT / _name(plan))
    shutil.rmtree(folder, ignore_errors=True)
    return verdict


def _name(plan: Plan) -> str:
    return f"{plan.seed}-{plan.outside}"


def _seeds(text: str) -> list[int]:
    """`7`, `1,3` or `1..10`."""
    first, dots, last = text.partition("..")
    return list(range(int(first), int(last) + 1)) if dots else [int(n) for n in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
