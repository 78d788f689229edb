"""Generations for tests, in whatever state is needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID, uuid4

from application.ports.event_store import Command, MostInFlight, OpenWork
from application.units import units_taken
from domain.aggregate import Event
from domain.generation import Generation, Wish
from domain.image import (
    Cost,
    ImageSpec,
    ReferenceImage,
    StoredImage,
    image_key,
    reference_key,
)
from domain.quota import WindowType, windows_at
from infrastructure.event_store.mapper import JsonMapper

HOUR = timedelta(hours=1)
COST = Cost(amount=Decimal("0.001"), price_list="test-1")


def new_generation(
    now: datetime, *, user_id: UUID | None = None, count: int = 1, **wanted: Any
) -> Generation:
    """A generation that was just asked for, not yet recorded; an `end_user` has a quota too."""
    end_user = wanted.pop("end_user", None)
    return Generation.request(
        id=wanted.pop("id", None) or uuid4(),
        user_id=user_id or uuid4(),
        spec=ImageSpec(count=count, **wanted.pop("spec", {})),
        wish=Wish(prompt=wanted.pop("prompt", "a lighthouse"), end_user=end_user),
        windows=windows_at(now, end_user=end_user is not None),
        **wanted,
    )


def events_of(generation: Generation) -> Sequence[Event]:
    """Its decisions not yet recorded."""
    return generation.collect_events()


def request_command(
    generation: Generation, *, most: MostInFlight | None = None, **limits: int | None
) -> Command:
    """What placing it records; limits are by window type, with underscores."""
    by_type = {cast(WindowType, name.replace("_", "-")): units for name, units in limits.items()}
    return Command(
        events=events_of(generation),
        units=units_taken(generation, by_type),
        work=OpenWork(
            "generate",
            generation.id,
            generation.user_id,
            timedelta(seconds=generation.deadline_seconds),
            most,
        ),
    )


def stored_image(generation: UUID, number: int) -> StoredImage:
    """A picture of it as the store holds it."""
    sha256 = f"{number:064x}"
    return StoredImage(
        number=number,
        key=image_key(generation, number, sha256, "image/png"),
        sha256=sha256,
        content_type="image/png",
        width=8,
        height=8,
        bytes=70,
    )


def reference_image() -> ReferenceImage:
    """A reference image that lies in the store, or not."""
    sha256 = "a" * 64
    key = reference_key(UUID(int=1), sha256, "image/png")
    return ReferenceImage(
        sha256=sha256, key=key, content_type="image/png", width=4, height=4, bytes=70
    )


def recorded(generation: Generation, at: datetime) -> Generation:
    """The generation as it is loaded after its decisions were recorded at this time."""
    mapper = JsonMapper()
    folded: Any = None
    for event in generation.pending_events:
        folded = mapper.to_domain_event(mapper.to_stored_event(event), at).mutate(folded)
    return cast(Generation, folded)


def decisions(generation: Generation) -> list[str]:
    """The names of its decisions not yet recorded."""
    return [type(event).__name__ for event in generation.pending_events]
