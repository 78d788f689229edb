"""Builds a read model anew beside the live one, compares the two, and lets it take its place."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal

import psycopg
from psycopg import AsyncConnection, IsolationLevel, errors

from infrastructure.event_store import bulk
from infrastructure.event_store.comparison import Build, TableDifference, differences
from infrastructure.event_store.connections import configure, connect
from infrastructure.event_store.follower_tables import (
    hold,
    position_of,
    start_over,
    take_place,
)
from infrastructure.event_store.leadership import give_up_duty, take_duty
from infrastructure.event_store.log_pages import END, page
from infrastructure.event_store.mapper import JsonMapper
from infrastructure.event_store.pace import HEAD, Pace
from infrastructure.event_store.parking import MOST_PARKED, parked
from infrastructure.event_store.projection import Projection, describe
from infrastructure.event_store.read_model_schemas import (
    exclusively,
    give_up_when_stopped,
    missing_tables,
    show,
)
from infrastructure.event_store.read_model_tables import SETTINGS, Page, ReadModelTables
from infrastructure.event_store.upkeep import forget
from infrastructure.read_models.read_model import ReadModel

log = logging.getLogger(__name__)

A_PAGE = 5000
A_SMALL_PAGE = 250  # while a service appends: who waits behind it waits for milliseconds
A_SLICE = 250  # events that are decoded before PostgreSQL is given what it waits for
NEAR = 1000  # events that the two may be apart when the writers are made to wait
INDEXING = {"maintenance_work_mem": "128MB", "vacuum_cost_delay": "0"}
ON_ONE_PROCESSOR = {
    "max_parallel_maintenance_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "vacuum_cost_delay": "2ms",  # as autovacuum's: ANALYZE is as long as all indexes
}
TRIES, PAUSE = 30, 0.2

PATIENCE = "SET LOCAL lock_timeout = '1s'"  # for who reads by a plain name
LONG_PATIENCE = "SET LOCAL lock_timeout = '10s'"  # for who still reads what nobody else waits for

Phase = Literal["reading", "indexing", "comparing", "swapping", "waiting"]


class ReplayUnderWayError(Exception):
    """One replay of a read model at a time."""

    def __init__(self, read_model: ReadModel) -> None:
        super().__init__(
            f"Another replay of {read_model.name!r} is under way. Wait for its end, or stop it."
        )


class NothingToReplayError(Exception):
    """There is no live one to compare with and to take the place of."""

    def __init__(self, read_model: ReadModel) -> None:
        super().__init__(
            f"There are no tables {read_model.schema!r} of this log. Run `darkroom migrate` and"
            " `darkroom projector` of this release first."
        )


class MadeAnewError(Exception):
    """The live one began again meanwhile: the two are not at one position, nor soon."""

    def __init__(self, read_model: ReadModel, position: int, reached: int) -> None:
        super().__init__(
            f"The live {read_model.name!r} was made anew meanwhile and is at {position}, before the"
            f" rebuilt one at {reached}. Wait until `/readyz` is no longer degraded by it, then"
            " repeat if need be."
        )


class ParksMoreError(Exception):
    """The rebuilt one would be worse than the live one, or nobody would follow into it."""

    def __init__(self, read_model: ReadModel, bound: int) -> None:
        super().__init__(
            f"More aggregates than {bound} cannot be projected into {read_model.name!r} when it is"
            " built anew. The live one stays as it is. Mend the read model, then repeat."
        )


class StillReadError(Exception):
    """What an earlier replay left cannot be removed yet."""

    def __init__(self, read_model: ReadModel) -> None:
        super().__init__(
            f"Tables that an earlier replay of {read_model.name!r} left could not be removed,"
            " because a transaction has been reading them all the while. End that one, and repeat."
        )


class NotSwappedError(Exception):
    """Somebody kept what has to be exchanged from being exchanged."""

    def __init__(self, read_model: ReadModel) -> None:
        super().__init__(
            f"{read_model.name!r} was rebuilt and could not take the live one's place, because a"
            " transaction has been reading or holding it all the while. End that one, and repeat."
        )


@dataclass(frozen=True)
class Progress:
    """How far a replay is: events read of those that the live one has, and what it does now.

    When it is `waiting`, it is for transactions that read or hold what it is to exchange.
    """

    phase: Phase
    position: int
    goal: int


@dataclass(frozen=True)
class Outcome:
    """What came of a replay; `swapped` whether the rebuilt one is the live one now."""

    read_model: str
    events: int
    seconds: float
    differences: tuple[TableDifference, ...]
    parked: int
    swapped: bool


Tell = Callable[[Progress], None]


async def compare_with_live(
    database_url: str, read_model: ReadModel, mapper: JsonMapper | None = None
) -> Sequence[TableDifference]:
    """What the live one and one built from the log differ in, at one position."""
    return (await replay(database_url, read_model, mapper, check=True)).differences


async def replay(
    database_url: str,
    read_model: ReadModel,
    mapper: JsonMapper | None = None,
    *,
    check: bool = False,
    tell: Tell = lambda _: None,
    batch: int = A_PAGE,
) -> Outcome:
    """Build beside the live one, catch up with it, compare; unless it is a check, swap.

    The service may run meanwhile. Whatever ends it early, the live one stays as it is. Raises
    ReplayUnderWayError, NothingToReplayError, UnknownEventError, ParksMoreError, StillReadError,
    MadeAnewError, NotSwappedError, LeadershipLostError and psycopg.Error.
    """
    began = asyncio.get_running_loop().time()
    projection = Projection(read_model, mapper or JsonMapper())
    async with _alone(database_url, read_model) as (writer, reader):
        building = Replay(writer, reader, read_model, projection, tell, batch)
        await building.build()
        found = await building.compare()
        waiting = await parked(writer, read_model.beside)
        if not check:
            await building.swap()
        return Outcome(
            read_model=read_model.name,
            events=building.events,
            seconds=asyncio.get_running_loop().time() - began,
            differences=tuple(found),
            parked=len(waiting),
            swapped=not check,
        )


@asynccontextmanager
async def _alone(
    database_url: str, read_model: ReadModel
) -> AsyncIterator[tuple[AsyncConnection[Any], AsyncConnection[Any]]]:
    """A connection to write with and one to read with; leftovers are removed before and after."""
    name, settings = f"darkroom replay {read_model.schema}", {"statement_timeout": "0"}
    async with (
        await connect(database_url, name, **settings, **SETTINGS, **INDEXING) as writer,
        await connect(database_url, name, **settings) as reader,
        _holding(writer, read_model),
    ):
        try:
            await _remove_leftovers(writer, read_model)
        except errors.LockNotAvailable as error:
            raise StillReadError(read_model) from error
        try:
            yield writer, reader
        finally:
            if not writer.closed:
                await asyncio.shield(_try_to_remove_leftovers(writer, read_model))


@asynccontextmanager
async def _holding(connection: AsyncConnection[Any], read_model: ReadModel) -> AsyncIterator[None]:
    """This replay is the only one of this version, until the block ends."""
    duty = f"replay {read_model.schema}"
    if not await take_duty(connection, duty):
        raise ReplayUnderWayError(read_model)
    try:
        yield
    finally:
        if not connection.closed:
            await asyncio.shield(give_up_duty(connection, duty))


async def _remove_leftovers(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """They are this replay's alone: nobody else waits while it waits for their last readers."""
    for leftover in (read_model.beside, read_model.old):
        async with connection.transaction():
            await give_up_when_stopped(connection)
            await connection.execute(LONG_PATIENCE)
            await forget(connection, leftover)


