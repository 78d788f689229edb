"""Gatekeepers for tests, on a clock that moves when told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from application.ports.health import Admitted, Gatekeeper, TurnedAway
from application.switches import Switches
from domain.failure import Failure, FailureKind
from infrastructure.gatekeeping.doors import Door
from infrastructure.gatekeeping.gatekeeper import RedisGatekeeper
from infrastructure.gatekeeping.rules import CircuitRules
from infrastructure.redis_line import Line
from tests.fakes import MemoryEventStore
from tests.fakes_gate import LIFE

NOBODY_LISTENS = "redis://127.0.0.1:1/0"
PATIENT = 30.0  # seconds: where it matters that Redis is heard, on however busy a machine

RULES = CircuitRules(failures=3, window=60, open=30, cool_down=60, pause=10)
DOORS = {
    "openai": Door.of("openai", key="sk-one"),
    "narrow": Door.of("narrow", concurrency=2),
    "slow": Door.of("slow", rate="2/hour"),
}


def redis_gatekeeper(
    redis_url: str,
    clock: Callable[[], datetime],
    *,
    doors: Mapping[str, Door] = DOORS,
    switches: Switches | None = None,
    life: timedelta = LIFE,
    line: Line | None = None,
) -> RedisGatekeeper:
    """As a worker process has one."""
    return RedisGatekeeper(
        redis_url,
        doors,
        switches or Switches(MemoryEventStore(clock)),
        rules=RULES,
        life=life,
        clock=clock,
        line=line or Line(patience=PATIENT),
    )


def failure(kind: FailureKind, **more: object) -> Failure:
    return Failure.model_validate({"kind": kind, **more})


async def ticket(gate: Gatekeeper, provider: str = "openai", model: str = "m") -> str:
    """Of a call that has to be admitted."""
    said = await gate.enter(provider, model)
    assert isinstance(said, Admitted), said
    return said.ticket


async def turned_away(gate: Gatekeeper, provider: str = "openai", model: str = "m") -> TurnedAway:
    """Why a call is not admitted, and until when."""
    said = await gate.enter(provider, model)
    assert isinstance(said, TurnedAway)
    return said


async def fails(
    gate: Gatekeeper,
    *kinds: FailureKind,
    provider: str = "openai",
    model: str = "m",
    **more: object,
) -> None:
    """Calls are made one after another, and fail like this."""
    for kind in kinds:
        mine = await ticket(gate, provider, model)
        await gate.leave(provider, model, mine, failure(kind, **more))


async def succeeds(gate: Gatekeeper, provider: str = "openai", model: str = "m") -> None:
    """A call is made, and answered."""
    await gate.leave(provider, model, await ticket(gate, provider, model), "answered")
