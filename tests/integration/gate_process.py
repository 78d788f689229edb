"""A worker process that holds tickets until it is killed: URL, number of calls, ticket's life."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from tests.gates import redis_gatekeeper, ticket


async def hold(redis_url: str, calls: int, life: float) -> None:
    gate = redis_gatekeeper(redis_url, lambda: datetime.now(UTC), life=timedelta(seconds=life))
    for _ in range(calls):
        await ticket(gate, "narrow")
    print("holds", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
