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
    """Leave to make at least one call for these images, by the first way that is open."""
    passed_over = dict(routes.passed_over)
    turned_away: list[TurnedAway] = []
    in_order = sorted(routes.possible, key=lambda route: route.provider.name in ask.doubted)
    for route in in_order:
        name = route.provider.name
        if name in ask.avoid:
            passed_over[name] = FAILED_BEFORE
            continue
        chunks = _chunks(ask.images, route.model.images_per_call)
        said = await asyncio.gather(*[gate.enter(name, route.model.name) for _ in chunks])
        tickets = [one.ticket for one in said if isinstance(one, Admitted)]
        if tickets:
            passed_over |= dict.fromkeys(ask.doubted - {name}, LOST_BEFORE)
            return Admission(gate, route, chunks[: len(tickets)], tickets, passed_over)
        turned_away += [one for one in said[:1] if isinstance(one, TurnedAway)]
        passed_over[name] = turned_away[-1].why
    return _closed(turned_away, ask)


def _chunks(images: tuple[int, ...], most: int) -> list[tuple[int, ...]]:
    return [images[first : first + most] for first in range(0, len(images), most)]


def _closed(turned_away: Sequence[TurnedAway], ask: Ask) -> Closed:
    """Where only an operator can help, nobody waits for him."""
    waiting = [one.until for one in turned_away if one.why not in HOPELESS]
    waiting += [ask.avoid_until] if ask.avoid_until else []
    if waiting:
        return Closed(until=min(waiting), because=None)
    reasons = [HOPELESS[one.why] for one in turned_away]
    return Closed(until=None, because=reasons[0] if reasons else None)
