"""How each fault is done, and undone."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import psycopg
from redis.asyncio import Redis

from infrastructure.embedded import EmbeddedServer
from tests.chaos.rounds.happened import now
from tests.chaos.rounds.plan import Fault
from tests.chaos.rounds.stack import Place, Stack, rows

LOST_ANSWERS = 6
BACKENDS = """
SELECT pid FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""


async def break_things(stack: Stack, begun: float) -> None:
    """All faults of the plan, each at its moment; ends when everything is whole again."""
    async with asyncio.TaskGroup() as faults:
        for fault in stack.plan.faults:
            faults.create_task(_at_its_moment(stack, fault, begun))


async def _at_its_moment(stack: Stack, fault: Fault, begun: float) -> None:
    await asyncio.sleep(begun + fault.at - asyncio.get_running_loop().time())
    told: dict[str, Any] = {"what": fault.what, "target": fault.target, "wanted": fault.at}
    stack.happened.faults.append(told)
    async with _alone(stack, fault.target):
        told["since"] = now().isoformat()
        await HOW[fault.what, _kind(fault.target)](stack, fault)
        told["until"] = now().isoformat()


@asynccontextmanager
async def _alone(stack: Stack, target: str) -> AsyncIterator[None]:
    """Two faults of one target come one after the other, whatever else is broken meanwhile."""
    async with AsyncExitStack() as locks:
        for place in _places(stack, target):
            await locks.enter_async_context(place.busy)
        if target in stack.busy:
            await locks.enter_async_context(stack.busy[target])
        yield


def _places(stack: Stack, target: str) -> list[Place]:
    if target == "everything":
        return list(stack.places.values())
    if target == "workers":
        return [place for place in stack.places.values() if place.kind == "worker"]
    return [stack.places[target]] if target in stack.places else []


def _kind(target: str) -> str:
    if target in ("openai", "supabase"):
        return "server"
    return target if target in ("redis", "postgres", "network", "disk") else "process"


# --- processes -----------------------------------------------------------------------------------


async def kill(stack: Stack, fault: Fault) -> None:
    """With -9, all at once; they are started again a little later."""
    places = _places(stack, fault.target)
    for place in places:
        _look_at(stack, place)
        place.process.send(signal.SIGKILL)
    for place in places:
        await asyncio.to_thread(place.process.wait)
        stack.happened.was_killed(place.process.pid)
    await asyncio.sleep(fault.seconds)
    for place in places:
        place.start()


async def pause(stack: Stack, fault: Fault) -> None:
    """Stopped, not dead, for longer than a lease."""
    (place,) = _places(stack, fault.target)
    silence = stack.happened.silence("paused", place.process.pid)
    with silence, stack.happened.outage(place.name):
        place.process.send(signal.SIGSTOP)
        await asyncio.sleep(fault.seconds)
        place.process.send(signal.SIGCONT)


async def deploy(stack: Stack, fault: Fault) -> None:
    """Told to stop, waited for, and replaced."""
    (place,) = _places(stack, fault.target)
    await stack.tell_to_stop(place)
    place.start()


def _look_at(stack: Stack, place: Place) -> None:
    if place.process.ended():
        stack.happened.ends.append(f"{place.name} ended by itself")


# --- servers -------------------------------------------------------------------------------------


async def flush_redis(stack: Stack, fault: Fault) -> None:
    async with Redis.from_url(stack.redis.url) as redis:
        await redis.flushall()


async def kill_redis(stack: Stack, fault: Fault) -> None:
    """With -9: all it held is gone."""
    await _restart(stack.redis, signal.SIGKILL, fault.seconds)


async def stop_redis(stack: Stack, fault: Fault) -> None:
    await _restart(stack.redis, signal.SIGTERM, fault.seconds)


async def restart_postgres(stack: Stack, fault: Fault) -> None:
    """Every session is cut."""
    with stack.happened.outage("database"):
        await _restart(stack.postgres, signal.SIGINT, fault.seconds)


