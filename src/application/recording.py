"""What has to be said to the store, or heard from it, however long it is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from application.ports.event_store import A, Command, EventStore, Outcome, StoreUnavailableError

log = logging.getLogger(__name__)

PAUSES = (0.1, 0.5, 2.0, 5.0, 10.0)  # seconds between tries

T = TypeVar("T")


async def patiently(ask: Callable[[], Awaitable[T]], *, what: str) -> T:
    """Ask again until the store is there to answer; `what` it is that cannot be done yet."""
    attempt = 0
    while True:
        try:
            return await ask()
        except StoreUnavailableError as error:
            log.warning("cannot %s yet: %s", what, error)
            await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
            attempt += 1


async def record_patiently(store: EventStore, command: Command) -> Outcome:
    """Record, however long it takes: work that is held is never left without a word."""
    return await patiently(lambda: store.append(command), what="record")


async def load_patiently(store: EventStore, aggregate: type[A], stream: UUID) -> A | None:
    """Load, however long it takes: what was called for is recorded on what is there now."""
    return await patiently(lambda: store.get(aggregate, stream), what="load")
