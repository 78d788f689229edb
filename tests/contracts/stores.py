"""Event stores to try: PostgreSQL's and the one in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID, uuid4

from application.ports.event_store import (
    Accepted,
    ClaimWork,
    Command,
    EventStore,
)
from application.ports.workers import WorkBoard
from domain.generation import Generation
from domain.quota import Window
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.event_store.work import PostgresWorkBoard
from tests.fakes import MemoryEventStore
from tests.generations import new_generation, request_command

LEASE = timedelta(seconds=30)


class Case:
    """A store, its work board, and how to look at its counters."""

    def __init__(
        self,
        store: EventStore,
        board: WorkBoard,
        units_taken: Callable[[UUID, Window], Awaitable[int]],
        limit_user: Callable[[UUID, str, int | None], Awaitable[None]],
    ) -> None:
        self.store, self.board = store, board
        self.units_taken, self.limit_user = units_taken, limit_user

    def generation(self, **wanted: object) -> Generation:
        return new_generation(self.store.now(), **wanted)

    async def placed(self, **wanted: object) -> Generation:
        generation = self.generation(**wanted)
        assert isinstance(await self.store.append(request_command(generation)), Accepted)
        placed = await self.store.get(Generation, generation.id)
        assert placed is not None
        return placed

    async def worker(self, slots: int = 8, lease: timedelta = LEASE) -> UUID:
        worker = uuid4()
        await self.board.register(worker, slots=slots, lease=lease)
        return worker

    async def claim(self, generation: Generation, worker: UUID) -> object:
        return await self.store.append(Command(work=ClaimWork("generate", generation.id, worker)))


def memory_case() -> Case:
    store = MemoryEventStore()

    async def units_taken(user: UUID, window: Window) -> int:
        return store.units.get((user, window.type, window.starts_at), 0)

    async def limit_user(user: UUID, window: str, limit: int | None) -> None:
        store.limits[user, window] = limit

    return Case(store, store.board, units_taken, limit_user)


def postgres_case(store: PostgresEventStore) -> Case:
    async def units_taken(user: UUID, window: Window) -> int:
        rows = await store.fetch(
            "SELECT units FROM quota_counters"
            " WHERE user_id = %s AND window_type = %s AND starts_at = %s",
            (user, window.type, window.starts_at),
        )
        return rows[0][0] if rows else 0

    async def limit_user(user: UUID, window: str, limit: int | None) -> None:
        await store.fetch(
            "INSERT INTO quota_limits VALUES (%s, %s, %s) RETURNING 1", (user, window, limit)
        )

    return Case(store, PostgresWorkBoard(store), units_taken, limit_user)
