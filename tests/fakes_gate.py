"""A gatekeeper in memory; it passes the contract tests of what it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import uuid4

from application.ports.health import Admitted, Health, TurnedAway, Verdict
from infrastructure.gatekeeping.doors import Door, KeptOut, lessons_of
from infrastructure.gatekeeping.own import OwnGates
from infrastructure.gatekeeping.rules import CircuitRules

LIFE = timedelta(seconds=200)
AGAIN = timedelta(seconds=1)


class FakeGatekeeper:
    """Knows what it saw itself; `preferred` and `switched_off` are told, `left` is kept."""

    def __init__(
        self,
        clock: Callable[[], datetime],
        *,
        doors: Mapping[str, Door] | None = None,
        rules: CircuitRules | None = None,
    ) -> None:
        self.preferred: list[str] = []
        self.switched_off: set[str] = set()
        self.left: list[tuple[str, str, Verdict]] = []
        self._clock, self._doors, self._rules = clock, doors or {}, rules or CircuitRules()
        self._gates = OwnGates(self._rules, life=LIFE, again=AGAIN, clock=clock)

    async def order(self, names: Sequence[str]) -> Sequence[str]:
        first = [name for name in self.preferred if name in names]
        order = (*first, *(name for name in names if name not in first))
        return tuple(name for name in order if name not in self.switched_off)

    async def enter(self, provider: str, model: str, /) -> Admitted | TurnedAway:
        if provider in self.switched_off:
            return TurnedAway("switched_off", self._clock() + AGAIN)
        door, ticket = self._door(provider), uuid4().hex
        refused = self._gates.enter(door, model, ticket)
        if refused is None and (wait := self._gates.over_rate(door)) is not None:
            self._gates.turn_back(door, ticket)
            refused = KeptOut("rate_limited", wait)
        if refused is not None:
            return TurnedAway(refused.why, self._clock() + refused.wait)
        return Admitted(ticket)

    async def leave(self, provider: str, model: str, ticket: str, outcome: Verdict, /) -> None:
        self.left.append((provider, model, outcome))
        lessons = lessons_of(outcome, self._rules)
        self._gates.leave(self._door(provider), model, ticket, lessons)

    async def health(self, names: Sequence[str]) -> Mapping[str, Health]:
        return {name: self._gates.health(self._door(name)) for name in names}

    def _door(self, provider: str) -> Door:
        return self._doors.get(provider) or Door.of(provider)
