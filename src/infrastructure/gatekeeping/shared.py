"""Circuits, tickets and rates that all workers share: each action is one round trip to Redis."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any, cast

from limits import parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import Redis

from application.ports.health import Circuit, Health
from infrastructure.gatekeeping.doors import Door, KeptOut, Lesson, Lessons, circuit_of
from infrastructure.gatekeeping.rules import CircuitRules
from infrastructure.redis_line import disconnect, pool_of

PREFIX = "darkroom:gate:"
CONNECTIONS = 4
WHOLE = "*"  # the scope of a circuit that is the whole provider's

Texts = list[Any]


def _script(name: str) -> str:
    folder = files("infrastructure.gatekeeping")
    return "".join((folder / part).read_text() for part in ("shared.lua", f"{name}.lua"))


class SharedGates:
    """What the workers know together. Any method raises what is in LOST."""

    def __init__(
        self,
        redis_url: str,
        rules: CircuitRules,
        *,
        life: timedelta,
        again: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        pool = pool_of(redis_url, most=CONNECTIONS, decode_responses=True)
        self._redis: Redis = Redis(connection_pool=pool)
        self._rules, self._clock = rules, clock
        self._life, self._again = _milliseconds(life), _milliseconds(again)
        self._enter, self._leave, self._turn_back, self._look = (
            self._redis.register_script(_script(name))
            for name in ("enter", "leave", "turn_back", "look")
        )
        self._rates = MovingWindowRateLimiter(
            RedisStorage(
                "async+redis://",
                implementation="redispy",
                key_prefix=f"{PREFIX}rate",
                connection_pool=cast(Any, self._redis.connection_pool),  # typed too narrowly
            )
        )

    async def close(self) -> None:
        """Disconnect."""
        await disconnect(self._redis)

    async def enter(self, door: Door, model: str, ticket: str) -> KeptOut | None:
        """Let a call in under this ticket; None when it is."""
        arguments = (model, ticket, self._life, door.concurrency or 0, self._again)
        refused: Texts = await self._ask(self._enter, door, arguments)
        return KeptOut(refused[0], timedelta(milliseconds=int(refused[1]))) if refused else None

    async def leave(self, door: Door, model: str, ticket: str, lessons: Lessons) -> None:
        """A call has ended, and this is learned from it."""
        arguments = (
            *(model, ticket),
            *_written(lessons.provider),
            *_written(lessons.model),
            *(self._rules.failures, int(self._rules.window * 1000)),
        )
        await self._ask(self._leave, door, arguments)

    async def turn_back(self, door: Door, tickets: Sequence[str], wait: timedelta) -> timedelta:
        """These calls were not made after all; for how long one of them should wait."""
        waits = await self._ask(self._turn_back, door, [_milliseconds(wait), *tickets])
        return timedelta(milliseconds=int(waits))

    async def over_rate(self, door: Door) -> timedelta | None:
        """Count one call; where it would be one too many, for how long it has to wait."""
        if door.rate is None:
            return None
        rate = parse(door.rate)
        if await self._rates.hit(rate, door.identity):
            return None
        window = await self._rates.get_window_stats(rate, door.identity)
        return timedelta(seconds=max(window.reset_time - datetime.now(UTC).timestamp(), 0))

    async def health(self, doors: Mapping[str, Door]) -> dict[str, Health]:
        """How each provider is."""
        return {
            name: _health(await self._ask(self._look, door, []), self._clock())
            for name, door in doors.items()
        }

    async def _ask(self, script: Any, door: Door, arguments: Sequence[str | int]) -> Any:
        keys = [f"{PREFIX}{{{door.identity}}}:{kind}" for kind in ("circuits", "tickets")]
        return await script(keys=keys, args=[int(self._clock().timestamp() * 1000), *arguments])


def _milliseconds(time: timedelta) -> int:
    return int(time.total_seconds() * 1000)


def _written(lesson: Lesson) -> tuple[str, str, int]:
    return lesson.effect, lesson.why or "", int(lesson.seconds * 1000)


def _health(told: Texts, now: datetime) -> Health:
    calls, *circuits = told
    by_scope = {
        scope: circuit_of(why, datetime.fromtimestamp(int(until) / 1000, UTC), now)
        for scope, why, until in circuits
    }
    return Health(by_scope.pop(WHOLE, Circuit()), int(calls), by_scope)
