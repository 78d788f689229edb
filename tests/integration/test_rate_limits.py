"""Counts that several processes share through a real Redis, and what happens without it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from redis import Redis

from infrastructure.rate_limiting.counters import SHARED, RedisCounters
from infrastructure.redis_line import Line
from tests.gates import NOBODY_LISTENS, PATIENT
from tests.limits import Moments, admitted, limit, redis_counters, until_refused
from tests.proxy import Proxy

Both = tuple[RedisCounters, RedisCounters]
HASTY = 0.05  # seconds: where Redis is not to be heard


@pytest.fixture
async def both(redis_url: str) -> AsyncIterator[Both]:
    """Of two processes."""
    one, other = redis_counters(redis_url), redis_counters(redis_url)
    yield one, other
    await one.close()
    await other.close()


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(redis_url) as proxy:
        yield proxy


async def test_all_processes_together_admit_no_more_than_may_be(both: Both) -> None:
    limits = [limit(30), limit(50, 60)]
    fit = await asyncio.gather(*(admitted(one, *limits, times=40) for one in both))
    assert sum(fit) == 30


async def test_however_many_limits_there_are_it_is_one_round_trip(
    both: Both, redis_url: str
) -> None:
    limits = [limit(9), limit(9, 60), limit(9, kind="user"), limit(9, 60, kind="user")]
    await both[0].take(limits)  # connected, and the script is loaded
    with Redis.from_url(redis_url, decode_responses=True) as redis, redis.monitor() as monitor:
        await both[0].take(limits)
        await asyncio.to_thread(Redis.from_url(redis_url).echo, "the end")
        commands = []
        for command in monitor.listen():
            if "the end" in command["command"]:
                break
            if command["client_type"] != "lua":
                commands.append(command["command"].split()[0])
    assert [name for name in commands if name not in ("AUTH", "CLIENT")] == ["EVALSHA"]


async def test_nothing_stays_in_redis_for_ever(both: Both, redis_url: str) -> None:
    await both[0].take([limit(9), limit(9, 60, kind="guess", whose="192.0.2.1")])
    with Redis.from_url(redis_url) as redis:
        kept = {name: redis.ttl(name) for name in redis.scan_iter()}
    assert len(kept) == 2
    assert all(0 < seconds <= 2 * 3600 for seconds in kept.values())


async def test_after_a_flush_everything_is_counted_anew(both: Both, redis_url: str) -> None:
    assert await until_refused(both[0], limit(2)) == 2
    with Redis.from_url(redis_url) as redis:
        redis.flushall()
        redis.script_flush()
    assert await until_refused(both[1], limit(2)) == 2


async def test_while_redis_hangs_each_process_counts_by_itself(
    proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line(shared=SHARED, patience=HASTY, clock=Moments())
    counters = redis_counters(proxy.url, line=line)
    proxy.pause()
    async with asyncio.timeout(PATIENT):
        assert await until_refused(counters, limit(2)) == 2
    (record,) = caplog.records
    assert "each process knows only its own counts of requests" in record.getMessage()
    proxy.go_on()
    await counters.close()


async def test_while_redis_is_away_only_one_in_a_while_waits_for_it(proxy: Proxy) -> None:
    moments = Moments()
    line = Line(patience=PATIENT, clock=moments)
    counters = redis_counters(proxy.url, line=line)
    proxy.lead_to(NOBODY_LISTENS)
    await counters.take([limit(100)])
    proxy.pause()
    async with asyncio.timeout(PATIENT / 2):
        assert await admitted(counters, limit(100), times=20) == 20  # nobody asked
    moments.now += 60
    asking = asyncio.create_task(counters.take([limit(100)]))
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENT / 2):
        assert await admitted(counters, limit(100), times=20) == 20  # one asks already
    assert not asking.done()
    proxy.go_on()
    await asking
    await counters.close()


async def test_when_redis_is_back_all_count_together_again(
    proxy: Proxy, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    moments = Moments()
    here = redis_counters(proxy.url, line=Line(shared=SHARED, patience=PATIENT, clock=moments))
    there = redis_counters(redis_url)
    assert await until_refused(here, limit(2)) == 2
    proxy.lead_to(NOBODY_LISTENS)
    assert await until_refused(here, limit(2)) == 2  # by itself, anew
    proxy.lead_to(redis_url)
    assert not (await here.take([limit(2)])).fits
    moments.now += 60

    assert (await here.look([limit(5)])).standings[0].remaining == 3  # of what Redis counted
    assert await until_refused(there, limit(3)) == 1
    assert not (await here.take([limit(3)])).fits
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    await here.close()
    await there.close()
