"""Leave to make calls: by the first way that is open, given back whatever comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from application.ports.health import Admitted, Gatekeeper, TurnedAway, Verdict
from application.routing import Route, Routes
from domain.attempts import Want
from domain.failure import FailureKind
from domain.generation import Ask

FAILED_BEFORE = "failed for this request"
LOST_BEFORE = "lost a call for this request"
HOPELESS: Mapping[str, FailureKind] = {
    "out_of_funds": "out_of_funds",
    "misconfigured": "misconfigured",
}


@dataclass(frozen=True)
class Closed:
    """No way is open: when it is worth to try again, or why it is not."""

    until: datetime | None
    because: FailureKind | None


class Admission:
    """Leave to make a call for each of `chunks` by one route; `passed_over` were preferred to it.

    What no call was made for by the end of the block is given back.
    """

    def __init__(
        self,
        gate: Gatekeeper,
        route: Route,
        chunks: Sequence[tuple[int, ...]],
        tickets: Sequence[str],
        passed_over: Mapping[str, str],
    ) -> None:
        self.route = route
        self.chunks = chunks
        self.passed_over = passed_over
        self._gate = gate
        self._tickets = list(tickets)

    async def end(self, verdict: Verdict) -> None:
        """One of the calls has ended like this."""
        provider, model = self.route.provider.name, self.route.model.name
        await self._gate.leave(provider, model, self._tickets.pop(), verdict)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._tickets:
            await self.end("given_up")


async def admission(gate: Gatekeeper, routes: Routes, ask: Ask) -> Admission | Closed:
    """Leave to make at least one call for what is wanted, by the first way that is open."""
    closed: list[Closed] = []
    for want in ask.wants:
        admitted = await _admission(gate, routes, want)
        if isinstance(admitted, Admission):
            return admitted
        closed.append(admitted)
    waiting = [one.until for one in closed if one.until] + ([ask.later] if ask.later else [])
    if waiting:
        return Closed(until=min(waiting), because=None)
    return Closed(until=None, because=closed[0].because)


async def _admission(gate: Gatekeeper, routes: Routes, want: Want) -> Admission | Closed:
    passed_over: dict[str, str] = {}
    turned_away: list[TurnedAway] = []
    for name, route in routes.in_turn(last=want.doubted):
        if not isinstance(route, Route):
            passed_over[name] = route
        elif name in want.avoid:
            passed_over[name] = FAILED_BEFORE
        else:
            chunks = _chunks(want.images, route.model.images_per_call)
            tickets, refused = await _tickets(gate, route, len(chunks))
            if tickets:
                passed_over |= dict.fromkeys(routes.before(name) & want.doubted, LOST_BEFORE)
                return Admission(gate, route, chunks[: len(tickets)], tickets, passed_over)
            turned_away += refused[:1]
            passed_over[name] = refused[0].why
    return _closed(turned_away, want)


async def _tickets(
    gate: Gatekeeper, route: Route, wanted: int
) -> tuple[list[str], list[TurnedAway]]:
    """As many as there are, at once; who is cancelled meanwhile gives them back."""
    provider, model = route.provider.name, route.model.name
    entering = [asyncio.create_task(gate.enter(provider, model)) for _ in range(wanted)]
    try:
        said = await asyncio.gather(*entering)
    except asyncio.CancelledError:
        for task in await asyncio.gather(*entering, return_exceptions=True):
            if isinstance(task, Admitted):
                await gate.leave(provider, model, task.ticket, "given_up")
        raise
    return (
        [one.ticket for one in said if isinstance(one, Admitted)],
        [one for one in said if isinstance(one, TurnedAway)],
    )


def _chunks(images: tuple[int, ...], most: int) -> list[tuple[int, ...]]:
    return [images[first : first + most] for first in range(0, len(images), most)]


def _closed(turned_away: Sequence[TurnedAway], want: Want) -> Closed:
    """Where only an operator can help, nobody waits for him."""
    waiting = [one.until for one in turned_away if one.why not in HOPELESS]
    waiting += [want.avoid_until] if want.avoid_until else []
    if waiting:
        return Closed(until=min(waiting), because=None)
    reasons = [HOPELESS[one.why] for one in turned_away]
    return Closed(until=None, because=reasons[0] if reasons else None)