async def kill_postgres(stack: Stack, fault: Fault) -> None:
    """With -9: the next start replays its log."""
    with stack.happened.outage("database"):
        await _restart(stack.postgres, signal.SIGKILL, fault.seconds)


async def pause_postgres(stack: Stack, fault: Fault) -> None:
    """It keeps its connections and says nothing."""
    with stack.happened.outage("database"):
        stopped = [pid for (pid,) in await rows(stack.database_url, BACKENDS)]
        for pid in stopped:
            _signal(pid, signal.SIGSTOP)
        await asyncio.sleep(fault.seconds)
        for pid in stopped:
            _signal(pid, signal.SIGCONT)


async def cut_postgres(stack: Stack, fault: Fault) -> None:
    """Every session ends; a new one can be had at once."""
    cut = f"SELECT pg_terminate_backend(pid) FROM ({BACKENDS}) b"
    with suppress(psycopg.OperationalError):  # it cuts us too
        await rows(stack.database_url, cut)


async def _restart(server: EmbeddedServer, how: signal.Signals, seconds: float) -> None:
    process = server._process
    assert process is not None
    process.send_signal(how)
    await asyncio.to_thread(process.wait)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(server.start)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


# --- network and disk ----------------------------------------------------------------------------


async def cut_network(stack: Stack, fault: Fault) -> None:
    stack.proxy.cut()


async def pause_network(stack: Stack, fault: Fault) -> None:
    """Half of the processes hear nothing of PostgreSQL for longer than a lease."""
    silence = stack.happened.silence("cut off", *stack.behind_the_proxy())
    with stack.happened.outage("network"), silence:
        stack.proxy.pause()
        await asyncio.sleep(fault.seconds)
        stack.proxy.go_on()


async def lose_answers(stack: Stack, fault: Fault) -> None:
    """PostgreSQL did it, and nobody hears of it."""
    for _ in range(LOST_ANSWERS):
        stack.proxy.cut_next_answer = True
        await asyncio.sleep(fault.seconds / LOST_ANSWERS)
    stack.proxy.cut_next_answer = False


async def fill_disk(stack: Stack, fault: Fault) -> None:
    """Where no file system could be mounted, it is taken away instead."""
    if not stack.disk.is_mounted:
        await take_disk_away(stack, fault)
        return
    with stack.happened.outage("disk"):
        await asyncio.to_thread(stack.disk.fill)
        await asyncio.sleep(fault.seconds)
        stack.disk.empty()


async def take_disk_away(stack: Stack, fault: Fault) -> None:
    with stack.happened.outage("disk"):
        stack.disk.take_away()
        await asyncio.sleep(fault.seconds)
        stack.disk.bring_back()


async def always(stack: Stack, fault: Fault) -> None:
    """Every request to a server of others meets the same."""
    assert stack.others is not None
    switches = stack.others.switches[fault.target]
    switches.tell(always=fault.what)
    await asyncio.sleep(fault.seconds)
    switches.tell(always=None)


HOW: dict[tuple[str, str], Callable[[Stack, Fault], Awaitable[None]]] = {
    ("kill", "process"): kill,
    ("pause", "process"): pause,
    ("deploy", "process"): deploy,
    ("flush", "redis"): flush_redis,
    ("kill", "redis"): kill_redis,
    ("stop", "redis"): stop_redis,
    ("restart", "postgres"): restart_postgres,
    ("kill", "postgres"): kill_postgres,
    ("pause", "postgres"): pause_postgres,
    ("cut", "postgres"): cut_postgres,
    ("cut", "network"): cut_network,
    ("pause", "network"): pause_network,
    ("lose answers", "network"): lose_answers,
    ("fill", "disk"): fill_disk,
    ("take away", "disk"): take_disk_away,
    ("refuse", "server"): always,
    ("hang", "server"): always,
}
