"""However much is asked at once: so many connections and no more, and a clear refusal."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from application.ports.event_store import StoreUnavailableError
from infrastructure.event_store.store import READERS, PostgresEventStore
from infrastructure.queue import CONNECTIONS, ArqQueue


async def test_whatever_is_asked_of_redis_shares_a_few_connections(redis_url: str) -> None:
    queue = ArqQueue(redis_url)
    async with Redis.from_url(redis_url) as redis:
        before = len(await redis.client_list())
        await asyncio.gather(*(queue.ping() for _ in range(200)))
        opened = len(await redis.client_list()) - before
    await queue.close()
    assert 1 <= opened <= CONNECTIONS


async def test_who_finds_a_thousand_waiting_for_the_database_is_told_to_come_back(
    store: PostgresEventStore,
) -> None:
    store._patience = store.pool.timeout = 60  # with whom it lets wait
    asking = [store.fetch("SELECT pg_sleep(1)", ()) for _ in range(READERS)]
    asking += [store.fetch("SELECT 1", ()) for _ in range(1200)]
    answers = await asyncio.gather(*asking, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert {type(error) for error in refused} == {StoreUnavailableError}
    assert len(answers) - len(refused) >= 1000
