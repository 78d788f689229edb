"""What one process knows by itself: the rules of shared.lua, for while Redis is away."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from limits import parse

from application.ports.health import Circuit, Health, Obstruction
from infrastructure.gatekeeping.doors import Door, KeptOut, Lesson, Lessons, circuit_of
from infrastructure.gatekeeping.rules import CircuitRules

LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass
class OwnCircuit:
    """Closed while there is no `why`, open until `till`, then half-open.

    `probe` is the ticket of the one call that may be made then.
    """

    why: Obstruction | None = None
    till: datetime = LONG_AGO
    probe: str | None = None
    probe_till: datetime = LONG_AGO
    failed: list[datetime] = field(default_factory=list)

    def settle(self, now: datetime) -> OwnCircuit:
        """As it is now: a pause that is over needs no probe."""
        if self.why == "rate_limited" and self.till <= now:
            self.why = None
        return self

    def refuses(self, now: datetime, again: timedelta) -> KeptOut | None:
        """Why no call may be made now."""
        if self.why is not None and self.till > now:
            return KeptOut(self.why, self.till - now)
        if self.why is not None and self.probe is not None and self.probe_till > now:
            return KeptOut("circuit_open", again)
        return None

    def entered(self, ticket: str, probe_till: datetime) -> None:
        """A call is made; if there is trouble, it finds out how things are."""
        if self.why is not None:
            self.probe, self.probe_till = ticket, probe_till

    def learn(self, ticket: str, lesson: Lesson, now: datetime, rules: CircuitRules) -> None:
        """From a call that has ended: from one of before it opened only what opens it at once."""
        probed = self.gave_up(ticket)
        is_open = self.why not in (None, "rate_limited")
        if lesson.effect == "opens":
            self._open(lesson, now)
        elif lesson.effect == "nothing" or (is_open and not probed):
            return
        elif lesson.effect == "heals":
            self._heal()
        elif lesson.effect == "pauses" or is_open:
            self._open(lesson, now)
        else:
            self._count(lesson, now, rules)

    def gave_up(self, ticket: str) -> bool:
        """Whether it was the probe's, which is now another's to be."""
        probed = self.probe == ticket
        if probed:
            self.probe = None
        return probed

    def _heal(self) -> None:
        self.why = self.why if self.why == "rate_limited" else None
        self.failed = []

    def _open(self, lesson: Lesson, now: datetime) -> None:
        till = now + timedelta(seconds=lesson.seconds)
        self.till = max(self.till, till) if self.why == lesson.why else till
        self.why = lesson.why
        self.failed = []

    def _count(self, lesson: Lesson, now: datetime, rules: CircuitRules) -> None:
        since = now - timedelta(seconds=rules.window)
        self.failed = [*(moment for moment in self.failed if moment > since), now]
        if len(self.failed) >= rules.failures:
            self._open(lesson, now)


@dataclass
class _Own:
    """What is known of one door: circuits by model, None being the provider as a whole."""

    circuits: dict[str | None, OwnCircuit] = field(default_factory=lambda: defaultdict(OwnCircuit))
    tickets: dict[str, datetime] = field(default_factory=dict)
    counted: deque[datetime] = field(default_factory=deque)

    def here(self, model: str, now: datetime) -> list[OwnCircuit]:
        self.tickets = {ticket: till for ticket, till in self.tickets.items() if till > now}
        return [self.circuits[scope].settle(now) for scope in (None, model)]


class OwnGates:
    """Circuits, tickets and rates of this process alone."""

    def __init__(
        self,
        rules: CircuitRules,
        *,
        life: timedelta,
        again: timedelta,
        clock: Callable[[], datetime],
    ) -> None:
        self._rules, self._life, self._again, self._clock = rules, life, again, clock
        self._known: dict[str, _Own] = defaultdict(_Own)

    def enter(self, door: Door, model: str, ticket: str) -> KeptOut | None:
        """Let a call in under this ticket; None when it is."""
        now, own = self._clock(), self._known[door.identity]
        for circuit in own.here(model, now):
            if refused := circuit.refuses(now, self._again):
                return refused
        if door.concurrency is not None and len(own.tickets) >= door.concurrency:
            return KeptOut("busy", self._again)
        self.entered(door, model, ticket)
        return None

    def entered(self, door: Door, model: str, ticket: str) -> None:
        """A call was let in, by whomever."""
        now, own = self._clock(), self._known[door.identity]
        for circuit in own.here(model, now):
            circuit.entered(ticket, now + self._life)
        own.tickets[ticket] = now + self._life

    def leave(self, door: Door, model: str, ticket: str, lessons: Lessons) -> None:
        """A call has ended, and this is learned from it."""
        now, own = self._clock(), self._known[door.identity]
        whole, of_model = own.here(model, now)
        own.tickets.pop(ticket, None)
        whole.learn(ticket, lessons.provider, now, self._rules)
        of_model.learn(ticket, lessons.model, now, self._rules)

    def turn_back(self, door: Door, ticket: str) -> None:
        """This call was not made after all."""
        own = self._known[door.identity]
        own.tickets.pop(ticket, None)
        for circuit in own.circuits.values():
            circuit.gave_up(ticket)

    def over_rate(self, door: Door) -> timedelta | None:
        """Count one call; where it would be one too many, for how long it has to wait."""
        if door.rate is None:
            return None
        rate, now, counted = parse(door.rate), self._clock(), self._known[door.identity].counted
        period = timedelta(seconds=rate.get_expiry())
        while counted and counted[0] <= now - period:
            counted.popleft()
        if len(counted) >= rate.amount:
            return counted[0] + period - now
        counted.append(now)
        return None

    def health(self, door: Door) -> Health:
        """How a provider is."""
        now, own = self._clock(), self._known[door.identity]
        circuits = {
            scope: circuit_of(why, circuit.till, now)
            for scope, circuit in own.circuits.items()
            if (why := circuit.settle(now).why) is not None
        }
        whole = circuits.pop(None, Circuit())
        calls = sum(till > now for till in own.tickets.values())
        return Health(whole, calls, {scope: c for scope, c in circuits.items() if scope})