async def _try_to_remove_leftovers(connection: AsyncConnection[Any], read_model: ReadModel) -> None:
    """Or else the next replay does it, or, after a day, who follows into the live one."""
    try:
        await _remove_leftovers(connection, read_model)
    except psycopg.Error as error:
        facts = {"read_model": read_model.schema}
        log.warning("tables of this replay are left over: %s", describe(error), extra=facts)


class Replay:
    """One rebuild of one read model."""

    def __init__(
        self,
        writer: AsyncConnection[Any],
        reader: AsyncConnection[Any],
        read_model: ReadModel,
        projection: Projection,
        tell: Tell,
        batch: int,
    ) -> None:
        self.events = 0
        self._batch = batch
        self._writer = writer
        self._reader = reader
        self._live = read_model
        self._beside = read_model.beside
        self._projection = projection
        self._tell = tell
        self._pace = Pace(self._last_position)
        self._tables = ReadModelTables(writer, self._beside, projection, pipelined=True)

    async def build(self) -> None:
        """From the first event to where the live one is."""
        goal = await self._live_position()
        async with self._writer.transaction():
            await exclusively(self._writer)
            await start_over(self._writer, self._beside)
            indexes = await bulk.begin(self._writer, self._beside)
        await self._tables.look()
        await self._read(goal, gently=True)
        self._tell(Progress("indexing", self._tables.position, goal))
        if await self._pace.others_append():
            for connection in (self._writer, self._reader):
                await configure(connection, **ON_ONE_PROCESSOR)
        await bulk.end(self._writer, self._beside, indexes)
        await self._catch_up()

    async def compare(self) -> list[TableDifference]:
        """At the position that the live one is at in a snapshot. Raises MadeAnewError."""
        await self._reader.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        async with self._reader.transaction():
            goal = await self._live_position()
            if goal < self._tables.position:
                raise MadeAnewError(self._live, goal, self._tables.position)
            await self._read(goal)
            self._tell(Progress("comparing", self._tables.position, goal))
            async with self._writer.transaction():
                await self._writer.execute("SET LOCAL enable_seqscan = on")
                return await differences(
                    Build(self._reader, self._live), Build(self._writer, self._beside)
                )

    async def swap(self) -> None:
        """Take the live one's place, as soon as nobody's long transaction is in the way."""
        await self._reader.set_isolation_level(IsolationLevel.READ_COMMITTED)
        await self._tables.save()
        self._tables = ReadModelTables(self._writer, self._beside, self._projection)
        for _ in range(TRIES):
            await self._tables.look()
            await self._catch_up()
            self._tell(Progress("swapping", self._tables.position, self._tables.position))
            with suppress(errors.LockNotAvailable, errors.DeadlockDetected):
                await self._swap()
                return
            self._tell(Progress("waiting", self._tables.position, self._tables.position))
            await asyncio.sleep(PAUSE)
        raise NotSwappedError(self._live)

    async def _swap(self) -> None:
        async with self._writer.transaction():
            await exclusively(self._writer)
            await self._writer.execute(PATIENCE)
            await show(self._writer, self._beside, becomes=self._live)
            place = await hold(self._writer, self._live)
            await self._read(place.position)
            await self._refuse_to_park_more()
            await take_place(self._writer, self._live, self._tables.position)
            facts = {"read_model": self._live.schema, "position": place.position}
        log.info("the rebuilt read model took the live one's place", extra=facts)

    async def _refuse_to_park_more(self) -> None:
        bound = MOST_PARKED
        if not await missing_tables(self._writer, self._live):
            bound = min(bound, len(await parked(self._writer, self._live)))
        if len(await parked(self._writer, self._beside)) > bound:
            raise ParksMoreError(self._live, bound)

    async def _live_position(self) -> int:
        position = await position_of(self._reader, self._live)
        if position is None:
            raise NothingToReplayError(self._live)
        return position

    async def _last_position(self) -> int:
        row = await (await self._reader.execute(HEAD)).fetchone()
        return int(row[0]) if row else 0

    async def _catch_up(self) -> None:
        """Gently as long as that halves what is missing."""
        gently, missed = True, END
        while True:
            goal = await self._live_position()
            missing = goal - self._tables.position
            if missing <= NEAR:
                return
            gently, missed = gently and missing <= missed // 2, missing
            await self._read(goal, gently=gently)

    async def _read(self, goal: int, *, gently: bool = False) -> None:
        """Project up to there: while PostgreSQL writes a page, the next one is decoded.

        Or `gently` while others append: smaller pages, one thing at a time, and rests.
        """
        began, following = monotonic(), self._following(goal, self._batch)
        try:
            while taken := await following:
                giving_way = gently and await self._pace.others_append()
                if not giving_way:
                    following = self._following(goal, self._batch, after=taken.last)
                    await asyncio.sleep(0)
                await self._take(taken)
                self._tell(Progress("reading", self._tables.position, goal))
                if giving_way:
                    await self._pace.rest(monotonic() - began)
                    began, following = monotonic(), self._following(goal, A_SMALL_PAGE)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    def _following(
        self, goal: int, most: int, *, after: int | None = None
    ) -> asyncio.Task[Page | None]:
        after = self._tables.position if after is None else after
        return asyncio.create_task(self._page(after, goal, min(most, self._batch)))

    async def _take(self, taken: Page) -> None:
        await self._tables.take(taken, most_parked=MOST_PARKED)
        if len(self._tables.waiting) > MOST_PARKED:
            raise ParksMoreError(self._live, MOST_PARKED)
        self.events += len(taken.rows)

    async def _page(self, after: int, goal: int, most: int) -> Page | None:
        rows = await page(self._reader, after, most, until=goal)
        if not rows:
            return None
        return await self._tables.page(self._projection.readable(rows), by=A_SLICE)
