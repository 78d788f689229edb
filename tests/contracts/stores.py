"""Event stores to try: PostgreSQL's and the one in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from application.ports.event_store import (
    Accepted,
    ClaimWork,
    Command,
    EventStore,
    OwnLimits,
)
from application.ports.workers import WorkBoard
from domain.generation import Generation
from domain.quota import Allowance, Window
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.event_store.work import PostgresWorkBoard
from tests.fakes import FakeClock, MemoryEventStore
from tests.generations import new_generation, request_command
from tests.moved_clock import move_clock

LEASE = timedelta(seconds=30)


class Case:
    """A store, its work board, how to look at its counters, and to move its clock."""

    def __init__(
        self,
        store: EventStore,
        board: WorkBoard,
        units_taken: Callable[[UUID, Window], Awaitable[int]],
        limit_user: Callable[[UUID, str, int | None], Awaitable[None]],
        move_clock: Callable[[datetime], Awaitable[None]],
    ) -> None:
        self.store, self.board = store, board
        self.units_taken, self.limit_user = units_taken, limit_user
        self.move_clock = move_clock

    def generation(self, **wanted: object) -> Generation:
        return new_generation(self.store.now(), **wanted)

    async def limit(self, user: UUID, **limits: int | None) -> None:
        """Give the user these limits of their own, and no others."""
        command = Command(limits=OwnLimits(user, limits))
        assert isinstance(await self.store.append(command), Accepted)

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


def allowances_of(generation: Generation, *held: tuple[int | None, int]) -> tuple[Allowance, ...]:
    """The limit of each of its windows, and what is used of it."""
    windows = zip(generation.windows, held, strict=True)
    return tuple(Allowance(window, limit, used) for window, (limit, used) in windows)


def memory_case() -> Case:
    store = MemoryEventStore()

    async def units_taken(user: UUID, window: Window) -> int:
        return store.units.get((user, window.type, window.starts_at), 0)

    async def limit_user(user: UUID, window: str, limit: int | None) -> None:
        store.limits[user, window] = limit

    async def moved(to: datetime) -> None:
        assert isinstance(store.clock, FakeClock)
        store.clock.now = to

    return Case(store, store.board, units_taken, limit_user, moved)


def postgres_case(store: PostgresEventStore, database_url: str) -> Case:
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

    async def moved(to: datetime) -> None:
        await move_clock(database_url, to)
        await store.append(Command())  # which tells it the time

    return Case(store, PostgresWorkBoard(store), units_taken, limit_user, moved)
