"""Every event, in order, once; and what a release, a version or a restore makes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest
from eventsourcing.domain import BaseAggregate

from domain.aggregate import Event as DomainEvent
from domain.generation import Generation
from infrastructure.event_store import log_pages
from infrastructure.event_store.connections import connect
from infrastructure.event_store.follower import Follower
from infrastructure.event_store.follower_tables import (
    LeadershipLostError,
    follower_states,
    prepare,
    tend,
)
from infrastructure.event_store.mapper import JsonMapper
from infrastructure.event_store.store import PostgresEventStore
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


async def test_eight_writers_and_a_follower_that_sees_every_event_in_order_once(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    async with running(follower(database_url, batch=50)):
        await write(stores, each=40)
        await recorded_all(database_url)

    assert len(await recorded(database_url)) == 8 * 40 * 3


async def test_a_batch_is_bounded_in_bytes_and_nothing_behind_its_end_is_missed(
    stores: Sequence[PostgresEventStore], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pages, "MOST_BYTES", 2000)
    await write(stores, each=4)
    async with running(follower(database_url)):
        await recorded_all(database_url)

    batches = "SELECT count(*) FROM recording_v1.recording GROUP BY xmin"
    assert all(count < 20 for (count,) in await rows(database_url, batches))


async def test_an_event_recorded_while_nobody_listens_is_found_by_the_first_read(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    await write(stores, each=2)
    async with running(follower(database_url)):
        await recorded_all(database_url)


async def test_a_notification_makes_an_event_visible_before_the_next_poll(
    store: PostgresEventStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.event_store.follower.POLL_SECONDS", 60)
    async with running(Follower(database_url, RECORDING, idle_session_timeout=60)):
        for _ in range(5):
            await append(store, new_generation(store.now()))
            await recorded_all(database_url)


async def test_a_leader_that_somebody_overtook_writes_nothing(
    store: PostgresEventStore, database_url: str
) -> None:
    async with running(follower(database_url)):
        await append(store, new_generation(store.now()))
        await recorded_all(database_url)
        await rows(
            database_url,
            """WITH more AS (
                   INSERT INTO stored_events
                          (originator_id, originator_version, topic, state, recorded_at)
                   SELECT gen_random_uuid(), 1, topic, state, now() FROM stored_events)
               UPDATE follower_positions SET position = 2 WHERE name = 'recording'""",
        )
        await append(store, new_generation(store.now()))
        await eventually(lambda: has_position(database_url, 3))

    assert await recorded(database_url) == [1, 3]


async def test_a_missed_notification_costs_a_poll_and_no_event(
    store: PostgresEventStore, database_url: str
) -> None:
    async with running(Follower(database_url, RECORDING, idle_session_timeout=60)):
        await append(store, new_generation(store.now()))
        await recorded_all(database_url)
        await rows(
            database_url,
            """INSERT INTO stored_events
                      (originator_id, originator_version, topic, state, recorded_at)
               SELECT gen_random_uuid(), 1, topic, state, now() FROM stored_events""",
        )
        await recorded_all(database_url)


class Tomorrow(BaseAggregate[UUID]):
    """What only a newer release knows."""

    class Event(DomainEvent):
        """A decision of tomorrow."""

    class Melted(Event):
        topic = "tomorrow.melted"
        version = 1


async def test_an_unknown_event_makes_it_give_way_to_a_newer_release(
    store: PostgresEventStore, database_url: str
) -> None:
    old = follower(database_url)
    new = Follower(database_url, RECORDING, JsonMapper([Generation, Tomorrow]))
    async with running(old):
        await append(store, new_generation(store.now()))
        await write_raw(database_url, "tomorrow.melted@1", "{}")
        await append(store, new_generation(store.now()))
        await eventually(lambda: has_position(database_url, 1))
        async with running(new):
            await eventually(lambda: has_position(database_url, 3))
            assert (new.leading, old.leading) == (True, False)
            assert await goes_on(store)

    assert await recorded(database_url) == [1, 3]


async def test_a_higher_version_is_built_beside_while_the_older_one_is_followed(
    stores: Sequence[PostgresEventStore], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.event_store.follower.TEND_SECONDS", 0.0)
    await write(stores, each=2)
    changed = RECORDING.create.replace("topic text", "more text DEFAULT 'new', topic text")
    raised = replace(RECORDING, version=2, create=changed)
    async with running(follower(database_url)):
        await recorded_all(database_url)
        await eventually(lambda: tended(database_url, 1), what="the older one's being full")
        async with running(follower(database_url, raised)):
            await write(stores, each=2)
            await eventually(lambda: shows(database_url, "recording_v2"), what="being shown")
            await recorded_all(database_url)
        await write(stores, each=2)
        await told_all(database_url, "recording_v1")

    assert await rows(database_url, "SELECT DISTINCT more FROM recording") == [("new",)]


async def shows(database_url: str, schema: str) -> bool:
    """Whether the plain name shows the tables there."""
    query = "SELECT obj_description(to_regclass('recording'))"
    return schema in ((await rows(database_url, query))[0][0] or "")


async def test_a_version_that_is_made_anew_is_not_shown_before_it_is_full_where_an_older_one_is(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    second = replace(RECORDING, version=2)
    await write(stores, each=1)
    for version in (RECORDING, second):
        async with running(follower(database_url, version)):
            await eventually(lambda v=version: shows(database_url, v.schema), what="being shown")
            await recorded_all(database_url)
            await eventually(lambda v=version: tended(database_url, v.version), what="it")
    await rows(database_url, "DROP TABLE recording_v2.recording CASCADE")
    async with await connect(database_url, "projector") as connection:
        await prepare(connection, second)

    assert await shows(database_url, "recording_v1")
    await recorded_all(database_url)
    states = await follower_states(stores[0].fetch)
    (state,) = [one for one in states if (one.name, one.version) == second.key]
    assert (state.built, state.anew, state.behind) == (True, True, 24)
    async with running(follower(database_url, second)):
        await eventually(lambda: shows(database_url, "recording_v2"), what="being shown again")
        await recorded_all(database_url)
    states = await follower_states(stores[0].fetch)
    (state,) = [one for one in states if (one.name, one.version) == second.key]
    assert (state.built, state.anew) == (True, False)


async def told_all(database_url: str, schema: str) -> None:
    """Wait until the tables there were told the whole log."""

    async def complete() -> bool:
        query = f"SELECT position FROM {schema}.recording ORDER BY place"
        return [row[0] for row in await rows(database_url, query)] == await logged(database_url)

    await eventually(complete, what=f"every event's being in {schema}")


async def test_what_nobody_followed_into_for_a_day_is_dropped(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    for version in (1, 2, 3):
        async with running(follower(database_url, replace(RECORDING, version=version))):
            await eventually(lambda v=version: there(database_url, f"recording_v{v}"))
    await rows(
        database_url,
        "UPDATE follower_positions SET updated_at = now() - interval '25 hours' WHERE version = 1",
    )
    async with running(follower(database_url, replace(RECORDING, version=3))):
        await eventually(lambda: gone(database_url, "recording_v1"), what="being dropped")

    assert await there(database_url, "recording_v2")


CHANGED = RECORDING.create.replace("topic text", "more text DEFAULT 'new', topic text")


@pytest.mark.parametrize("create", [RECORDING.create, CHANGED])
async def test_a_newer_version_that_was_shown_is_dropped_a_day_after_the_release_went_back(
    stores: Sequence[PostgresEventStore],
    database_url: str,
    caplog: pytest.LogCaptureFixture,
    create: str,
) -> None:
    await a_release_came_and_went(stores, database_url, create)
    await rows(database_url, "CREATE SCHEMA recording_aside_v2")  # made anew, and never tended
    async with running(follower(database_url)):
        await eventually(lambda: gone(database_url, "recording_v2"), what="being dropped")

    assert await shows(database_url, "recording_v1")
    assert await schemas(database_url) == ["recording_v1"]
    places = "SELECT version FROM follower_positions WHERE name = 'recording'"
    assert await rows(database_url, places) == [(1,)]
    assert "are kept" not in caplog.text


async def test_what_reads_an_abandoned_version_by_the_plain_name_is_named_and_goes_on_when_dropped(
    stores: Sequence[PostgresEventStore],
    database_url: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("infrastructure.event_store.follower.TEND_SECONDS", 0.0)
    await a_release_came_and_went(stores, database_url, CHANGED)
    await rows(database_url, "CREATE VIEW mine AS SELECT more FROM recording")
    async with running(follower(database_url)):
        await eventually(lambda: gone(database_url, "recording_v2"), what="being kept")
        assert "because others depend on them: mine" in caplog.text
        assert "still shows what is not written any more: drop these views, and" in caplog.text
        await rows(database_url, "DROP VIEW mine")
        await eventually(lambda: shows(database_url, "recording_v1"), what="being shown")
        await recorded_all(database_url)


async def a_release_came_and_went(
    stores: Sequence[PostgresEventStore], database_url: str, create: str
) -> None:
    """A day ago, with a second version that the plain name shows still."""
    await write(stores, each=1)
    for version in (RECORDING, replace(RECORDING, version=2, create=create)):
        async with running(follower(database_url, version)):
            await eventually(lambda v=version: shows(database_url, v.schema), what="being shown")
            await told_all(database_url, version.schema)
    await rows(
        database_url,
        "UPDATE follower_positions SET updated_at = now() - interval '25 hours' WHERE version = 2",
    )


async def schemas(database_url: str) -> list[str]:
    query = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'recording%' ORDER BY 1"
    return [row[0] for row in await rows(database_url, query)]


async def there(database_url: str, schema: str) -> bool:
    return bool((await rows(database_url, "SELECT to_regnamespace(%s) IS NOT NULL", schema))[0][0])


async def gone(database_url: str, schema: str) -> bool:
    return not await there(database_url, schema)


async def test_another_log_under_a_running_follower_is_followed_from_its_beginning(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    await write(stores, each=2)
    async with running(follower(database_url)):
        await recorded_all(database_url)
        await rows(
            database_url,
            """WITH lost AS (DELETE FROM stored_events WHERE notification_id > 9)
               UPDATE log SET identity = gen_random_uuid()""",
        )
        await write(stores, each=1)
        await recorded_all(database_url)


@pytest.mark.parametrize("dropped", ["SCHEMA recording_v1", "TABLE recording_v1.recording"])
async def test_tables_that_somebody_dropped_are_made_anew_by_who_leads_and_by_who_begins_to(
    stores: Sequence[PostgresEventStore],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    dropped: str,
) -> None:
    monkeypatch.setattr("infrastructure.event_store.follower.TEND_SECONDS", 0.0)
    await write(stores, each=2)
    for _ in range(2):
        async with running(follower(database_url)):
            await recorded_all(database_url)
            await rows(database_url, f"DROP {dropped} CASCADE")
            await recorded_all(database_url)
        await rows(database_url, f"DROP {dropped} CASCADE")


async def test_who_leads_does_not_take_what_another_made_anew_for_full(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    await write(stores, each=2)
    async with running(follower(database_url)):
        await recorded_all(database_url)
    place = "SELECT position, caught_up_at::text FROM follower_positions WHERE name = 'recording'"
    async with await connect(database_url, "leads") as leads:
        reached = (await rows(database_url, place))[0][0]
        await prepare(leads, RECORDING)
        await tend(leads, RECORDING, reached)
        await rows(database_url, "DROP SCHEMA recording_v1 CASCADE")
        async with await connect(database_url, "migrates") as migrates:
            await prepare(migrates, RECORDING)
        with pytest.raises(LeadershipLostError, match="no longer at position"):
            await tend(leads, RECORDING, reached)
    assert await rows(database_url, place) == [(0, "-infinity")]


async def test_what_is_made_anew_is_what_the_plain_name_and_views_by_it_show(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    await write(stores, each=2)
    two = replace(RECORDING, create=f"{RECORDING.create}; CREATE TABLE other (id int PRIMARY KEY)")
    async with running(follower(database_url, two)):
        await recorded_all(database_url)
    await rows(
        database_url,
        """CREATE VIEW mine AS SELECT * FROM recording; GRANT SELECT ON recording TO PUBLIC;
           DROP TABLE recording_v1.other CASCADE""",
    )
    async with running(follower(database_url, two)):
        await eventually(lambda: made_anew(database_url), what="being made anew")
        await recorded_all(database_url)
        assert await rows(database_url, "SELECT count(*) FROM mine") == [(48,)]
    acl = "SELECT relacl::text FROM pg_class WHERE oid = 'recording'::regclass"
    assert "=r/" in (await rows(database_url, acl))[0][0]
    assert await schemas(database_url) == ["recording_v1"]


async def test_who_reads_for_long_keeps_no_tables_from_being_made_anew_and_nothing_is_left_of_them(
    stores: Sequence[PostgresEventStore],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("infrastructure.event_store.follower.TEND_SECONDS", 0.0)
    await write(stores, each=2)
    two = replace(RECORDING, create=f"{RECORDING.create}; CREATE TABLE other (id int PRIMARY KEY)")
    async with running(follower(database_url, two)):
        await recorded_all(database_url)
    await rows(database_url, "DROP TABLE recording_v1.other CASCADE")
    async with await psycopg.AsyncConnection.connect(database_url) as reader:
        await reader.execute("SELECT count(*) FROM recording")
        async with await connect(database_url, "darkroom migrate") as connection:
            await prepare(connection, two)
        assert await made_anew(database_url)
        assert await schemas(database_url) == ["recording_aside_v1", "recording_v1"]
        async with running(follower(database_url, two)):
            await told_all(database_url, "recording_v1")
            assert "the plain names show the best version later" in caplog.text
            await reader.rollback()
            await eventually(lambda: gone(database_url, "recording_aside_v1"), what="its going")
            await write(stores, each=1)
            await recorded_all(database_url)
    assert await schemas(database_url) == ["recording_v1"]
    assert "are kept" not in caplog.text


async def made_anew(database_url: str) -> bool:
    other = await rows(database_url, "SELECT to_regclass('recording_v1.other') IS NOT NULL")
    return other == [(True,)]


async def test_what_does_not_concern_it_is_soon_not_behind_also_while_there_is_news_all_the_time(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    untold = replace(RECORDING, statements=())
    async with running(follower(database_url, untold)):
        await append(stores[0], new_generation(stores[0].now()))
        await eventually(lambda: there(database_url, "recording_v1"))
        writing = asyncio.create_task(write(stores, writers=2, each=2000))
        for position in (100, 200, 300):
            await eventually(lambda p=position: is_past(stores[0], p), what="its saving")
            assert not writing.done()
        writing.cancel()


async def is_past(store: PostgresEventStore, position: int) -> bool:
    return (await state(store)).position > position


async def test_a_version_whose_follower_stands_still_is_not_abandoned(
    store: PostgresEventStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.event_store.follower.TEND_SECONDS", 0.0)
    old, second = follower(database_url), replace(RECORDING, version=2)
    new = Follower(database_url, second, JsonMapper([Generation, Tomorrow]))
    async with running(old):
        await append(store, new_generation(store.now()))
        await recorded_all(database_url)
    await write_raw(database_url, "tomorrow.melted@1", "{}")
    await rows(database_url, "UPDATE follower_positions SET updated_at = now() - interval '2 days'")
    async with running(old):
        await eventually(lambda: is_stuck(old), what="standing still")
        async with running(new):
            await eventually(lambda: there(database_url, "recording_v2"))
            await eventually(lambda: shows(database_url, "recording_v2"), what="being shown")
            await eventually(lambda: tended(database_url), what="looking for what is abandoned")
    assert await there(database_url, "recording_v1")


async def tended(database_url: str, version: int = 2) -> bool:
    query = """SELECT caught_up_at IS NOT NULL FROM follower_positions
                WHERE (name, version) = ('recording', %s)"""
    return await rows(database_url, query, version) == [(True,)]


async def is_stuck(one: Follower) -> bool:
    return one.error is not None
