"""The gatekeeper: what an administrator switched, what all workers know, what this one knows."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from uuid import uuid4

from application.ports.health import Admitted, Circuit, Health, TurnedAway, Verdict
from application.switches import Switches
from infrastructure.gatekeeping.doors import Door, KeptOut, lessons_of
from infrastructure.gatekeeping.own import OwnGates
from infrastructure.gatekeeping.rules import CircuitRules
from infrastructure.gatekeeping.shared import SharedGates
from infrastructure.redis_line import AwayError, Line

AGAIN = timedelta(seconds=1)  # for a ticket, a probe's end, or a switch
MOST_UNSAID = 1000

T = TypeVar("T")


class RedisGatekeeper:
    """The gatekeeper port. What is said of calls while Redis is away is said when it is back.

    `life` is how long a ticket is good for: longer than any call takes, its recording included.
    A provider without a door is unknown here, and let in.
    """

    def __init__(
        self,
        redis_url: str,
        doors: Mapping[str, Door],
        switches: Switches,
        *,
        rules: CircuitRules,
        life: timedelta,
        clock: Callable[[], datetime],
        line: Line | None = None,
    ) -> None:
        self._doors, self._switches, self._rules, self._clock = doors, switches, rules, clock
        self._shared = SharedGates(redis_url, rules, life=life, again=AGAIN, clock=clock)
        self._own = OwnGates(rules, life=life, again=AGAIN, clock=clock)
        self._line = line or Line()
        self._unsaid: deque[tuple[Door, str]] = deque(maxlen=MOST_UNSAID)

    async def close(self) -> None:
        """Disconnect from Redis."""
        await self._shared.close()

    async def order(self, names: Sequence[str]) -> Sequence[str]:
        return self._switches.order(names)

    async def enter(self, provider: str, model: str) -> Admitted | TurnedAway:
        if not self._switches.order((provider,)):
            return TurnedAway("switched_off", self._clock() + AGAIN)
        door, ticket = self._door(provider), uuid4().hex
        try:
            refused = await self._enter(door, model, ticket) or await self._over_rate(door, ticket)
        except asyncio.CancelledError:
            self._turn_back(door, ticket)
            raise
        if refused is not None:
            return TurnedAway(refused.why, self._clock() + refused.wait)
        return Admitted(ticket)

    async def leave(self, provider: str, model: str, ticket: str, outcome: Verdict) -> None:
        door, lessons = self._door(provider), lessons_of(outcome, self._rules)
        self._own.leave(door, model, ticket, lessons)
        try:
            await self._ask(lambda: self._shared.leave(door, model, ticket, lessons))
        except AwayError:
            self._unsaid.append((door, ticket))
        except asyncio.CancelledError:
            self._unsaid.append((door, ticket))
            raise

    async def health(self, names: Sequence[str]) -> Mapping[str, Health]:
        doors = {name: self._door(name) for name in names}
        try:
            return await self._ask(lambda: self._shared.health(doors))
        except AwayError:
            return {name: _uncertain(self._own.health(door)) for name, door in doors.items()}

    def _door(self, provider: str) -> Door:
        return self._doors.get(provider) or Door.of(provider)

    async def _enter(self, door: Door, model: str, ticket: str) -> KeptOut | None:
        try:
            refused = await self._ask(lambda: self._shared.enter(door, model, ticket))
        except AwayError:
            refused = self._own.enter(door, model, ticket)
            if refused is not None:
                self._unsaid.append((door, ticket))  # Redis may have heard, and have let it in
            return refused
        if refused is None:
            self._own.entered(door, model, ticket)
        return refused

    async def _over_rate(self, door: Door, ticket: str) -> KeptOut | None:
        """Whether it is one call too many: then the ticket is given back."""
        if door.rate is None:
            return None
        try:
            wait = await self._ask(lambda: self._shared.over_rate(door))
        except AwayError:
            wait = self._own.over_rate(door)
        return None if wait is None else await self._refused_for(door, ticket, wait)

    async def _refused_for(self, door: Door, ticket: str, wait: timedelta) -> KeptOut:
        self._own.turn_back(door, ticket)
        try:
            wait = await self._ask(lambda: self._shared.turn_back(door, [ticket], wait))
        except AwayError:
            self._unsaid.append((door, ticket))
        return KeptOut("rate_limited", wait)

    def _turn_back(self, door: Door, ticket: str) -> None:
        self._own.turn_back(door, ticket)
        self._unsaid.append((door, ticket))

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Raises AwayError. Whenever Redis answers, it is told which tickets came back before."""
        answer = await self._line.ask(question)
        if self._unsaid:
            await self._say_what_was_unsaid()
        return answer

    async def _say_what_was_unsaid(self) -> None:
        unsaid, self._unsaid = self._unsaid, deque(maxlen=MOST_UNSAID)
        tickets: dict[Door, list[str]] = {}
        for door, ticket in unsaid:
            tickets.setdefault(door, []).append(ticket)
        while tickets:
            door, theirs = tickets.popitem()
            try:
                await self._line.ask(partial(self._shared.turn_back, door, theirs, AGAIN))
            except AwayError:
                tickets[door] = theirs
                self._unsaid.extend((door, one) for door, them in tickets.items() for one in them)
                return


def _uncertain(health: Health) -> Health:
    """Without Redis nobody knows of trouble that others had."""
    circuit = health.circuit if health.circuit.why else Circuit("unknown")
    return replace(health, circuit=circuit)
