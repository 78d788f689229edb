"""Worker processes on a real PostgreSQL and a real Redis, and what became of their work."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from application.ports.event_store import Accepted
from domain.generation import Generation
from infrastructure.embedded import EmbeddedRedis
from infrastructure.event_store.store import PostgresEventStore
from tests.generations import new_generation, request_command
from tests.processes import Process, Processes, eventually

LEASE = 4.0  # more than what a sweep takes for a machine that stood still
SOON_AFTER_ITS_LEASE = LEASE + 28.0  # with the start of another process
CAUGHT_IN = "3"  # seconds of a call: long enough to be met in the middle
APPEND_LOCK = "SELECT pg_advisory_lock(7232406001)"


class Works:
    """Worker processes on a real PostgreSQL and a real Redis of their own."""

    def __init__(
        self, running: Processes, store: PostgresEventStore, redis: EmbeddedRedis, url: str
    ) -> None:
        self.running, self.store, self.redis, self.database_url = running, store, redis, url

    def worker(self, **settings: str) -> Process:
        return self.running.start("worker", **settings)

    async def place(
        self,
        *,
        user_id: UUID | None = None,
        count: int = 1,
        size: str = "64x64",
        deadline: timedelta = timedelta(minutes=5),
    ) -> UUID:
        generation = new_generation(
            self.store.now(),
            user_id=user_id,
            count=count,
            spec={"size": size},
            deadline=deadline,
        )
        outcome = await self.store.append(request_command(generation))
        assert isinstance(outcome, Accepted), outcome
        return generation.id

    async def trail(self, ref: UUID) -> list[str]:
        history = await self.store.history(ref, after=0, limit=99)
        return [recorded.event.topic.removeprefix("generation.") for recorded in history]

    async def until_recorded(self, ref: UUID, name: str) -> None:
        async def recorded() -> bool:
            return name in await self.trail(ref)

        await eventually(recorded, why=f"{name} of {ref}")

    async def until_at_work(self) -> None:
        """A worker has registered."""

        async def registered() -> bool:
            return bool(await self.store.fetch("SELECT FROM workers WHERE slots > 0", ()))

        await eventually(registered, why="no worker is at work")

    async def until_called(self, times: int) -> None:
        """The provider, on its side, has counted so many calls."""

        async def counted() -> bool:
            return len(self.running.calls()) >= times

        await eventually(counted, why=f"{times} calls")

    async def until_completed(self, *refs: UUID, within: float = 30.0) -> None:
        async def completed() -> bool:
            for ref in refs:
                generation = await self.store.get(Generation, ref)
                if generation is None or not generation.closed:
                    return False
            return True

        await eventually(completed, within=within, why="the generations are not final")
        for ref in refs:
            trail = await self.trail(ref)
            assert trail.count("completed") == 1, trail
            assert trail[-1] == "completed", trail

    def objects(self, ref: UUID) -> list[Path]:
        try:
            found = list((self.running.data / "objects" / "images" / str(ref)).iterdir())
        except FileNotFoundError:  # the folder goes with its last object
            return []
        return [path for path in found if path.suffix == ".png"]

    async def killed_before_it_records(self) -> UUID:
        """A generation whose picture is stored, and whose worker was killed before it said so."""
        doomed = self.worker(DARKROOM_SKETCH_SECONDS=CAUGHT_IN)
        async with await self.connect() as holder:
            ref = await self.place()
            await self.until_recorded(ref, "call_started")
            await holder.execute(APPEND_LOCK)

            async def stored() -> bool:
                return bool(self.objects(ref))

            await eventually(stored)
            await self.until_waiting(1)
            doomed.kill()
            await self.forget_what_waits()
        return ref

    async def connect(self) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(self.database_url, autocommit=True)

    async def until_waiting(self, waiting: int) -> None:
        """So many wait for the log's lock."""

        async def counted() -> bool:
            rows = await self.store.fetch(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                (),
            )
            return bool(rows[0][0] >= waiting)

        await eventually(counted, why=f"{waiting} wait for the log's lock")

    async def forget_what_waits(self) -> None:
        """As if the machine of a killed worker were gone too: PostgreSQL would record its last."""
        await self.store.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'darkroom append' AND wait_event = 'advisory'"
            " AND datname = current_database()",
            (),
        )
