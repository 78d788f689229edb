"""Which reference images the history knows: of PostgreSQL, and of the store in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest

from application.ports.event_store import Accepted, Command, EventStore
from application.ports.images import NamedReferences
from domain.generation import Generation
from domain.image import ReferenceImage, reference_key
from infrastructure.event_store.follower import Follower
from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.event_store.named_references import PostgresNamedReferences
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.read_models.image_generations import READ_MODEL
from tests.fakes import MemoryEventStore, MemoryNamedReferences
from tests.generations import events_of, new_generation, reference_image, request_command
from tests.meanwhile import meanwhile
from tests.processes import eventually


class Case:
    """A log and who knows its names, with what it takes until all of them are known."""

    def __init__(
        self, store: EventStore, named: NamedReferences, caught_up: Callable[[], Awaitable[None]]
    ) -> None:
        self.store, self.named, self.caught_up = store, named, caught_up

    async def refer_to(
        self, *references: ReferenceImage, mask: ReferenceImage | None = None
    ) -> UUID:
        generation = new_generation(self.store.now(), references=references, mask=mask)
        await self.store.append(request_command(generation))
        return generation.id

    async def delete(self, id_: UUID) -> None:
        generation = await self.store.get(Generation, id_)
        assert generation is not None
        generation.cancel(by=generation.user_id)
        generation.delete(by=generation.user_id)
        assert isinstance(await self.store.append(Command(events_of(generation))), Accepted)


@pytest.fixture(params=["memory", "postgres"])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    if request.param == "memory":
        store = MemoryEventStore()
        yield Case(store, MemoryNamedReferences(store), nothing_to_wait_for)
        return
    async with postgres_case(request.getfixturevalue("database_url")) as case:
        yield case


async def nothing_to_wait_for() -> None:
    pass


@asynccontextmanager
async def postgres_case(database_url: str) -> AsyncIterator[Case]:
    await ensure_tables(database_url)
    store = PostgresEventStore(database_url)
    await store.open()

    async def caught_up() -> None:
        async def is_behind() -> bool:
            rows = await store.fetch(
                "SELECT (SELECT max(notification_id) FROM stored_events)"
                " = (SELECT position FROM follower_positions WHERE name = %s)",
                (READ_MODEL.name,),
            )
            return bool(rows[0][0])

        async with meanwhile(Follower(database_url, READ_MODEL).run()):
            await eventually(is_behind)

    try:
        yield Case(store, PostgresNamedReferences(store.fetch), caught_up)
    finally:
        await store.close()


def another_reference() -> ReferenceImage:
    key = reference_key(uuid4(), "b" * 64, "image/png")
    return reference_image().model_copy(update={"key": key})


async def test_what_some_event_names_is_named(case: Case) -> None:
    first, second, third = [another_reference() for _ in range(3)]
    await case.refer_to()
    await case.refer_to(first, second)
    await case.refer_to(second)
    await case.caught_up()
    keys = [reference.key for reference in (second, third)]
    assert await case.named.among(keys) == {second.key}
    assert await case.named.among([]) == set()


async def test_masks_are_named_as_references_are(case: Case) -> None:
    reference, mask, other = [another_reference() for _ in range(3)]
    await case.refer_to(reference, mask=mask)
    await case.refer_to(reference)
    await case.caught_up()
    assert await case.named.among([mask.key, other.key]) == {mask.key}


async def test_what_only_deleted_generations_name_is_not_named(case: Case) -> None:
    shared, alone, mask = [another_reference() for _ in range(3)]
    deleted = await case.refer_to(shared, alone, mask=mask)
    kept = await case.refer_to(shared)
    await case.caught_up()
    keys = [one.key for one in (shared, alone, mask)]
    assert await case.named.among(keys) == set(keys)

    await case.delete(deleted)
    await case.caught_up()
    assert await case.named.among(keys) == {shared.key}
    await case.delete(kept)
    await case.caught_up()
    assert await case.named.among(keys) == set()


async def test_nothing_is_known_while_the_history_lacks_what_is_older_than_an_hour(
    database_url: str,
) -> None:
    async with postgres_case(database_url) as case:
        await case.refer_to(another_reference())
        assert await case.named.among([]) == set(), "it is not yet an hour old"
        await aged(case, hours=2)
        assert await case.named.among([]) is None
        await case.caught_up()
        assert await case.named.among([]) == set()


async def test_nothing_is_known_while_something_is_parked(database_url: str) -> None:
    async with postgres_case(database_url) as case:
        store: PostgresEventStore = case.store
        await store.fetch(
            "INSERT INTO parked_aggregates (name, version, originator_id, position, error)"
            " VALUES (%s, %s, %s, 1, 'unreadable') RETURNING 1",
            (READ_MODEL.name, READ_MODEL.version, uuid4()),
        )
        assert await case.named.among([]) is None


async def aged(case: Case, *, hours: int) -> None:
    store: PostgresEventStore = case.store
    await store.fetch(
        "UPDATE stored_events SET recorded_at = recorded_at - make_interval(hours => %s)"
        " RETURNING 1",
        (hours,),
    )
