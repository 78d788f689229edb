"""A worker process that holds tickets until it is killed: URL, number of calls, ticket's life."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from application.switches import Switches
from infrastructure.gatekeeping.gatekeeper import RedisGatekeeper
from infrastructure.gatekeeping.line import Line
from tests.fakes import MemoryEventStore
from tests.gates import DOORS, PATIENT, RULES, ticket


async def hold(redis_url: str, calls: int, life: float) -> None:
    gate = RedisGatekeeper(
        redis_url,
        DOORS,
        Switches(MemoryEventStore()),
        rules=RULES,
        life=timedelta(seconds=life),
        clock=lambda: datetime.now(UTC),
        line=Line(patience=PATIENT),
    )
    for _ in range(calls):
        await ticket(gate, "narrow")
    print("holds", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
