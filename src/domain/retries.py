"""How a try to deliver something ended, and when the next one is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

Problem = Literal[
    "refused",
    "redirected",
    "gone",
    "forbidden_address",
    "unreachable",
    "certificate",
    "timed_out",
    "broken",
    "unsigned",
    "endpoint_disabled",
    "endpoint_removed",
]
"""Why a delivery did not arrive."""

SENTENCES: dict[Problem, str] = {
    "refused": "The receiver answered with another status than 2xx.",
    "redirected": "The receiver answered with a redirect, which is not followed. Register the"
    " address that it leads to.",
    "gone": "The receiver answered 410: it wants no more.",
    "forbidden_address": "The name leads to a private, local or reserved address, to which nothing"
    " is sent.",
    "unreachable": "The name cannot be resolved, or nobody accepts connections there.",
    "certificate": "The receiver's TLS certificate is not valid for its name, or TLS failed.",
    "timed_out": "The receiver did not answer in time.",
    "broken": "The connection broke, or what came over it is no HTTP/1.1, before there was a"
    " status; or this Darkroom failed to send it.",
    "unsigned": "There was nothing to sign it with: whoever runs this Darkroom has to set"
    " DARKROOM_SECRET_KEY for its workers.",
    "endpoint_disabled": "The webhook is disabled. Enable it, and send it again if it was given"
    " up.",
    "endpoint_removed": "The webhook was removed.",
}

OK, REDIRECTS = range(200, 300), range(300, 400)
GONE = 410
OVERLOADED = frozenset({429, 502, 504})  # who answers so is left alone for a while
LEFT_ALONE = timedelta(minutes=1)
JITTER = 0.1  # of a pause, at most

RETRIES = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
"""Standard Webhooks' own pauses before each try, in seconds: three days in all."""


@dataclass(frozen=True)
class Answer:
    """What became of one try: a status, or why there is none; and when to come back, if told.

    `for_good` says that there is nobody to tell any more.
    """

    status: int | None = None
    trouble: Problem | None = None
    retry_after: timedelta | None = None
    for_good: bool = False

    @property
    def problem(self) -> Problem | None:
        """Why it did not arrive; None when it did."""
        if self.status is None:
            return self.trouble or "broken"
        if self.status in OK:
            return None
        if self.status in REDIRECTS:
            return "redirected"
        return "gone" if self.status == GONE else "refused"


@dataclass(frozen=True)
class Retries:
    """The pauses before each try, in seconds; `jitter` is chance, from 0 to 1."""

    pauses: tuple[float, ...] = RETRIES

    def __str__(self) -> str:
        return ",".join(f"{pause:g}" for pause in self.pauses)

    def pause_after(self, tries: int, answer: Answer, *, jitter: float) -> timedelta | None:
        """Until the next try, never before the receiver wants it; None after the last one."""
        if tries >= len(self.pauses):
            return None
        pause = timedelta(seconds=self.pauses[tries]) * (1 + JITTER * jitter)
        left_alone = LEFT_ALONE if answer.status in OVERLOADED else timedelta()
        return max(pause, answer.retry_after or left_alone)
