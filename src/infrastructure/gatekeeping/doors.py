"""What stands before a provider, and what a call's outcome does to its circuit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal

from application.ports.health import Circuit, Obstruction, Verdict
from domain.failure import Failure
from infrastructure.gatekeeping.rules import CircuitRules

LONGEST_PAUSE = timedelta(hours=1)  # whatever a provider wishes: then it is looked at again

Effect = Literal["heals", "counts", "opens", "pauses", "nothing"]

NOT_THE_PROVIDERS = {"image_store_unavailable", "reference_gone", "deadline_passed"}


@dataclass(frozen=True)
class Door:
    """A provider as one key of ours reaches it: who shares the key shares circuit and limits.

    `identity` tells keys apart and gives none away. `rate` is as in `50/minute`; None is no limit.
    """

    identity: str
    rate: str | None = None
    concurrency: int | None = None

    @classmethod
    def of(
        cls,
        provider: str,
        *,
        key: str | None = None,
        rate: str | None = None,
        concurrency: int | None = None,
    ) -> Door:
        """Before the provider of this name, with this API key."""
        digest = sha256(f"{provider} {key or ''}".encode()).hexdigest()[:16]
        return cls(f"{provider}:{digest}", rate, concurrency)


@dataclass(frozen=True)
class KeptOut:
    """Why nobody is let in, and for how long."""

    why: Obstruction
    wait: timedelta


def circuit_of(why: Obstruction, until: datetime, now: datetime) -> Circuit:
    """Open until then, and half-open from then on: the next call finds out."""
    return Circuit("open", why, until) if until > now else Circuit("half_open", why)


@dataclass(frozen=True)
class Lesson:
    """What a circuit learns from a call: one that opens says why, and for how many seconds."""

    effect: Effect
    why: Obstruction | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Lessons:
    """What the provider's circuit learns, and what its model's does."""

    provider: Lesson
    model: Lesson


HEALS = Lesson("heals")
NOTHING = Lesson("nothing")


def lessons_of(outcome: Verdict, rules: CircuitRules) -> Lessons:
    """Trouble of a model alone shows that the provider itself is well."""
    if isinstance(outcome, Failure):
        lesson = _lesson_of(outcome, rules)
        if lesson is HEALS or lesson is NOTHING:
            return Lessons(lesson, lesson)
        return Lessons(HEALS, lesson) if outcome.of_model else Lessons(lesson, NOTHING)
    if outcome == "lost":
        return Lessons(_counts(rules), NOTHING)
    lesson = HEALS if outcome == "answered" else NOTHING
    return Lessons(lesson, lesson)


def _lesson_of(failure: Failure, rules: CircuitRules) -> Lesson:
    match failure.kind:
        case "out_of_funds" | "misconfigured" as why:
            return Lesson("opens", why, rules.cool_down)
        case "rate_limited":
            wish = failure.retry_after or timedelta(seconds=rules.pause)
            return Lesson("pauses", "rate_limited", min(wish, LONGEST_PAUSE).total_seconds())
        case "unavailable" | "outcome_unknown":
            return _counts(rules)
        case kind if kind in NOT_THE_PROVIDERS:
            return NOTHING
    return HEALS  # it was there, and answered: moderation, wrong requests, no image


def _counts(rules: CircuitRules) -> Lesson:
    return Lesson("counts", "circuit_open", rules.open)
