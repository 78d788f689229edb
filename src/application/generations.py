"""What users ask of generations. Each command loads, decides, and is recorded in one append."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID, uuid4

from application.ports import (
    Accepted,
    Command,
    Duplicate,
    EventStore,
    IdempotencyKey,
    OpenWork,
    OverLimit,
    Units,
    WindowClosed,
)
from application.references import References
from application.routing import Router
from domain.generation import Generation, OnUnknown, Wish
from domain.image import ImageSpec, ReferenceImage
from domain.quota import QuotaExceededError, WindowType, windows_at

TRIES = 3


class IdempotencyKeyReusedError(Exception):
    """The same key came with another request."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The Idempotency-Key {key!r} was used for a different request in the last 24 hours. "
            "Use a new key for a new request."
        )


class ClockUncertainError(Exception):
    """The quota's window closed again and again while units were taken from it."""


@dataclass(frozen=True)
class Idempotency:
    """A client's key, and the fingerprint of the command it parsed to."""

    key: str
    fingerprint: str


@dataclass(frozen=True)
class Placed:
    """The generation that a request made, or made before (`repeated`)."""

    id: UUID
    repeated: bool


class Generations:
    """The commands on generations."""

    def __init__(
        self,
        *,
        store: EventStore,
        router: Router,
        references: References,
        limits: Mapping[WindowType, int | None],
        deadline: timedelta,
    ) -> None:
        self._store = store
        self._router = router
        self._references = references
        self._limits = limits
        self._deadline = deadline

    async def request(
        self,
        *,
        user_id: UUID,
        spec: ImageSpec,
        wish: Wish,
        references: Sequence[str] = (),
        api_key_id: str | None = None,
        on_unknown: OnUnknown = "repeat",
        idempotency_key: str | None = None,
    ) -> Placed:
        """Ask for pictures: units, work and the event are recorded together.

        `references` are images as base64 or data URLs, stored before anything is recorded, and
        only when some provider could do it. Raises NoProviderError, UnusableReferencesError,
        ImageStoreUnavailableError, QuotaExceededError, IdempotencyKeyReusedError and
        StoreUnavailableError; after any but the last nothing was recorded.
        """
        self._router.route(
            spec, references=len(references), negative_prompt=wish.negative_prompt is not None
        )
        taken = await self._references.take(user_id, references)
        idempotency = None
        if idempotency_key is not None:
            fingerprint = _fingerprint(spec, wish, taken, on_unknown)
            idempotency = Idempotency(idempotency_key, fingerprint)
        now = self._store.now()
        for _ in range(TRIES):
            generation = Generation.request(
                id=uuid4(),
                user_id=user_id,
                spec=spec,
                wish=wish,
                windows=windows_at(now),
                references=taken,
                api_key_id=api_key_id,
                on_unknown=on_unknown,
                deadline=self._deadline,
            )
            placed = await self._place(generation, idempotency)
            if isinstance(placed, Placed):
                return placed
            now = placed
        raise ClockUncertainError("The quota's day or month is just changing. Try again.")

    async def _place(
        self, generation: Generation, idempotency: Idempotency | None
    ) -> Placed | datetime:
        outcome = await self._store.append(
            Command(
                events=generation.collect_events(),
                units=Units(generation.user_id, generation.units, generation.windows, self._limits),
                idempotency=_key(generation, idempotency),
                work=OpenWork("generate", generation.id, generation.user_id, self._deadline),
            )
        )
        match outcome:
            case Accepted():
                return Placed(generation.id, repeated=False)
            case Duplicate(ref, same_fingerprint) if idempotency is not None:
                if not same_fingerprint:
                    raise IdempotencyKeyReusedError(idempotency.key)
                return Placed(ref, repeated=True)
            case OverLimit(window, limit, used):
                raise QuotaExceededError(window, limit=limit, used=used, asked=generation.units)
            case WindowClosed(now):
                return now
        raise AssertionError(f"A new generation cannot end as {outcome}.")


def _fingerprint(
    spec: ImageSpec, wish: Wish, references: Sequence[ReferenceImage], on_unknown: OnUnknown
) -> str:
    """Of what the command says, however it was written: two equal commands have the same."""
    said = {
        "spec": spec.model_dump(exclude_defaults=True),
        "wish": wish.model_dump(exclude_defaults=True),
        "references": [reference.sha256 for reference in references],
        "on_unknown": on_unknown,
    }
    return sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _key(generation: Generation, idempotency: Idempotency | None) -> IdempotencyKey | None:
    if idempotency is None:
        return None
    return IdempotencyKey(
        generation.user_id, idempotency.key, idempotency.fingerprint, generation.id
    )
