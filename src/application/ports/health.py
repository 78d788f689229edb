"""Whether a provider may be asked now: switches, circuits and limits, shared by all workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from domain.failure import Failure

Obstruction = Literal[
    "switched_off", "circuit_open", "out_of_funds", "misconfigured", "rate_limited", "busy"
]
Verdict = Failure | Literal["answered", "lost", "given_up"]
"""What came of a call; nothing is learned from one that was given up, or not made at all."""

State = Literal["closed", "open", "half_open", "unknown"]


@dataclass(frozen=True)
class Admitted:
    """One call may be made; `ticket` is to be given back with what came of it."""

    ticket: str


@dataclass(frozen=True)
class TurnedAway:
    """None may be made now: why, and when it is worth to ask again (by the caller's clock)."""

    why: Obstruction
    until: datetime


@dataclass(frozen=True)
class Circuit:
    """Closed: calls are made. Open: none are, `why` and `until` when say so. Half-open: one is.

    Where Redis is away and this process itself knows of no trouble, it is unknown: calls are made.
    """

    state: State = "closed"
    why: Obstruction | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Health:
    """How a provider is, and how many calls are under way; `models` are those in trouble alone."""

    circuit: Circuit = Circuit()
    calls_under_way: int = 0
    models: Mapping[str, Circuit] = field(default_factory=dict)


class Gatekeeper(Protocol):
    """Stands before the providers. Without Redis it lets everybody in whom it knows nothing about.

    Never raises: what cannot be known does not hinder.
    """

    async def order(self, names: Sequence[str]) -> Sequence[str]:
        """The providers that are switched on, in the administrator's order of preference."""
        ...

    async def enter(self, provider: str, model: str, /) -> Admitted | TurnedAway:
        """Ask to make one call. Who is admitted gives the ticket back, whatever comes of it."""
        ...

    async def leave(self, provider: str, model: str, ticket: str, outcome: Verdict, /) -> None:
        """The call has ended like this."""
        ...

    async def health(self, names: Sequence[str]) -> Mapping[str, Health]:
        """How each of them is."""
        ...
