"""The append on a real PostgreSQL: lost connections, unreadable commands, locks, time zones."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg
import pytest

from application.ports.event_store import (
    Accepted,
    CloseWork,
    Command,
    IdempotencyKey,
    MostInFlight,
    OverLimit,
    StoreBusyError,
    StoreUnavailableError,
    TooManyInFlight,
)
from application.recording import record_patiently
from domain.quota import Allowance
from infrastructure.event_store import appender
from infrastructure.event_store.store import PostgresEventStore
from tests.generations import new_generation, request_command
from tests.integration.following import rows
from tests.processes import eventually
from tests.proxy import Proxy

APPEND_LOCK = "SELECT pg_advisory_lock(7232406001)"


@asynccontextmanager
async def opened(url: str, patience: float = 5.0) -> AsyncIterator[PostgresEventStore]:
    store = PostgresEventStore(url)
    await store.open()  # with the patience of always: a busy machine lets one in late
    store._patience = store._appender._patience = patience
    try:
        yield store
    finally:
        await store.close()


async def test_a_connection_lost_after_the_commit_is_no_conflict(database_url: str) -> None:
    async with Proxy(database_url) as proxy, opened(proxy.url) as store:
        first = request_command(new_generation(store.now()))
        assert isinstance(await store.append(first), Accepted)
        proxy.cut_next_answer = True
        generation = new_generation(store.now())
        outcome = await store.append(request_command(generation, daily=1))
        assert proxy.cuts == 1
        assert isinstance(outcome, Accepted)
        assert outcome.repeated
        assert len(await store.read(after=0, limit=10)) == 2


async def test_a_session_that_was_ended_is_replaced(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(request_command(new_generation(store.now())))
        await store.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'darkroom append' AND datname = current_database()",
            (),
        )
        outcome = await store.append(request_command(new_generation(store.now())))
        assert isinstance(outcome, Accepted)
        assert not outcome.repeated


async def test_a_command_that_cannot_be_read_takes_no_other_with_it(database_url: str) -> None:
    async with opened(database_url) as store:
        bad = Command(idempotency=IdempotencyKey(uuid4(), "nul \0 byte", "f", uuid4()))
        good = [request_command(new_generation(store.now())) for _ in range(5)]
        outcomes = await asyncio.gather(
            *(store.append(command) for command in [*good[:3], bad, *good[3:]]),
            return_exceptions=True,
        )
        assert isinstance(outcomes.pop(3), psycopg.DataError)
        assert all(isinstance(outcome, Accepted) for outcome in outcomes)


async def test_a_log_that_stays_locked_is_unavailable_and_then_back(database_url: str) -> None:
    async with opened(database_url, patience=0.2) as store:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as holder:
            await holder.execute(APPEND_LOCK)
            with pytest.raises(StoreUnavailableError, match="same Idempotency-Key"):
                await store.append(request_command(new_generation(store.now())))
        assert isinstance(await _soon_accepted(store), Accepted)


async def test_an_unreachable_database_is_unavailable(database_url: str) -> None:
    nobody = urlsplit(database_url)._replace(netloc="darkroom@127.0.0.1:1").geturl()
    store = PostgresEventStore(nobody, patience=0.3)
    with pytest.raises(StoreUnavailableError):
        await store.append(request_command(new_generation(store.now())))
    await store.close()


async def test_more_commands_than_may_wait_are_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "MOST_WAITING", 10)
    async with opened(database_url) as store:
        outcomes = await asyncio.gather(
            *(store.append(request_command(new_generation(store.now()))) for _ in range(30)),
            return_exceptions=True,
        )
    assert sum(isinstance(o, StoreBusyError) for o in outcomes) == 20
    assert sum(isinstance(o, Accepted) for o in outcomes) == 10


async def test_what_was_refused_before_it_was_sent_is_not_recorded_later(database_url: str) -> None:
    async with opened(database_url, patience=0.5) as store:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as holder:
            await holder.execute(APPEND_LOCK)
            appending = [
                asyncio.create_task(store.append(request_command(new_generation(store.now()))))
            ]
            await _until_somebody_waits_for_the_lock(database_url)
            appending += [
                asyncio.create_task(store.append(request_command(new_generation(store.now()))))
                for _ in range(200)
            ]
            outcomes = await asyncio.gather(*appending, return_exceptions=True)
            assert all(isinstance(outcome, StoreUnavailableError) for outcome in outcomes)
        last = request_command(new_generation(store.now()))
        assert isinstance(await record_patiently(store, last), Accepted)
        recorded = [one.event.originator_id for one in await store.read(after=0, limit=1000)]
        assert recorded[-1] == last.events[0].originator_id
        assert len(recorded) <= 2, "the one that had been sent may be recorded"


async def _until_somebody_waits_for_the_lock(database_url: str) -> None:
    async def somebody_waits() -> bool:
        waiting = (
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return bool(await rows(database_url, waiting))

    await eventually(somebody_waits)


async def test_what_was_refused_no_longer_counts_among_those_that_wait(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appender, "MOST_WAITING", 10)
    async with (
        opened(database_url, patience=0.5) as store,
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as holder,
    ):
        await holder.execute(APPEND_LOCK)
        sent = asyncio.create_task(store.append(request_command(new_generation(store.now()))))
        await _until_somebody_waits_for_the_lock(database_url)
        for _ in range(2):
            outcomes = await asyncio.gather(
                *(store.append(request_command(new_generation(store.now()))) for _ in range(9)),
                return_exceptions=True,
            )
            assert not any(isinstance(outcome, StoreBusyError) for outcome in outcomes)
        with pytest.raises(StoreUnavailableError):
            await sent


async def test_several_processes_never_put_one_more_in_flight_while_others_end(
    database_url: str,
) -> None:
    """Each counts what it has open, after it was told and before it closes: never too few."""
    most, users = MostInFlight(of_user=5, of_all=12), [uuid4() for _ in range(3)]
    in_flight, highest = Counter[UUID](), Counter[UUID]()

    async def ask(store: PostgresEventStore, user: UUID) -> None:
        for _ in range(25):
            generation = new_generation(store.now(), user_id=user)
            outcome = await store.append(request_command(generation, most=most))
            if isinstance(outcome, TooManyInFlight):
                continue
            in_flight[user] += 1
            highest[user] = max(highest[user], in_flight[user])
            assert in_flight.total() <= most.of_all
            await asyncio.sleep(0)
            in_flight[user] -= 1
            await store.append(Command(work=CloseWork("generate", generation.id)))

    async with opened(database_url) as one, opened(database_url) as other:
        await asyncio.gather(
            *(ask(store, user) for store in (one, other) for user in users for _ in range(8))
        )
    assert set(highest) == set(users)
    assert max(highest.values()) <= most.of_user
    assert await rows(database_url, "SELECT sum(abs(generations)) FROM in_flight") == [(0,)]


async def test_windows_are_the_same_for_sessions_in_other_time_zones(database_url: str) -> None:
    user = uuid4()
    zones = ["UTC", "Pacific/Auckland", "America/Los_Angeles", "Asia/Kathmandu"]
    for zone in zones:
        async with opened(f"{database_url}?options=-c%20timezone%3D{zone}") as store:
            generation = new_generation(store.now(), user_id=user)
            outcome = await store.append(request_command(generation, daily=3))
            if zone == zones[-1]:
                day, month = generation.windows
                assert outcome == OverLimit((Allowance(day, 3, 3), Allowance(month, None, 3)))
            else:
                assert isinstance(outcome, Accepted)
            assert await rows(database_url, "SELECT count(*) FROM quota_counters") == [(2,)]


async def test_an_isolation_level_that_could_miss_commits_is_refused(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        with pytest.raises(psycopg.errors.RaiseException, match="READ COMMITTED"):
            await connection.execute("SELECT append_v1('{}')")


async def test_reading_goes_on_after_every_idle_connection_died(database_url: str) -> None:
    async with opened(database_url) as store:
        await asyncio.gather(*(store.fetch("SELECT pg_sleep(0.05)", ()) for _ in range(4)))
        async with await psycopg.AsyncConnection.connect(database_url) as other:
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'darkroom read' AND datname = current_database()"
            )
        assert await store.fetch("SELECT 1", ()) == [(1,)]


async def test_a_server_that_stands_still_is_unavailable_within_the_patience(
    database_url: str,
) -> None:
    async with Proxy(database_url) as proxy, opened(proxy.url, patience=0.5) as store:
        await _soon_accepted(store)
        proxy.pause()
        async with asyncio.timeout(8):
            with pytest.raises(StoreUnavailableError):
                await store.append(request_command(new_generation(store.now())))
            with pytest.raises(StoreUnavailableError):
                await store.fetch("SELECT 1", ())
        proxy.go_on()
        outcome = await _soon_accepted(store)
        assert isinstance(outcome, Accepted)


async def _soon_accepted(store: PostgresEventStore) -> object:
    async with asyncio.timeout(20):
        while True:
            try:
                return await store.append(request_command(new_generation(store.now())))
            except StoreUnavailableError:
                await asyncio.sleep(0.05)


async def test_a_server_that_is_no_longer_the_primary_is_unavailable_and_then_back(
    database_url: str,
) -> None:
    name = urlsplit(database_url).path.lstrip("/")
    async with (
        opened(database_url, patience=0.5) as store,
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as operator,
    ):
        await _soon_accepted(store)
        await operator.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await operator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with pytest.raises(StoreUnavailableError):
            await store.append(request_command(new_generation(store.now())))
        await operator.execute("SET default_transaction_read_only = off")
        await operator.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        assert isinstance(await _soon_accepted(store), Accepted)
