"""What is to be compared after a round: the log, the ledger, the tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from application.ports.event_store import Recorded
from domain.generation import Generation
from domain.quota import WindowType
from infrastructure.event_store.mapper import JsonMapper
from infrastructure.event_store.store import COLUMNS, recorded
from tests.chaos.rounds.happened import Happened
from tests.chaos.rounds.ledger import Billed, CallId
from tests.chaos.rounds.plan import Plan
from tests.chaos.rounds.stack import rows


@dataclass
class CallOfLog:
    """One call as the log has it; `until` when its outcome was recorded."""

    id: CallId
    images: tuple[int, ...]
    actor: str
    since: datetime
    outcome: str = "open"
    reason: str = ""
    until: datetime | None = None
    late: bool = False
    cost: Decimal = Decimal(0)

    @property
    def was_abandoned(self) -> bool:
        """Its worker was given up."""
        return self.outcome == "lost" and self.reason == "its worker is gone"


@dataclass
class Facts:
    """All that the verdict looks at."""

    happened: Happened
    log: Sequence[Recorded]
    ledger: dict[CallId, Billed]
    counters: set[tuple[Any, ...]]
    work: list[tuple[Any, ...]]
    limits: Mapping[WindowType, int]
    streams: dict[UUID, list[Recorded]] = field(init=False)
    calls: dict[CallId, CallOfLog] = field(init=False)
    processes: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.streams = defaultdict(list)
        for one in self.log:
            if isinstance(one.event, Generation.Event):
                self.streams[one.event.originator_id].append(one)
        self.calls = _calls(self.log)
        self.processes = {  # by the name that their worker goes by in the log
            call.actor: self.ledger[id_].process
            for id_, call in self.calls.items()
            if id_ in self.ledger
        }

    def generation(self, id_: UUID) -> Generation:
        """As its events make it."""
        folded: Any = None
        for one in self.streams[id_]:
            folded = one.event.mutate(folded)
        assert isinstance(folded, Generation)
        return folded

    def process_of(self, call: CallOfLog) -> int | None:
        """Whose call it is; None when its worker died before any call of its own began."""
        return self.processes.get(call.actor)


async def facts_of(url: str, ledger: dict[CallId, Billed], happened: Happened, plan: Plan) -> Facts:
    """Read when nothing changes any more."""
    mapper = JsonMapper()
    log = await rows(url, f"SELECT {COLUMNS} FROM stored_events ORDER BY notification_id")
    return Facts(
        happened=happened,
        log=[recorded(row, mapper) for row in log],
        ledger=ledger,
        counters=set(
            await rows(
                url, "SELECT user_id, window_type, starts_at, requests, units FROM quota_counters"
            )
        ),
        work=await rows(url, "SELECT kind, ref, worker, due_at FROM work"),
        limits={"daily": plan.daily_quota, "end-user-daily": plan.end_user_quota},
    )


def _calls(log: Sequence[Recorded]) -> dict[CallId, CallOfLog]:
    calls: dict[CallId, CallOfLog] = {}
    for one in log:
        event, at = one.event, one.recorded_at
        if isinstance(event, Generation.CallStarted):
            id_ = (event.originator_id, event.call)
            calls[id_] = CallOfLog(id_, event.images, event.metadata.actor, at)
        elif isinstance(event, Generation.CallAnswered | Generation.CallAnsweredLate):
            call = calls[event.originator_id, event.call]
            call.late = isinstance(event, Generation.CallAnsweredLate)
            call.cost += event.cost.amount
            if call.outcome == "open":
                call.outcome, call.until = "answered", at
        elif isinstance(event, Generation.CallFailed):
            call = calls[event.originator_id, event.call]
            call.outcome, call.until = "failed", at
            call.cost += event.cost.amount if event.cost else 0
        elif isinstance(event, Generation.CallLost):
            call = calls[event.originator_id, event.call]
            call.outcome, call.until, call.reason = "lost", at, event.reason
    return calls
