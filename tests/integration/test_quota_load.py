"""The quota while very much is asked for at once: across the windows' edge, and as limits change.

Whatever the tables say in the end, the log is counted through, position by position.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle
from uuid import UUID

import pytest

from application.deletion import Deletions
from application.generations import Generations
from application.people import People
from application.pictures import Pictures
from application.ports.event_store import Command, MostInFlight
from application.routing import Router
from application.turns import Turns
from domain.generation import Generation, Wish
from domain.image import ImageSpec
from domain.quota import QuotaExceededError, UserWindowType
from domain.user import Preferences, Profile, User
from infrastructure.always_open import AlwaysOpen
from infrastructure.event_store.check import check, compare
from infrastructure.event_store.repair import repair
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.image_editing import PillowEditor
from infrastructure.images import PillowInspector
from tests.fakes import FakeSpool, MemoryEventStore
from tests.fakes_images import FakeImageStore, FakeProvider
from tests.integration.following import rows
from tests.moved_clock import move_clock, tick_from
from tests.studio import taking

Limits = Mapping[UserWindowType, int | None]
Counters = dict[tuple[str, datetime], int]

REQUESTS = 1000
AT_ONCE = 32
TICK = timedelta(milliseconds=1)
TICKS = 30  # until the edge: less than half of the appends that so many requests need
COUNTERS = "SELECT window_type, starts_at, units FROM quota_counters"
TABLES = (f"{COUNTERS} ORDER BY 1, 2", "SELECT * FROM quota_limits ORDER BY 1, 2")


class Service:
    """Two processes on one log, and a user who asks both of them."""

    def __init__(self, url: str, stores: Sequence[PostgresEventStore], configured: Limits) -> None:
        self.url, self.stores, self.configured = url, stores, configured
        self.generations = [_generations(store, configured) for store in stores]
        self.user = User.register(issuer="a test", role="user", profile=Profile(subject="jane"))
        self.refused: Counter[str] = Counter()

    async def open(self) -> None:
        await self.stores[0].append(Command(events=self.user.collect_events()))

    async def flood(self, *, beside: Callable[[int], Awaitable[None]] | None = None) -> None:
        """All requests, so many at once, of one to three pictures; every fifth is cancelled."""
        numbers = iter(range(REQUESTS))
        processes = cycle(self.generations)

        async def ask_some() -> None:
            for number in numbers:
                await self._ask(next(processes), number)
                if beside is not None:
                    await beside(number)

        await asyncio.gather(*(ask_some() for _ in range(AT_ONCE)))

    async def _ask(self, generations: Generations, number: int) -> None:
        spec, wish = ImageSpec(count=1 + number % 3), Wish(prompt="a lighthouse")
        try:
            placed = await generations.request(user_id=self.user.id, spec=spec, wish=wish)
        except QuotaExceededError as error:
            self.refused.update(one.window.type for one in error.exceeded)
            return
        if number % 5 == 0:
            await generations.cancel(user_id=self.user.id, id=placed.id)

    async def counted(self) -> Counters:
        """What the counters say: as the log has it at its end, and never above a limit in it."""
        counted = self._counted_through(await self.log())
        kept = {
            (type_, starts_at): units for type_, starts_at, units in await rows(self.url, COUNTERS)
        }
        assert kept == counted
        return counted

    def _counted_through(self, events: Sequence[tuple[int, datetime, object]]) -> Counters:
        used: Counters = {}
        limits, asked = self.configured, dict[UUID, Generation.Requested]()
        for position, recorded_at, event in events:
            match event:
                case User.QuotaChanged():
                    limits = {**self.configured, **event.limits}
                case Generation.Requested():
                    asked[event.originator_id] = event
                    for window in event.windows:
                        assert window.starts_at <= recorded_at < window.ends_at, position
                        place = (window.type, window.starts_at)
                        used[place] = used.get(place, 0) + event.units
                        limit = limits.get(window.type)
                        assert limit is None or used[place] <= limit, (position, place)
                case Generation.Cancelled():
                    for window in asked[event.originator_id].windows:
                        used[window.type, window.starts_at] -= event.units_returned
        return used

    async def log(self) -> list[tuple[int, datetime, object]]:
        recorded = await self.stores[0].read(after=0, limit=10 * REQUESTS)
        return [(one.position, one.recorded_at, one.event) for one in recorded]

    async def is_what_the_events_say(self) -> None:
        """The tables are right, and are the same when they are made anew of the events alone."""
        assert await check(self.url) == []
        right = [await rows(self.url, query) for query in TABLES]
        await rows(self.url, "TRUNCATE quota_counters, quota_limits")
        mended = [one async for one in repair(self.url, await compare(self.url))]
        assert len(mended) == sum(map(len, right))
        assert [await rows(self.url, query) for query in TABLES] == right


def _generations(store: PostgresEventStore, limits: Limits) -> Generations:
    images, editor = FakeImageStore(), PillowEditor()
    pictures = Pictures(images, FakeSpool(), PillowInspector(), editor)
    provider = FakeProvider()
    return Generations(
        store=store,
        router=Router({provider.name: provider}, AlwaysOpen()),
        references=taking(images, MemoryEventStore()),
        deletions=Deletions(store=store, pictures=pictures),
        limits={**limits},
        most_in_flight=MostInFlight(REQUESTS, REQUESTS),
        turns=Turns(at_once=AT_ONCE),
        deadline=timedelta(minutes=15),
        preferences=_no_preferences,
    )


async def _no_preferences(_: UUID) -> Preferences:
    return Preferences()


@pytest.mark.parametrize(
    "edge", [datetime(2031, 3, 16, tzinfo=UTC), datetime(2032, 1, 1, tzinfo=UTC)]
)
async def test_at_midnight_each_unit_counts_in_one_day_and_one_month_and_within_their_limits(
    database_url: str, stores: Sequence[PostgresEventStore], edge: datetime
) -> None:
    service = Service(database_url, stores, {"daily": 300, "monthly": 450})
    await service.open()
    await tick_from(database_url, edge - TICKS * TICK, step=TICK)

    await service.flood()

    await move_clock(database_url, edge + timedelta(hours=1))
    counted = await service.counted()
    before, after = edge - timedelta(days=1), edge
    assert counted["daily", before] > 0
    assert counted["daily", after] > 0
    assert {starts_at for type_, starts_at in counted if type_ == "daily"} == {before, after}
    months = {before.replace(day=1), after.replace(day=1)}
    assert {starts_at for type_, starts_at in counted if type_ == "monthly"} == months
    assert service.refused["daily" if len(months) == 2 else "monthly"] > 0
    await service.is_what_the_events_say()


async def test_a_limit_that_changes_meanwhile_holds_from_its_place_in_the_log(
    database_url: str, stores: Sequence[PostgresEventStore]
) -> None:
    service = Service(database_url, stores, {"daily": 100, "monthly": None})
    await service.open()
    people = People(stores[1])
    given = cycle(
        [{"daily": 150}, {"daily": 60}, {"daily": None, "monthly": 170}, {"daily": 0}, {}]
    )

    async def limit(number: int) -> None:
        if number % 40 == 0:
            await people.limit(service.user.id, next(given), by=UUID(int=9))

    await service.flood(beside=limit)

    await service.counted()
    assert service.refused["daily"] > 0
    assert service.refused["monthly"] > 0
    assert sum(isinstance(event, User.QuotaChanged) for *_, event in await service.log()) > 10
    await service.is_what_the_events_say()
