"""Tasks that go on until they are ended: one cancellation may get lost on the way."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

log = logging.getLogger(__name__)

CANCEL_AGAIN = 0.5  # seconds
ROUNDS_TO_BE_PATIENT = 10


async def end(*tasks: asyncio.Task[Any]) -> list[object]:
    """Cancel the tasks until all of them have ended; what each came to, errors included.

    Again and again: psycopg tells of a connection that broke instead of the cancellation that came
    meanwhile, and `asyncio.wait_for` of Python 3.11 prefers a result that has just come.
    """
    pending, rounds = set(tasks), 0
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN)
        rounds += 1
        if pending and rounds % ROUNDS_TO_BE_PATIENT == 0:
            names = sorted(getattr(task.get_coro(), "__qualname__", "?") for task in pending)
            log.warning("tasks do not end", extra={"tasks": names})
    return list(await asyncio.gather(*tasks, return_exceptions=True))


async def end_all_others() -> None:
    """End whatever else goes on in this event loop."""
    current = asyncio.current_task()
    await end(*(task for task in asyncio.all_tasks() if task is not current))
