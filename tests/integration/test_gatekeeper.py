"""Circuits, tickets and rates that several processes share through a real Redis."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis

from application.ports.health import Admitted
from infrastructure.gatekeeping.gatekeeper import RedisGatekeeper
from infrastructure.redis_line import Line
from tests.fakes import FakeClock
from tests.gates import (
    DOORS,
    PATIENT,
    RULES,
    fails,
    redis_gatekeeper,
    succeeds,
    ticket,
    turned_away,
)
from tests.processes import eventually
from tests.proxy import Proxy

Both = tuple[RedisGatekeeper, RedisGatekeeper]
HASTY = 0.05  # seconds: where Redis is not to be heard


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def gates(redis_url: str, clock: FakeClock) -> AsyncIterator[Both]:
    """Of two processes."""
    one, other = (redis_gatekeeper(redis_url, clock) for _ in range(2))
    yield one, other
    await one.close()
    await other.close()


async def admitted(gates: Both, provider: str, calls: int) -> list[tuple[int, str]]:
    """Of so many calls at once, half of them in each process: whose were, and their tickets."""
    said = await asyncio.gather(*(gates[i % 2].enter(provider, "m") for i in range(calls)))
    return [(i % 2, one.ticket) for i, one in enumerate(said) if isinstance(one, Admitted)]


# --- shared ----------------------------------------------------------------------------------


async def test_what_one_process_learns_of_a_provider_all_know(
    gates: Both, clock: FakeClock
) -> None:
    one, other = gates
    await fails(one, "unavailable", "unavailable")
    await fails(other, "unavailable")
    assert (await turned_away(one)).why == (await turned_away(other)).why == "circuit_open"
    assert await one.health(["openai"]) == await other.health(["openai"])

    clock.advance(seconds=RULES.open)
    await succeeds(other)
    await ticket(one)


async def test_of_all_calls_in_all_processes_one_is_the_probe(
    gates: Both, clock: FakeClock
) -> None:
    await fails(gates[0], "out_of_funds")
    clock.advance(seconds=RULES.cool_down)
    for _ in range(5):
        ((whose, probe),) = await admitted(gates, "openai", 20)
        await gates[whose].leave("openai", "m", probe, "given_up")


async def test_all_processes_together_have_no_more_calls_under_way_than_may_be(
    gates: Both,
) -> None:
    inside = await admitted(gates, "narrow", 30)
    assert len(inside) == DOORS["narrow"].concurrency
    assert (await gates[1].health(["narrow"]))["narrow"].calls_under_way == len(inside)


async def test_all_processes_together_begin_no_more_calls_than_may(gates: Both) -> None:
    assert len(await admitted(gates, "slow", 30)) == 2


async def test_those_who_wait_come_back_one_after_another(gates: Both, clock: FakeClock) -> None:
    await admitted(gates, "narrow", 2)
    moments = [(await turned_away(gates[i % 2], "narrow")).until for i in range(30)]
    assert len(set(moments)) == 30
    assert max(moments) - min(moments) < timedelta(seconds=10)


async def test_another_key_has_a_circuit_of_its_own(
    gates: Both, redis_url: str, clock: FakeClock
) -> None:
    await fails(gates[0], "out_of_funds")
    doors = {"openai": replace(DOORS["openai"], identity="openai:another")}
    elsewhere = redis_gatekeeper(redis_url, clock, doors=doors)
    await ticket(elsewhere)
    await elsewhere.close()


async def test_a_killed_process_gives_its_tickets_back(redis_url: str) -> None:
    life = 2.0
    program = ("-m", "tests.integration.gate_process", redis_url, "2", str(life))
    holder = await asyncio.create_subprocess_exec(
        sys.executable, *program, stdout=asyncio.subprocess.PIPE
    )
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"holds\n"
    holder.kill()
    await holder.wait()
    gate = redis_gatekeeper(redis_url, lambda: datetime.now(UTC), life=timedelta(seconds=life))

    async def is_let_in() -> bool:
        return isinstance(await gate.enter("narrow", "m"), Admitted)

    await eventually(is_let_in, why="the tickets of a killed process never expire")
    await gate.close()


# --- what it costs, and what it keeps --------------------------------------------------------


async def test_a_call_takes_one_round_trip_to_enter_and_one_to_leave(
    gates: Both, redis_url: str
) -> None:
    await succeeds(gates[0])  # connected, and the scripts are loaded
    with Redis.from_url(redis_url, decode_responses=True) as redis, redis.monitor() as monitor:
        await succeeds(gates[0])
        await asyncio.to_thread(Redis.from_url(redis_url).echo, "the end")
        commands = []
        for command in monitor.listen():
            if "the end" in command["command"]:
                break
            if command["client_type"] != "lua":
                commands.append(command["command"].split()[0])
    assert [name for name in commands if name not in ("AUTH", "CLIENT")] == ["EVALSHA", "EVALSHA"]


async def test_no_key_of_a_provider_is_written_to_redis(gates: Both, redis_url: str) -> None:
    await fails(gates[0], "out_of_funds")
    await succeeds(gates[0], "slow")
    with Redis.from_url(redis_url, decode_responses=True) as redis:
        names = list(redis.scan_iter())
        kept = [redis.dump(name) for name in names]
    assert len(names) == 2
    assert "sk-one" not in f"{names} {kept}"


async def test_nothing_stays_in_redis_for_ever(gates: Both, redis_url: str) -> None:
    await fails(gates[0], "out_of_funds")
    await ticket(gates[0], "narrow")
    await ticket(gates[0], "slow")
    with Redis.from_url(redis_url) as redis:
        assert [name for name in redis.scan_iter() if redis.ttl(name) < 0] == []


# --- a flushed Redis -------------------------------------------------------------------------


async def test_after_a_flush_everything_begins_anew(gates: Both, redis_url: str) -> None:
    before = [ticket for _, ticket in await admitted(gates, "narrow", 2)]
    await fails(gates[0], "out_of_funds")
    with Redis.from_url(redis_url) as redis:
        redis.flushall()
        redis.script_flush()

    await ticket(gates[1])
    for one in before:
        await gates[0].leave("narrow", "m", one, "answered")
    assert len(await admitted(gates, "narrow", 5)) == 2
    await fails(gates[0], "out_of_funds")
    assert (await turned_away(gates[1])).why == "out_of_funds"


async def test_a_probe_whose_circuit_was_flushed_may_fail(
    gates: Both, redis_url: str, clock: FakeClock
) -> None:
    await fails(gates[0], "out_of_funds")
    clock.advance(seconds=RULES.cool_down)
    probe = await ticket(gates[0])
    with Redis.from_url(redis_url) as redis:
        redis.flushall()
    await gates[0].leave("openai", "m", probe, "lost")
    await ticket(gates[1])


# --- a Redis that is away, or hangs ----------------------------------------------------------


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    async with Proxy(redis_url) as proxy:
        yield proxy


class Moments:
    """A clock for Redis's absences, which goes on when told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_while_redis_hangs_each_process_goes_by_what_it_knows(
    proxy: Proxy, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gate = redis_gatekeeper(proxy.url, clock, line=Line(patience=HASTY, clock=Moments()))
    proxy.pause()
    async with asyncio.timeout(PATIENT):
        await succeeds(gate)
        await fails(gate, "unavailable", "unavailable", "unavailable")
        assert (await turned_away(gate)).why == "circuit_open"
        health = await gate.health(["openai", "narrow"])
    assert (health["openai"].circuit.state, health["narrow"].circuit.state) == ("open", "unknown")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    proxy.go_on()
    await gate.close()


