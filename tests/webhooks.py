"""Webhooks and deliveries for tests, as they are loaded after what they decided was recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID, uuid4

from application.ports.event_store import Accepted, Command, EventStore
from domain.aggregate import Aggregate, Event
from domain.delivery import Delivery
from domain.generation import Generation, Wish
from domain.image import ImageSpec
from domain.quota import windows_at
from domain.webhook import EVENT_TYPES, Webhooks, webhooks_id
from infrastructure.event_store.mapper import JsonMapper

A = TypeVar("A", bound=Aggregate)
URL = "https://shop.example/hooks"
MAPPER = JsonMapper()


def recorded(aggregate: A, at: datetime, *decided: Callable[[A], object]) -> A:
    """As it is loaded after it was made, and then each of these decisions, at this time."""
    folded: Any = aggregate
    if made := aggregate.collect_events():
        folded = _folded(None, made, at)
    for decide in decided:
        deciding = deepcopy(folded)
        decide(deciding)
        folded = _folded(folded, deciding.collect_events(), at)
    result: A = folded
    return result


def _folded(before: Any, events: Sequence[Event], at: datetime) -> Any:
    state = deepcopy(before)
    for event in events:
        state = MAPPER.to_domain_event(MAPPER.to_stored_event(event), at).mutate(state)
    return state


def with_endpoint(at: datetime, endpoint: UUID, *, user_id: UUID | None = None) -> Webhooks:
    """Of a user who wants to be told of everything, at one endpoint."""
    user = user_id or uuid4()
    webhooks = Webhooks.open(user)
    webhooks.register(endpoint, url=URL, events=EVENT_TYPES, by=user)
    return recorded(webhooks, at)


def due_delivery(at: datetime, *, endpoint: UUID | None = None) -> Delivery:
    """Of a generation that was completed."""
    return recorded(
        Delivery.of_end(
            uuid4(),
            "image.generation.completed",
            user_id=uuid4(),
            generation=uuid4(),
            endpoint=endpoint,
        ),
        at,
    )


async def end_one(
    store: EventStore, *, user_id: UUID, webhook_url: str | None = None
) -> Generation:
    """A generation of this user's that was cancelled: the shortest way to an end."""
    wish = Wish(prompt="a lighthouse", webhook_url=webhook_url)
    generation = Generation.request(
        id=uuid4(),
        user_id=user_id,
        spec=ImageSpec(count=1),
        wish=wish,
        windows=windows_at(store.now()),
    )
    generation.cancel(by=user_id)
    assert isinstance(await store.append(Command(generation.collect_events())), Accepted)
    return generation


async def register(store: EventStore, user_id: UUID, *, url: str = URL) -> UUID:
    """An endpoint of this user's that wants to be told of everything."""
    endpoint, known = uuid4(), await store.get(Webhooks, webhooks_id(user_id))
    webhooks = known or Webhooks.open(user_id)
    webhooks.register(endpoint, url=url, events=EVENT_TYPES, by=user_id)
    assert isinstance(await store.append(Command(webhooks.collect_events())), Accepted)
    return endpoint
