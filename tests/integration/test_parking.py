"""What cannot be projected waits; what can goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from uuid import UUID

import pytest

from application.tasks import end
from domain.aggregate import Event
from domain.generation import Generation
from infrastructure.event_store.follower import retry_parked
from infrastructure.event_store.parking import MOST_PARKED
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.read_models.read_model import ReadModel, Statement
from interfaces import projector
from tests.generations import new_generation
from tests.integration.following import (
    RECORDING,
    append,
    eventually,
    follower,
    goes_on,
    has_position,
    logged,
    recorded,
    recorded_all,
    rows,
    running,
    state,
    write,
    write_raw,
)

OWNER = UUID(int=7)


async def cancelled(store: PostgresEventStore) -> Generation:
    """A generation that the recording read model cannot take from its second event on."""
    generation = new_generation(store.now())
    generation.cancel(by=OWNER)
    await append(store, generation)
    return generation


async def parks(database_url: str, count: int) -> None:
    async def so_many() -> bool:
        parked = await rows(database_url, "SELECT count(*) FROM parked_aggregates")
        return bool(parked[0][0] == count)

    await eventually(so_many, what=f"{count} being parked")


async def test_what_cannot_be_projected_is_parked_alone_and_retried_in_order(
    store: PostgresEventStore, database_url: str
) -> None:
    async with running(follower(database_url)):
        poisoned = await cancelled(store)
        await parks(database_url, 1)
        poisoned.delete(by=OWNER)
        await append(store, poisoned, new_generation(store.now()))
        await eventually(lambda: is_at(store, 4), what="passing over the parked one")
        assert await recorded(database_url) == [1, 4]

        assert await retry_parked(database_url, RECORDING) == 1
        assert await recorded(database_url) == [1, 4]
        await rows(database_url, "ALTER TABLE recording_v1.recording DROP CONSTRAINT not_forbidden")
        assert await retry_parked(database_url, RECORDING) == 0
        await append(store, new_generation(store.now()))
        await eventually(lambda: has_position(database_url, 5))

    assert await recorded(database_url) == [1, 4, 2, 3, 5]


async def is_at(store: PostgresEventStore, position: int) -> bool:
    return (await state(store)).position == position


async def test_an_event_that_cannot_be_read_is_parked_and_its_words_are_nowhere(
    store: PostgresEventStore, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await write_raw(database_url, "generation.cancelled@1", '{"by": "a secret wish"}')
    with caplog.at_level(logging.DEBUG):
        async with running(follower(database_url)):
            await append(store, new_generation(store.now()))
            await eventually(lambda: has_position(database_url, 2))

    ((error,),) = await rows(database_url, "SELECT error FROM parked_aggregates")
    assert "cannot be read" in error
    assert "secret" not in error + caplog.text


async def test_more_than_a_few_parked_are_a_bug_and_it_says_so_and_stands_still(
    store: PostgresEventStore, database_url: str
) -> None:
    for _ in range(MOST_PARKED + 3):
        await cancelled(store)
    await append(store, new_generation(store.now()))
    stuck = follower(database_url)
    async with running(stuck):
        await parks(database_url, MOST_PARKED + 1)
        await eventually(lambda: stands_still(store), what="saying so")
        assert (await state(store)).behind == 5
        assert await retry_parked(database_url, RECORDING) == MOST_PARKED + 1

        await rows(database_url, "ALTER TABLE recording_v1.recording DROP CONSTRAINT not_forbidden")
        assert await retry_parked(database_url, RECORDING) == 0
        await eventually(lambda: goes_on(store), what="going on")

    assert sorted(await recorded(database_url)) == await logged(database_url)


async def stands_still(store: PostgresEventStore) -> bool:
    return "11 aggregates cannot be projected" in ((await state(store)).error or "")


def _bug(_: Event) -> dict[str, object]:
    raise RuntimeError("a secret wish")


BROKEN = ReadModel(
    "broken", 1, "", (Statement(Generation.Event, "SELECT nonsense, %s", lambda _: {}),)
)
BUGGY = ReadModel("buggy", 1, "", (Statement(Generation.Event, "SELECT %s", _bug),))


@pytest.mark.parametrize("broken", [BROKEN, BUGGY], ids=lambda model: model.name)
async def test_a_read_model_that_fails_never_stops_another(
    stores: Sequence[PostgresEventStore],
    database_url: str,
    broken: ReadModel,
    caplog: pytest.LogCaptureFixture,
) -> None:
    following = asyncio.create_task(projector.run(database_url, read_models=[broken, RECORDING]))
    await write(stores, each=2)
    await recorded_all(database_url)
    await eventually(lambda: logs(caplog, broken.name), what="saying so")
    [outcome] = await end(following)
    assert isinstance(outcome, asyncio.CancelledError)
    assert "secret" not in caplog.text


async def logs(caplog: pytest.LogCaptureFixture, read_model: str) -> bool:
    return any(
        getattr(record, "read_model", None) == read_model
        for record in caplog.records
        if record.levelno >= logging.WARNING
    )
