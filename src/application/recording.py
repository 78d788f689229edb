"""Recording what cannot be left unsaid."""

from __future__ import annotations

import asyncio
import logging

from application.ports import Command, EventStore, Outcome, StoreUnavailableError

log = logging.getLogger(__name__)

PAUSES = (0.1, 0.5, 2.0, 5.0, 10.0)  # seconds between tries to record what happened


async def record_patiently(store: EventStore, command: Command) -> Outcome:
    """Record, however long it takes: work that is held is never left without a word."""
    attempt = 0
    while True:
        try:
            return await store.append(command)
        except StoreUnavailableError as error:
            log.warning("cannot record yet: %s", error)
            await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
            attempt += 1