async def test_what_this_process_learned_before_redis_went_counts(
    proxy: Proxy, clock: FakeClock
) -> None:
    gate = redis_gatekeeper(proxy.url, clock)
    await fails(gate, "out_of_funds")
    proxy.lead_to("redis://127.0.0.1:1/0")
    assert (await turned_away(gate)).why == "out_of_funds"
    await gate.close()


async def test_when_redis_is_back_all_is_shared_again_and_tickets_come_home(
    proxy: Proxy, redis_url: str, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    moments = Moments()
    gate = redis_gatekeeper(proxy.url, clock, line=Line(patience=PATIENT, clock=moments))
    there = redis_gatekeeper(redis_url, clock)
    held = [await ticket(gate, "narrow"), await ticket(gate, "narrow")]
    proxy.lead_to("redis://127.0.0.1:1/0")
    for one in held:
        await gate.leave("narrow", "m", one, "answered")
    assert (await turned_away(there, "narrow")).why == "busy"

    proxy.lead_to(redis_url)
    assert (await gate.health(["narrow"]))["narrow"].circuit.state == "unknown"
    moments.now += 60
    assert (await gate.health(["narrow"]))["narrow"].circuit.state == "closed"

    await ticket(there, "narrow")
    await ticket(there, "narrow")
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    await gate.close()
    await there.close()


async def test_a_call_that_redis_let_in_without_being_heard_is_given_back(
    proxy: Proxy, redis_url: str, clock: FakeClock
) -> None:
    moments = Moments()
    gate = redis_gatekeeper(proxy.url, clock, line=Line(patience=PATIENT, clock=moments))
    there = redis_gatekeeper(redis_url, clock)
    await fails(gate, "out_of_funds")
    clock.advance(seconds=RULES.cool_down)
    own_probe = await ticket(gate)
    await there.leave("openai", "m", own_probe, "given_up")  # Redis has no probe any more
    proxy.cut_next_answer = True
    assert (await turned_away(gate)).why == "circuit_open"  # by what it knows itself
    assert (await turned_away(there)).why == "circuit_open"  # Redis let the unheard one in

    moments.now += 60
    await gate.health(["openai"])
    await ticket(there)
    await gate.close()
    await there.close()


async def test_a_cancelled_call_leaves_no_ticket_behind(
    proxy: Proxy, redis_url: str, clock: FakeClock
) -> None:
    gate = redis_gatekeeper(proxy.url, clock)
    await succeeds(gate, "narrow")
    proxy.pause_behind = b"EVALSHA"
    entering = asyncio.create_task(gate.enter("narrow", "m"))
    await proxy.paused.wait()
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    proxy.go_on()

    await eventually(lambda: _nothing_under_way(gate), why="the ticket stays")
    await gate.close()


async def _nothing_under_way(gate: RedisGatekeeper) -> bool:
    return (await gate.health(["narrow"]))["narrow"].calls_under_way == 0
