"""One decision, recorded once: decided again on what others recorded meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from application.generations import MOST_CONFLICTS, ContendedError
from application.idempotency import Idempotency, hashed
from application.ports.event_store import (
    Accepted,
    Command,
    Conflict,
    Duplicate,
    EventStore,
    OwnLimits,
)
from domain.aggregate import Aggregate, made_one_by

A = TypeVar("A", bound=Aggregate)


async def decide_once(
    store: EventStore,
    load: Callable[[], Awaitable[A]],
    decide: Callable[[A], None],
    *,
    idempotency: Idempotency | None,
    what: str,
    limits: Callable[[A], OwnLimits | None] = lambda _: None,
) -> UUID | None:
    """Load, decide and record; what the same client's key was used for, if it was before.

    `limits` are those that the decision gives, recorded with it. `what` is contended if others
    decide about it all the time. Raises IdempotencyKeyReusedError, ContendedError,
    StoreUnavailableError, and what `load` and `decide` raise.
    """
    if idempotency and (before := await _used_before(store, idempotency)):
        return before
    for _ in range(MOST_CONFLICTS):
        with made_one_by(idempotency.recorded if idempotency else None):
            aggregate = await load()
            decide(aggregate)
        key = idempotency.for_command(aggregate.id) if idempotency else None
        given = limits(aggregate)
        outcome = await store.append(
            Command(events=aggregate.collect_events(), idempotency=key, limits=given)
        )
        if isinstance(outcome, Accepted):
            return None
        if isinstance(outcome, Duplicate) and idempotency:
            return idempotency.used_for(outcome)
        if not isinstance(outcome, Conflict):
            raise TypeError(f"{what} decided about cannot end as {outcome}.")
    raise ContendedError(what)


async def _used_before(store: EventStore, idempotency: Idempotency) -> UUID | None:
    key = hashed(idempotency.user_id, idempotency.key)
    used = await store.used_key(idempotency.user_id, key)
    return idempotency.used_for(used) if used else None
