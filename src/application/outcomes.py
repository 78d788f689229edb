"""What calls came to, decided on the generation that they were made for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import datetime

from application.calls import Answered, CallOutcome, Lost, Refused
from application.ports.providers import Answer
from application.routing import Router
from domain.generation import Generation
from domain.image import Cost

log = logging.getLogger(__name__)


class Outcomes:
    """Lets a generation take the outcomes of its calls; `jitter` spreads repeats, from 0 to 1."""

    def __init__(
        self, router: Router, *, now: Callable[[], datetime], jitter: Callable[[], float]
    ) -> None:
        self._router = router
        self._now = now
        self._jitter = jitter

    def take(
        self,
        generation: Generation,
        call: int,
        outcome: CallOutcome,
        *,
        others: Collection[str] = (),
    ) -> None:
        """What came of a call whose worker still has the work; `others` could be asked too."""
        match outcome:
            case Answered():
                _answer(generation, call, outcome, late=False)
            case Refused(failure, provider_request_id, cost):
                generation.fail_call(
                    call,
                    failure,
                    now=self._now(),
                    jitter=self._jitter(),
                    others=others,
                    provider_request_id=provider_request_id,
                    cost=cost,
                )
            case Lost(reason):
                self._lose(generation, call, reason)

    def take_late(self, generation: Generation, call: int, outcome: CallOutcome) -> None:
        """What came of a call whose worker has lost the work, or whose generation has ended."""
        if generation.closed and generation.calls[call].outcome == "open":
            self.take(generation, call, outcome)
        elif late := _as_late(outcome):
            _answer(generation, call, late, late=True)

    def lose_open_calls(self, generation: Generation, reason: str) -> None:
        """Nobody will hear of them any more."""
        for call in generation.open_calls:
            self._lose(generation, call, reason)

    def _lose(self, generation: Generation, call: int, reason: str) -> None:
        log.warning(
            "a call's outcome is unknown: %s",
            reason,
            extra={"generation": str(generation.id), "call": call},
        )
        provider = self._router.provider(generation.calls[call].provider)
        costs = provider is None or provider.capabilities.repeat_costs
        generation.lose_call(call, reason=reason, repeat_costs=costs)


def _answer(generation: Generation, call: int, answered: Answered, *, late: bool) -> None:
    generation.answer_call(
        call,
        provider_request_id=answered.answer.provider_request_id,
        usage=answered.answer.usage,
        cost=answered.answer.cost,
        images=answered.images,
        late=late,
    )


def _as_late(outcome: CallOutcome) -> Answered | None:
    """What there is to tell of a call that had been given up: pictures, or at least a cost."""
    match outcome:
        case Answered():
            return outcome
        case Refused(cost=Cost() as cost):
            return Answered(Answer((), cost, outcome.provider_request_id), ())
    return None
