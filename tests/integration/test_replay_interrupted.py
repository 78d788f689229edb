"""Replays that are killed, cancelled, cut off, kept waiting, or overtaken by the live one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import psycopg
import pytest

from infrastructure.event_store.follower import Follower
from infrastructure.event_store.read_model_schemas import LOCK
from infrastructure.event_store.replay import (
    MadeAnewError,
    Outcome,
    Phase,
    Progress,
    ReplayUnderWayError,
    StillReadError,
    compare_with_live,
    replay,
)
from infrastructure.event_store.store import PostgresEventStore
from tests.integration.following import eventually, rows, running, write
from tests.integration.replaying import (
    TOLD,
    followed,
    is_building,
    no_leftovers,
    process,
    read,
    told_everything,
)


async def test_a_replay_killed_in_the_middle_changes_nothing_and_the_next_one_clears_up(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    async with followed(stores, database_url, each=20):
        await killed_in_the_middle(database_url)
        await write(stores, each=2)
        await told_everything(database_url)
        await eventually(lambda: may_begin(database_url), what="the dead one's lock's going")
        await told_everything(database_url)

    await no_leftovers(database_url)


async def test_what_a_killed_one_left_and_somebody_reads_is_told_and_later_removed(
    stores: Sequence[PostgresEventStore], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = "SET LOCAL lock_timeout = '100ms'"
    monkeypatch.setattr("infrastructure.event_store.replay.LONG_PATIENCE", impatient)
    async with followed(stores, database_url, each=20):
        await killed_in_the_middle(database_url)
        async with read(database_url, f"{TOLD.beside.schema}.told"):
            with pytest.raises(StillReadError):
                await eventually(lambda: may_begin(database_url), what="the lock's going")
        monkeypatch.undo()
        assert (await replay(database_url, TOLD)).swapped

    await no_leftovers(database_url)


async def killed_in_the_middle(database_url: str) -> None:
    """Of a replay in a process of its own."""
    async with read(database_url):
        with process("replay", database_url, batch=1) as replaying:
            await eventually(lambda: is_building(database_url), what="being in the middle")
            replaying.kill()


async def may_begin(database_url: str) -> bool:
    try:
        await replay(database_url, TOLD)
    except ReplayUnderWayError:
        return False
    return True


async def test_one_replay_at_a_time(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    async with followed(stores, database_url, each=20), read(database_url):
        with process("replay", database_url, batch=1):
            await eventually(lambda: is_building(database_url), what="the first one's building")
            with pytest.raises(ReplayUnderWayError, match="Another replay of 'told'"):
                await replay(database_url, TOLD)
            assert await is_building(database_url)


@asynccontextmanager
async def in_the_middle(database_url: str) -> AsyncIterator[asyncio.Task[Outcome]]:
    """A replay that is under way, and cannot end."""
    async with read(database_url):
        replaying = asyncio.create_task(replay(database_url, TOLD, batch=1))
        await eventually(lambda: is_building(database_url), what="being in the middle")
        yield replaying


async def test_one_that_is_cancelled_clears_up_itself(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    async with (
        followed(stores, database_url, each=20),
        in_the_middle(database_url) as replaying,
    ):
        replaying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await replaying

    await no_leftovers(database_url)


async def test_a_lost_connection_ends_it_and_changes_nothing(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    async with followed(stores, database_url, each=20):
        async with in_the_middle(database_url) as replaying:
            await rows(
                database_url,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'darkroom replay told_v1'"
                " AND datname = current_database()",
            )
            with pytest.raises(psycopg.OperationalError):
                await replaying
        await told_everything(database_url)
        await eventually(lambda: may_begin(database_url), what="the lost one's lock's going")

    await no_leftovers(database_url)


async def test_somebody_who_reads_for_long_delays_the_swap_and_nobody_else(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    swapping = asyncio.Event()

    def tell(now: Progress) -> None:
        if now.phase == "swapping":
            swapping.set()

    async with followed(stores, database_url, each=2):
        async with read(database_url):
            replaying = asyncio.create_task(replay(database_url, TOLD, tell=tell))
            await swapping.wait()
            await write(stores, each=2)
            await told_everything(database_url, "told_v1.told")
            assert not replaying.done()
        assert (await replaying).swapped
        await told_everything(database_url)


async def test_a_live_one_that_starts_over_meanwhile_goes_on_from_where_the_rebuilt_one_is(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    async with running(Follower(database_url, TOLD)):
        await write(stores, each=2)
        await told_everything(database_url)

    await replay(database_url, TOLD, tell=starting_over(database_url, "comparing"))
    async with running(Follower(database_url, TOLD)):
        await write(stores, each=1)
        await told_everything(database_url)


@pytest.mark.parametrize("check", [True, False])
async def test_a_live_one_that_starts_over_before_the_two_are_compared_is_told_and_left_to_fill(
    stores: Sequence[PostgresEventStore], database_url: str, *, check: bool
) -> None:
    async with running(Follower(database_url, TOLD)):
        await write(stores, each=2)
        await told_everything(database_url)

    with pytest.raises(MadeAnewError, match=r"was made anew meanwhile and is at 0, before .* 48"):
        await replay(database_url, TOLD, check=check, tell=starting_over(database_url, "indexing"))
    await no_leftovers(database_url)
    async with running(Follower(database_url, TOLD)):
        await told_everything(database_url)
    assert await compare_with_live(database_url, TOLD) == ()


def starting_over(database_url: str, phase: Phase) -> Callable[[Progress], None]:
    """Lets the live one start over as soon as a replay is there."""

    def tell(now: Progress) -> None:
        if now.phase == phase:
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute("TRUNCATE told_v1.told")
                connection.execute(
                    "UPDATE follower_positions SET position = 0, revision = 9 WHERE name = 'told'"
                )

    return tell


async def test_who_still_reads_the_old_tables_delays_nobody(
    stores: Sequence[PostgresEventStore], database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.event_store.follower.TEND_SECONDS", 0.0)
    patient = "SET LOCAL lock_timeout = '60s'"
    monkeypatch.setattr("infrastructure.event_store.replay.LONG_PATIENCE", patient)
    async with followed(stores, database_url, each=2):
        async with read(database_url, "told_v1.told"):
            replaying = asyncio.create_task(replay(database_url, TOLD))
            await eventually(lambda: drops(database_url), what="waiting for the reader")
            assert await common_locks(database_url) == 0
            await write(stores, each=1)
            await told_everything(database_url)
            assert await drops(database_url)
        assert (await replaying).swapped
    await no_leftovers(database_url)


async def drops(database_url: str) -> bool:
    query = """SELECT 1 FROM pg_stat_activity WHERE datname = current_database()
                  AND wait_event_type = 'Lock' AND query LIKE 'DROP TABLE "told_old_v1"%'"""
    return bool(await rows(database_url, query))


async def common_locks(database_url: str) -> int:
    """How many replays hold what whoever wants to lead needs."""
    query = """SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
                WHERE locktype = 'advisory' AND granted AND objsubid = 1
                  AND (classid::bigint << 32) | objid::bigint = %s
                  AND application_name LIKE 'darkroom replay%%' AND datname = current_database()"""
    return int((await rows(database_url, query, LOCK))[0][0])


async def test_what_waits_is_told_when_the_swap_does(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    told: list[Progress] = []
    waits = asyncio.Event()

    def tell(now: Progress) -> None:
        told.append(now)
        if now.phase == "waiting":
            waits.set()

    async with followed(stores, database_url, each=2):
        async with read(database_url):
            replaying = asyncio.create_task(replay(database_url, TOLD, tell=tell))
            await waits.wait()
        assert (await replaying).swapped
    assert {now.position for now in told if now.phase in ("swapping", "waiting")} == {48}
