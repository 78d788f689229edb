"""Leaders that die, and leaders that only seem to: the standby goes on, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import IdleInTransactionSessionTimeout

from infrastructure.event_store.read_model_schemas import exclusively
from infrastructure.event_store.store import PostgresEventStore
from tests.generations import new_generation
from tests.integration.following import (
    append,
    eventually,
    follower,
    has_position,
    recorded_all,
    rows,
    running,
    write,
)

ROOT = Path(__file__).parents[2]


async def test_a_leader_whose_connection_is_cut_again_and_again_misses_nothing(
    stores: Sequence[PostgresEventStore], database_url: str
) -> None:
    async with running(*(follower(database_url, batch=20) for _ in range(2))):
        await append(stores[0], new_generation(stores[0].now()))
        await eventually(partial(has_position, database_url, 1))
        await cut_the_leader(database_url)  # all that follows is written over another connection
        writing = asyncio.create_task(write(stores))
        for cut in range(7):
            await eventually(partial(has_position, database_url, 1 + 50 * cut))
            await cut_the_leader(database_url)
        await writing
        await recorded_all(database_url)

    backends = await rows(database_url, "SELECT count(DISTINCT backend) FROM recording")
    assert backends[0][0] > 1


async def cut_the_leader(database_url: str) -> None:
    async def cut() -> bool:
        query = """SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)
                    WHERE locktype = 'advisory' AND granted AND datname = current_database()
                      AND application_name = 'darkroom follower recording_v1'"""
        return bool(await rows(database_url, query))

    await eventually(cut, what="there being a leader to cut")


class Processes:
    """Follower processes of their own."""

    def __init__(self, database_url: str, log: Path) -> None:
        self._url = database_url
        self._log = log
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, *, idle_session_timeout: float = 3.0, batch: int = 20) -> int:
        command = [sys.executable, "-m", "tests.integration.projector_process"]
        with self._log.open("ab") as out:
            process = subprocess.Popen(
                [*command, self._url, str(idle_session_timeout), str(batch)],
                cwd=ROOT,
                stdout=out,
                stderr=out,
            )
        self.started.append(process)
        return process.pid

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()


@pytest.fixture
def processes(database_url: str, tmp_path: Path) -> Iterator[Processes]:
    running = Processes(database_url, tmp_path / "processes.log")
    yield running
    running.end()


async def leader_and_standby(processes: Processes, database_url: str) -> tuple[int, int]:
    """Their process ids; the leader has begun."""
    leader = processes.start()
    await recorded_all(database_url)
    standby = processes.start()
    connections = """SELECT count(*) = 2 FROM pg_stat_activity
                      WHERE application_name = 'darkroom follower recording_v1'
                        AND datname = current_database()"""

    async def both_there() -> bool:
        return bool((await rows(database_url, connections))[0][0])

    await eventually(both_there, what="there being a leader and a standby")
    return leader, standby


async def backends(database_url: str) -> list[int]:
    """Who wrote, in the order of their first writing."""
    query = "SELECT backend FROM recording GROUP BY backend ORDER BY min(place)"
    return [row[0] for row in await rows(database_url, query)]


async def test_after_a_kill_9_of_the_leader_the_standby_goes_on(
    stores: Sequence[PostgresEventStore], database_url: str, processes: Processes
) -> None:
    await write(stores, each=1)
    leader, _ = await leader_and_standby(processes, database_url)

    writing = asyncio.create_task(write(stores, each=40))
    await eventually(lambda: has_position(database_url, 50), what="being in the middle")
    os.kill(leader, signal.SIGKILL)
    await writing
    await write(stores, each=1)  # for who goes on, should the leader have done with all the rest

    await recorded_all(database_url)
    assert len(await backends(database_url)) == 2


async def test_a_stopped_leader_loses_the_lead_and_writes_nothing_when_it_continues(
    stores: Sequence[PostgresEventStore], database_url: str, processes: Processes
) -> None:
    await write(stores, each=1)
    leader, _ = await leader_and_standby(processes, database_url)

    writing = asyncio.create_task(write(stores, each=40))
    await eventually(lambda: has_position(database_url, 50), what="being in the middle")
    os.kill(leader, signal.SIGSTOP)
    await writing
    await write(stores, each=1)  # as above
    await recorded_all(database_url)
    os.kill(leader, signal.SIGCONT)
    await write(stores, each=5)

    await recorded_all(database_url)
    assert len(await backends(database_url)) == 2


async def test_a_leader_stopped_inside_a_transaction_loses_the_lead_too(
    store: PostgresEventStore, database_url: str, processes: Processes
) -> None:
    await append(store, new_generation(store.now()))
    leader, _ = await leader_and_standby(processes, database_url)
    await slow_down(database_url, seconds=3)

    await append(store, new_generation(store.now()))
    await eventually(lambda: is_writing(database_url), what="the leader's writing")
    os.kill(leader, signal.SIGSTOP)

    await recorded_all(database_url)
    assert len(await backends(database_url)) == 2


async def slow_down(database_url: str, *, seconds: float) -> None:
    await rows(
        database_url,
        f"""CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$;
            CREATE TRIGGER slow AFTER INSERT ON recording_v1.recording EXECUTE FUNCTION slow()""",
    )


async def is_writing(database_url: str) -> bool:
    query = """SELECT pid FROM pg_stat_activity WHERE query LIKE 'INSERT INTO recording%'
                  AND state = 'active' AND datname = current_database()"""
    return bool(await rows(database_url, query))


async def test_who_is_stopped_while_others_wait_to_lead_loses_its_session(
    store: PostgresEventStore, database_url: str
) -> None:
    await append(store, new_generation(store.now()))
    async with await psycopg.AsyncConnection.connect(database_url) as stopped:
        await exclusively(stopped)
        one = follower(database_url)
        async with running(one):
            await recorded_all(database_url)
        with pytest.raises(IdleInTransactionSessionTimeout):
            await stopped.execute("SELECT")


async def test_who_leads_does_not_wait_for_who_makes_tables(
    stores: Sequence[PostgresEventStore],
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("infrastructure.event_store.follower.TEND_SECONDS", 0.0)
    async with running(follower(database_url)):
        await write(stores, each=1)
        await recorded_all(database_url)
        async with await psycopg.AsyncConnection.connect(database_url) as other:
            await exclusively(other)
            await other.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await write(stores, each=1)
            await recorded_all(database_url)
            await other.execute("SELECT")
    assert "somebody reads for long" not in caplog.text, "it has waited, in vain"
