"""A generation in the hands of one worker, and how that worker records what it decides."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from application.ports.event_store import (
    Accepted,
    ClaimWork,
    CloseWork,
    Command,
    Conflict,
    EventStore,
    Fenced,
    HoldWork,
    OpenWork,
    Outcome,
    ReleaseWork,
    Work,
)
from application.recording import load_patiently, record_patiently
from application.units import units_given_back
from domain.generation import Generation


class NotOursError(Exception):
    """The work is not, or no longer, this worker's."""


class EndedMeanwhileError(Exception):
    """Somebody else has ended the generation; its work may still be this worker's."""


class OvertakenError(Exception):
    """Something else was recorded first: what was decided rests on what is no longer so."""


class Holding:
    """The generation as this worker knows it, and whether the work was claimed yet.

    What cannot be recorded is forgotten, and the generation loaded as it is now.
    """

    def __init__(
        self, store: EventStore, generation: Generation, worker: UUID, *, is_claimed: bool
    ) -> None:
        self.generation = generation
        self._store = store
        self._worker = worker
        self._is_claimed = is_claimed

    def held(self) -> Work:
        """It stays in this worker's hands, or comes there with what is recorded."""
        if self._is_claimed:
            return HoldWork("generate", self.generation.id, self._worker)
        return ClaimWork("generate", self.generation.id, self._worker)

    def closed(self) -> Work:
        """There is nothing left to do."""
        return CloseWork("generate", self.generation.id, self._worker)

    async def claim(self) -> None:
        """Have it in hand, also without anything to record. Raises NotOursError."""
        if not self._is_claimed:
            await self._change(ClaimWork("generate", self.generation.id, self._worker))
            self._is_claimed = True

    async def confirm(self) -> None:
        """Load it, and make sure that nobody else has had it since it was claimed.

        In this order, so that calls which are open then are this worker's own. Raises NotOursError,
        and EndedMeanwhileError when it has ended.
        """
        await self._reload()
        await self._change(HoldWork("generate", self.generation.id, self._worker))
        if self.generation.closed:
            raise EndedMeanwhileError

    async def release(self, due_at: datetime) -> None:
        """Give it back until then. Raises NotOursError."""
        await self.claim()
        await self._append(
            Command(work=ReleaseWork("generate", self.generation.id, self._worker, due_at))
        )

    async def close(self) -> None:
        """Be done with it, if it is still this worker's."""
        await self._append(Command(work=self.closed()))

    async def record(self, decide: Callable[[], Work]) -> Accepted:
        """Decide, and record that and what becomes of the work.

        Raises NotOursError, EndedMeanwhileError, OvertakenError.
        """
        was_closed = self.generation.closed
        work = decide()
        units = units_given_back(self.generation)
        outcome = await self._append(Command(self.generation.collect_events(), units, work=work))
        if isinstance(outcome, Accepted):
            self.generation.was_recorded(outcome.recorded_at)
            self._is_claimed = True
            return outcome
        await self._reload()
        if isinstance(outcome, Fenced) or not self._is_claimed:
            raise NotOursError
        if not isinstance(outcome, Conflict):
            raise TypeError(f"Recording what a worker did cannot end as {outcome}.")
        raise EndedMeanwhileError if self.generation.closed and not was_closed else OvertakenError

    async def record_fact(self, decide: Callable[[], Work]) -> None:
        """Record what stays true whatever else was recorded first: it is simply decided again.

        Raises NotOursError, EndedMeanwhileError.
        """
        while True:
            try:
                await self.record(decide)
            except OvertakenError:
                continue
            return

    async def record_late(self, decide: Callable[[], None]) -> None:
        """Record what is still to be told, whoever has the work now and whether or not it ended.

        With that its pictures are due to be tidied up, also if this process dies before.
        """
        tidying = OpenWork("generate", self.generation.id, self.generation.user_id, timedelta())

        def decide_and_open() -> Work:
            decide()
            return tidying

        while True:
            try:
                await self.record_fact(decide_and_open)
            except EndedMeanwhileError:
                continue
            return

    async def _change(self, work: Work) -> None:
        if not isinstance(await self._append(Command(work=work)), Accepted):
            raise NotOursError

    async def _append(self, command: Command) -> Outcome:
        return await record_patiently(self._store, command)

    async def _reload(self) -> None:
        generation = await load_patiently(self._store, Generation, self.generation.id)
        if generation is None:
            raise LookupError(f"Generation {self.generation.id} has left the log.")
        self.generation = generation
