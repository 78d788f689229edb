"""Requests as a client's backend would place them, ready to be recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from application.ports.event_store import Command, OpenWork, Units
from domain.aggregate import caused_by
from domain.generation import Generation, Wish
from domain.image import ImageSpec
from domain.quota import windows_at
from infrastructure.event_store.mapper import JsonMapper
from infrastructure.event_store.wire import encode

PROMPT = "A lighthouse on a cliff at dusk, the sea calm, one lamp lit, woodcut in three colours"
DEADLINE = timedelta(minutes=15)
LIMIT = 1_000_000_000  # compared with, never reached
USER = uuid4()


@dataclass(frozen=True)
class Request:
    """A command, and the ids in it that no two may share."""

    command: Command
    generation: UUID
    event: UUID


def new_request(size: str = "1024x1024") -> Request:
    """One picture: an event, a unit of two windows, and work."""
    with caused_by(actor=f"user:{USER}", correlation_id=str(uuid4())):
        generation = Generation.request(
            id=uuid4(),
            user_id=USER,
            api_key_id="admin",
            spec=ImageSpec(size=size),
            wish=Wish(prompt=PROMPT, metadata={"order": "4711"}),
            windows=windows_at(datetime.now(UTC)),
            deadline=DEADLINE,
        )
    (requested,) = generation.collect_events()
    command = Command(
        events=[requested],
        units=Units(USER, 1, generation.windows, {"daily": LIMIT, "monthly": LIMIT}),
        work=OpenWork("generate", generation.id, USER, DEADLINE),
    )
    return Request(command, generation.id, requested.event_id)


def supply(most: int) -> Iterator[Command]:
    """So many commands, made before the clock starts."""
    return iter([new_request().command for _ in range(most)])


def encoded(supplied: Iterator[Command]) -> Iterator[str]:
    """The same as `append_v1` takes them."""
    mapper = JsonMapper()
    return iter([encode(command, mapper) for command in supplied])
