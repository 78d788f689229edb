"""What ended, and what is due: as PostgreSQL knows it, and as the store in memory does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from application.announcing import Announcer
from application.ports.event_store import Accepted, Command, EventStore
from application.ports.webhooks import DeliveryBoard, DueDelivery, EndedGenerations
from domain.delivery import Delivery, delivery_id
from domain.retries import Answer, Retries
from infrastructure.event_store.ended_generations import PostgresEndedGenerations
from infrastructure.event_store.follower import Follower
from infrastructure.event_store.follower_tables import ensure_tables, follower_states
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.read_models.webhook_deliveries import READ_MODEL, PostgresDeliveryBoard
from tests.fakes import MemoryEventStore
from tests.fakes_webhooks import MemoryDeliveryBoard, MemoryEndedGenerations
from tests.meanwhile import meanwhile
from tests.processes import eventually
from tests.webhooks import URL, end_one, register

ME, OTHER = UUID(int=7), UUID(int=8)
LATER = Retries((0, 3600))


@dataclass
class Case:
    store: EventStore
    ended: EndedGenerations
    board: DeliveryBoard
    caught_up: Callable[[], Awaitable[None]]

    async def announce(self, ended: EndedGenerations | None = None) -> list[DueDelivery]:
        announcer, new = Announcer(self.store, ended or self.ended), []
        while not (announced := await announcer.announce()).is_all:
            new += announced.new
        return [*new, *announced.new]

    async def take(self, due: DueDelivery, answer: Answer, retries: Retries = LATER) -> Delivery:
        delivery = await self.store.get(Delivery, due.id)
        assert delivery is not None
        delivery.take(answer, now=self.store.now(), retries=retries, jitter=0)
        assert isinstance(await self.store.append(Command(delivery.collect_events())), Accepted)
        return delivery

    async def due(self, *but: UUID, per_user: int = 9) -> list[DueDelivery]:
        await self.caught_up()
        return list(await self.board.due(per_user=per_user, but=but))


class Unmarked:
    """As it is after a crash: what was announced last is not known to be."""

    def __init__(self, ended: EndedGenerations) -> None:
        self.stretch = ended.stretch

    async def bookmark(self) -> int:
        return 0

    async def put_bookmark(self, position: int) -> None: ...


@pytest.fixture(params=["memory", "postgres"])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    if request.param == "memory":
        store = MemoryEventStore()

        async def always() -> None: ...

        ended = MemoryEndedGenerations(store, a_stretch=4)
        yield Case(store, ended, MemoryDeliveryBoard(store), always)
        return
    url = request.getfixturevalue("database_url")
    await ensure_tables(url)
    postgres = PostgresEventStore(url)
    await postgres.open()

    async def is_caught_up() -> bool:
        states = await follower_states(postgres.fetch)
        return any(s.name == READ_MODEL.name and s.behind == 0 for s in states)

    async def caught_up() -> None:
        await eventually(is_caught_up)

    ended = PostgresEndedGenerations(postgres.fetch, postgres.mapper, a_stretch=4)
    async with meanwhile(Follower(url, READ_MODEL).run()):
        yield Case(postgres, ended, PostgresDeliveryBoard(postgres.fetch), caught_up)
    await postgres.close()


async def test_each_end_is_a_delivery_to_each_who_wants_to_know(case: Case) -> None:
    first, second = await register(case.store, ME), await register(case.store, ME)
    mine = [await end_one(case.store, user_id=ME) for _ in range(3)]
    named = await end_one(case.store, user_id=OTHER, webhook_url=URL)
    await end_one(case.store, user_id=OTHER)
    announced = await case.announce()
    made = [await case.store.get(Delivery, due.id) for due in announced]
    told = {(one.generation, one.endpoint, one.type) for one in made if one}
    wanted = {(g.id, hook, "image.generation.cancelled") for g in mine for hook in (first, second)}
    assert told == wanted | {(named.id, None, "image.generation.cancelled")}
    assert len(announced) == 7


async def test_what_many_are_told_is_announced_some_at_a_time_and_none_is_missed(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.announcing.MOST_IN_A_ROUND", 2)
    for _ in range(5):
        await register(case.store, ME)
    await end_one(case.store, user_id=ME)
    before = await case.ended.bookmark()
    announcer, rounds = Announcer(case.store, case.ended), []
    while not (announced := await announcer.announce()).is_all:
        if announced.new:
            rounds.append(len(announced.new))
            assert len(announced.new) == 2
    assert [*rounds, len(announced.new)] == [2, 2, 1]
    assert before < await case.ended.bookmark()
    assert await case.announce() == []


async def test_who_loses_the_duty_in_between_leaves_the_rest_to_the_next(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.announcing.MOST_IN_A_ROUND", 2)
    for _ in range(3):
        await register(case.store, ME)
    await end_one(case.store, user_id=ME)
    announcer, new = Announcer(case.store, case.ended), 0
    while not new:
        new = len((await announcer.announce()).new)
    assert new == 2
    assert len(await case.announce()) == 1
    announcer.begin_again()
    assert list((await announcer.announce()).new) == []


async def test_what_was_announced_is_not_announced_again_not_even_after_a_crash(case: Case) -> None:
    await register(case.store, ME)
    await end_one(case.store, user_id=ME)
    assert len(await case.announce()) == 1
    assert await case.announce() == []
    repeated = await case.ended.stretch(after=0)
    while not repeated.is_last:
        repeated = await case.ended.stretch(after=repeated.end)
    await case.ended.put_bookmark(1)
    assert await case.ended.bookmark() == repeated.end, "a bookmark never moves back"


async def test_a_crash_before_the_bookmark_moved_makes_no_second_delivery(case: Case) -> None:
    hook = await register(case.store, ME)
    generation = await end_one(case.store, user_id=ME)
    (due,) = await case.announce()

    assert await case.announce(Unmarked(case.ended)) == []
    (end,) = [
        recorded.event
        for recorded in await case.store.history(generation.id, after=0, limit=9)
        if recorded.event.topic == "generation.cancelled"
    ]
    assert due.id == delivery_id(hook, end.event_id)


async def test_an_endpoint_is_not_told_of_what_ended_before_it_was_there(case: Case) -> None:
    await end_one(case.store, user_id=ME)
    if isinstance(case.store, MemoryEventStore):
        case.store.clock.advance(seconds=1)  # type: ignore[attr-defined]  # a FakeClock
    await register(case.store, ME)
    assert await case.announce() == []


async def test_what_is_due_is_told_the_longest_first_and_a_few_of_each_user(case: Case) -> None:
    for user in (ME, OTHER):
        await register(case.store, user)
        for _ in range(3):
            await end_one(case.store, user_id=user)
            await case.announce()
    due = await case.due(per_user=2)
    assert [one.user_id for one in due] == [ME, ME, OTHER, OTHER]
    left = await case.due(*(one.id for one in due))
    assert [one.user_id for one in left] == [ME, OTHER]
    assert not {one.id for one in due} & {one.id for one in left}


async def test_what_is_to_be_tried_later_is_not_due(case: Case) -> None:
    await register(case.store, ME)
    for _ in range(3):
        await end_one(case.store, user_id=ME)
    later, delivered, due = await case.announce()
    await case.take(later, Answer(500))
    await case.take(delivered, Answer(200))
    assert await case.due() == [due]


async def test_what_failed_is_due_again_as_its_next_try(case: Case) -> None:
    await register(case.store, ME)
    await end_one(case.store, user_id=ME)
    (due,) = await case.announce()
    await case.take(due, Answer(500), Retries((0, 0)))
    (again,) = await case.due()
    assert (again.id, again.attempt) == (due.id, 2)
    assert again.position > due.position


async def test_what_was_sent_again_by_hand_is_due(case: Case) -> None:
    await register(case.store, ME)
    await end_one(case.store, user_id=ME)
    (due,) = await case.announce()
    await case.take(due, Answer(410))
    assert await case.due() == []
    delivery = await case.store.get(Delivery, due.id)
    assert delivery is not None
    delivery.resend(by=ME)
    await case.store.append(Command(delivery.collect_events()))
    (again,) = await case.due()
    assert again.attempt == 2


async def test_what_something_was_recorded_of_is_settled(case: Case) -> None:
    await register(case.store, ME)
    for _ in range(2):
        await end_one(case.store, user_id=ME)
    tried, waiting = await case.announce()
    assert await case.board.settled([tried, waiting]) == frozenset()
    await case.take(tried, Answer(500))
    assert await case.board.settled([tried, waiting]) == {tried.id}


async def test_when_an_endpoint_took_something_for_the_last_time(case: Case) -> None:
    hook, other = await register(case.store, ME), uuid4()
    await end_one(case.store, user_id=ME)
    (due,) = await case.announce()
    assert await case.board.last_delivered_at(hook) is None
    await case.take(due, Answer(200))
    await case.caught_up()
    at = await case.board.last_delivered_at(hook)
    assert at is not None
    assert abs(at - case.store.now()) < timedelta(minutes=1)
    assert await case.board.last_delivered_at(other) is None
