"""Webhooks from the log to a receiver, over PostgreSQL, Redis and HTTP: each ends as stated."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_network
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis

from application.announcing import Announcer
from application.delivering import Deliverer
from application.delivery_turns import LOST_AFTER, DeliveryTurns
from application.tasks import end
from application.webhooks import WebhookChanges
from domain.retries import Retries
from domain.webhook import Webhooks, webhooks_id
from infrastructure.event_store.announcing import Announcing
from infrastructure.event_store.ended_generations import PostgresEndedGenerations
from infrastructure.event_store.follower import Follower
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.queue import DELIVER, DELIVERIES, WORK, ArqQueue, ArqWorker
from infrastructure.read_models.webhook_deliveries import (
    READ_MODEL,
    DeliveryRow,
    PostgresDeliveryBoard,
    deliveries_page,
)
from infrastructure.webhooks.secrets import DerivedSecrets
from infrastructure.webhooks.sender import HttpSender
from interfaces.rest.webhook_bodies import body_of
from tests.meanwhile import meanwhile
from tests.processes import eventually
from tests.servers.raw import said
from tests.servers.receiver import HANG, Message, Receiver
from tests.webhooks import end_one, register

ME, OTHER = UUID(int=7), UUID(int=8)
SECRETS = DerivedSecrets("a-secret-key-for-tests")
SHORT = Retries((0, 0.1, 0.1, 0.1))


@dataclass
class Office:
    """Announces, hands over and sends, on one database and one Redis."""

    store: PostgresEventStore
    url: str
    redis_url: str
    retries: Retries = field(default_factory=lambda: SHORT)
    seconds: float = 10.0
    lost_after: timedelta = LOST_AFTER

    def __post_init__(self) -> None:
        self.board = PostgresDeliveryBoard(self.store.fetch)
        self.queue = ArqQueue(self.redis_url)
        self.changes = WebhookChanges(self.store, SECRETS)

    def announcing(self) -> Announcing:
        log = PostgresEndedGenerations(self.store.fetch, self.store.mapper)
        turns = DeliveryTurns(self.board, self.queue, lost_after=self.lost_after)
        return Announcing(self.url, Announcer(self.store, log), turns)

    def deliverer(self) -> Deliverer:
        return Deliverer(
            store=self.store,
            board=self.board,
            queue=self.queue,
            sender=HttpSender([ip_network("127.0.0.0/8")], seconds=self.seconds),
            secrets=SECRETS,
            retries=self.retries,
            jitter=lambda: 0.0,
            body=body_of,
        )

    def worker(self) -> ArqWorker:
        perform = {DELIVER: self.deliverer().deliver}
        return ArqWorker(self.redis_url, perform, slots=64, line=DELIVERIES)

    @asynccontextmanager
    async def at_work(self, workers: int = 1) -> AsyncIterator[None]:
        running = [self.worker().run() for _ in range(workers)]
        async with meanwhile(self.announcing().run(), *running):
            yield

    async def deliveries(self, endpoint: UUID) -> list[DeliveryRow]:
        """The oldest first."""
        rows = await deliveries_page(self.store.fetch, user_id=ME, endpoint=endpoint, limit=99)
        return rows[::-1]

    async def ended(self, endpoint: UUID, count: int = 1) -> list[DeliveryRow]:
        """Its deliveries, once so many have ended."""

        async def have() -> list[DeliveryRow]:
            rows = [row for row in await self.deliveries(endpoint) if row.ended_at]
            return rows if len(rows) == count else []

        found: list[DeliveryRow] = await eventually(have)
        return found

    async def due_again(self, endpoint: UUID) -> DeliveryRow:
        """Its delivery, once a try was made that failed."""

        async def have() -> list[DeliveryRow]:
            return [row for row in await self.deliveries(endpoint) if row.attempts]

        (row,) = await eventually(have)
        return row

    async def disabled(self, endpoint: UUID) -> str | None:
        webhooks = await self.store.get(Webhooks, webhooks_id(ME))
        assert webhooks is not None
        return webhooks.endpoint(endpoint).disabled

    async def end_generations(self, count: int = 1, *, user_id: UUID = ME) -> None:
        for _ in range(count):
            await end_one(self.store, user_id=user_id)


@pytest.fixture
async def office(
    store: PostgresEventStore,
    database_url: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Office]:
    monkeypatch.setattr("infrastructure.event_store.announcing.POLL_SECONDS", 0.1)
    office = Office(store, database_url, redis_url)
    async with meanwhile(Follower(database_url, READ_MODEL).run()):
        yield office
    await office.queue.close()
    await office.queue.close()


async def test_who_was_down_for_a_while_is_told_when_it_is_back(office: Office) -> None:
    receiver = Receiver()
    async with receiver.up() as url:
        hook = await register(office.store, ME, url=url)
    async with office.at_work():
        await office.end_generations()
        down = await office.due_again(hook)
        async with receiver.up():
            (row,) = await office.ended(hook)
    assert down.last_error == "unreachable"
    assert (row.status, row.last_status, row.last_error) == ("delivered", 204, None)
    assert row.attempts > 1
    (message,) = receiver.received
    told = message.verified(SECRETS.secret(hook, 1))
    assert (told["data"]["id"], message.id) == (str(row.generation_id), str(row.id))


async def test_who_answers_410_is_told_no_more(office: Office) -> None:
    receiver = Receiver(answers=[said(410)])
    async with receiver.up() as url, office.at_work():
        hook = await register(office.store, ME, url=url)
        await office.end_generations()
        (row,) = await office.ended(hook)
        assert await office.disabled(hook) == "gone"
        other = await register(office.store, ME, url=url)
        await office.end_generations()
        await office.ended(other)
    assert (row.status, row.last_error, row.attempts) == ("given_up", "gone", 1)
    assert len(await office.deliveries(hook)) == 1


@pytest.mark.parametrize(
    ("answer", "error", "seconds"),
    [
        (said(500), "refused", 10.0),
        (said(301, location="http://127.0.0.1:1/"), "redirected", 10.0),
        (HANG, "timed_out", 0.2),
    ],
    ids=["500", "301", "hanging"],
)
async def test_who_takes_nothing_through_all_tries_is_given_up_and_stays_for_a_day(
    office: Office, answer: bytes, error: str, seconds: float
) -> None:
    office.seconds = seconds
    receiver = Receiver(answers=[answer])
    async with receiver.up() as url, office.at_work():
        hook = await register(office.store, ME, url=url)
        await office.end_generations()
        (row,) = await office.ended(hook)
    assert (row.status, row.last_error, row.attempts) == ("given_up", error, 4)
    assert len({message.id for message in receiver.received}) == 1
    assert len(receiver.received) == 4 or error == "timed_out"  # it may be before it was sent
    assert await office.disabled(hook) is None


async def test_a_receiver_that_hangs_delays_nobody_elses(office: Office) -> None:
    hanging, other, somebody = Receiver(answers=[HANG]), Receiver(), uuid4()
    async with hanging.up() as url, other.up() as elsewhere, office.at_work():
        await register(office.store, ME, url=url)
        await register(office.store, somebody, url=elsewhere)
        await office.end_generations(30)
        await hanging.has(8)
        await office.end_generations(10, user_id=somebody)
        await other.has(10, within=5.0)  # one that hangs is waited for ten seconds
    assert len(hanging.received) == 8


async def test_both_secrets_verify_while_one_is_rotated(office: Office) -> None:
    receiver = Receiver()
    async with receiver.up() as url, office.at_work():
        hook = await register(office.store, ME, url=url)
        await office.changes.rotate_secret(ME, hook)
        await office.end_generations()
        (message,) = await receiver.has(1)
    message.verified(SECRETS.secret(hook, 1), SECRETS.secret(hook, 2))


async def test_what_was_given_up_is_sent_again_by_hand(office: Office) -> None:
    office.retries = Retries((0,))
    receiver = Receiver(answers=[said(500), said(200)])
    async with receiver.up() as url, office.at_work():
        hook = await register(office.store, ME, url=url)
        await office.end_generations()
        (given_up,) = await office.ended(hook)
        await office.changes.resend(ME, hook, given_up.id)
        await receiver.has(2)

        async def delivered() -> list[DeliveryRow]:
            return [row for row in await office.deliveries(hook) if row.status == "delivered"]

        (row,) = await eventually(delivered)
    assert (given_up.status, row.id, row.attempts) == ("given_up", given_up.id, 2)
    assert len({message.id for message in receiver.received}) == 1


async def test_retry_after_is_waited_for(office: Office) -> None:
    receiver = Receiver(answers=[said(503, retry_after="3000"), said(200)])
    async with receiver.up() as url, office.at_work():
        hook = await register(office.store, ME, url=url)
        await office.end_generations()
        row = await office.due_again(hook)
    assert row.next_attempt_at is not None
    assert 2900 < (row.next_attempt_at - row.created_at).total_seconds() < 3100
    assert len(receiver.received) == 1


async def test_two_workers_and_two_announcers_tell_once(office: Office) -> None:
    receiver = Receiver()
    async with receiver.up() as url, office.at_work(2), office.at_work():
        hook = await register(office.store, ME, url=url)
        await office.end_generations(40)
        rows = await office.ended(hook, 40)
    told = [message.id for message in receiver.received]
    assert set(told) == {str(row.id) for row in rows}
    assert len(told) == len(set(told)) == 40


async def test_a_worker_that_leaves_with_the_duty_and_its_successor_tell_once(
    office: Office,
) -> None:
    """It finishes what it began; who has the duty next hands all of that over once more."""
    go_on, told, begun = asyncio.Event(), [], []
    begin = office.queue.begin

    async def noted(id_: UUID, attempt: int) -> bool:
        begun.append(await begin(id_, attempt))
        return begun[-1]

    async def answer_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told.append(await reader.readuntil(b"\r\n\r\n"))
        await go_on.wait()
        writer.write(said(200))
        await writer.drain()
        writer.close()

    office.queue.begin = noted  # type: ignore[method-assign]  # of this one
    async with await asyncio.start_server(answer_slowly, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        hook = await register(office.store, ME, url=f"http://127.0.0.1:{port}/")
        leaving, next_ = office.worker(), office.worker()
        async with meanwhile(leaving.run()):
            async with meanwhile(office.announcing().run()):
                await office.end_generations(8)
                await eventually(lambda: _is(len(told) == 8))
            stopping = asyncio.create_task(leaving.stop(within=timedelta(seconds=20)))
            async with meanwhile(office.announcing().run(), next_.run()):
                await eventually(lambda: _is(begun.count(False) == 8), why="handed over again")
                go_on.set()
                assert await stopping
                rows = await office.ended(hook, 8)
    assert [row.attempts for row in rows] == [1] * 8
    assert len(told) == 8


async def test_a_flushed_redis_loses_nothing(office: Office) -> None:
    """Handed over while nobody sends, then forgotten by Redis, then handed over again."""
    office.lost_after, receiver = timedelta(seconds=0.5), Receiver()
    async with receiver.up() as url, Redis.from_url(office.redis_url) as redis:
        hook = await register(office.store, ME, url=url)
        async with meanwhile(office.announcing().run()):
            await office.end_generations(5)
            await eventually(lambda: _queued(redis, 5))
            await redis.flushall()
            async with meanwhile(office.worker().run()):
                rows = await office.ended(hook, 5)
    assert {row.status for row in rows} == {"delivered"}


async def test_a_worker_that_dies_while_it_sends_is_followed_by_another(office: Office) -> None:
    """It is killed before it could record what came of its try, which is made again in time."""
    await office.queue.close()
    office.queue = ArqQueue(office.redis_url, a_try=timedelta(seconds=0.5))
    office.lost_after = timedelta(seconds=0.5)
    killed = asyncio.Event()

    def die(_: Message) -> bytes:
        killed.set()
        return HANG

    receiver = Receiver(answers=[die, said(200)])
    async with receiver.up() as url:
        hook = await register(office.store, ME, url=url)
        log = PostgresEndedGenerations(office.store.fetch, office.store.mapper)
        announcer = Announcer(office.store, log)
        await office.end_generations()
        (due,) = (await announcer.announce()).new
        sending = asyncio.create_task(office.deliverer().deliver(due.id, 1))
        await asyncio.wait_for(killed.wait(), 10)
        await end(sending)
        async with office.at_work():
            (row,) = await office.ended(hook)
    assert (row.status, row.attempts) == ("delivered", 1)
    assert len(receiver.received) == 2


async def test_while_a_try_waits_in_redis_handing_it_over_again_changes_nothing(
    office: Office,
) -> None:
    async with Redis.from_url(office.redis_url) as redis:
        await register(office.store, ME, url="https://nobody.example/")
        await office.end_generations()
        log = PostgresEndedGenerations(office.store.fetch, office.store.mapper)
        due = (await Announcer(office.store, log).announce()).new
        for by, again in (("a", {}), ("a", {}), ("a", {due[0].id: 1}), ("b", {})):
            await office.queue.deliver(due, by=by, again=again)
        assert await redis.zcard(DELIVERIES.queue) == 3
        assert await redis.exists(WORK.queue) == 0, "no generation waits for it"


async def test_more_than_the_store_takes_at_once_is_announced_all_the_same(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.event_store.appender.MOST_WAITING", 100)
    for _ in range(20):
        await register(office.store, ME, url="https://nobody.example/")
    await office.end_generations(10)
    log = PostgresEndedGenerations(office.store.fetch, office.store.mapper)
    assert len((await Announcer(office.store, log).announce()).new) == 200


async def test_behind_ten_thousand_of_one_user_another_users_delivery_is_found_at_once(
    office: Office,
) -> None:
    table = f"{READ_MODEL.schema}.webhook_deliveries"
    await office.store.fetch(
        f"""INSERT INTO {table} (id, user_id, event_type, next_attempt_at, position, last_position,
                                 created_at)
            SELECT gen_random_uuid(), CASE WHEN n = 10000 THEN %s ELSE %s END,
                   'image.generation.completed', now() - interval '1 h', n, n, now()
              FROM generate_series(1, 10000) n RETURNING 1""",
        (OTHER, ME),
    )
    one_session = PostgresEventStore(office.url, readers=1)  # its counts are all counts
    await one_session.open()
    before = await _rows_read(one_session)
    found = await PostgresDeliveryBoard(one_session.fetch).due(per_user=8, but=[])
    read = await _rows_read(one_session) - before
    await one_session.close()
    assert [one.user_id for one in found] == [ME] * 8 + [OTHER]
    assert 9 <= read <= 50


async def _rows_read(store: PostgresEventStore) -> int:
    """Rows of the deliveries that statements have looked at so far, by any access path."""
    await store.fetch("SELECT pg_stat_force_next_flush()", ())
    query = """SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables
                WHERE relname = 'webhook_deliveries'"""
    return int((await store.fetch(query, ()))[0][0])


async def _queued(redis: Redis, count: int) -> bool:
    return bool(await redis.zcard(DELIVERIES.queue) == count)


async def _is(condition: bool) -> bool:
    return condition
