"""Why a call or a generation failed, and what follows from it (PROVIDERS' errors as one table)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from domain.aggregate import Value

FailureKind = Literal[
    "moderation_input",
    "moderation_output",
    "no_image",
    "invalid_request",
    "rate_limited",
    "out_of_funds",
    "misconfigured",
    "unavailable",
    "outcome_unknown",
    "image_store_unavailable",
    "reference_gone",
    "deadline_passed",
]


OnRefusal = Literal["fail", "fallback"]
"""Whether what one provider's safety rules refuse may be asked of another."""


class Consequence(Value):
    """What a kind of failure leads to.

    `repeats` is how often the same images may be asked for again from the same provider,
    `falls_back` whether another provider may be asked for them: where that is only `if_wished`, the
    request says so. `sentence` is what the user reads.
    """

    repeats: int
    falls_back: Literal["yes", "if_wished", "no"]
    sentence: str


CONSEQUENCES: dict[FailureKind, Consequence] = {
    "moderation_input": Consequence(
        repeats=0,
        falls_back="if_wished",
        sentence="The provider's safety rules refused this prompt or a reference image. "
        "Change the wording or the reference and ask again.",
    ),
    "moderation_output": Consequence(
        repeats=0,
        falls_back="no",
        sentence="The provider's safety rules withheld the finished picture. "
        "Change the wording and ask again.",
    ),
    "no_image": Consequence(
        repeats=1,
        falls_back="yes",
        sentence="The provider answered without a picture. Describe what to draw and ask again.",
    ),
    "invalid_request": Consequence(
        repeats=0,
        falls_back="yes",
        sentence="The provider cannot fulfil this request as it stands. "
        "Check size, format and references against what the provider offers.",
    ),
    "rate_limited": Consequence(
        repeats=1000,  # it costs nothing: the deadline is the limit
        falls_back="yes",
        sentence="The provider accepted no more requests for now. Ask again later.",
    ),
    "out_of_funds": Consequence(
        repeats=0,
        falls_back="yes",
        sentence="The provider's credit is used up. The operator has to top it up.",
    ),
    "misconfigured": Consequence(
        repeats=0,
        falls_back="yes",
        sentence="The provider refused our credentials or model. The operator has to correct it.",
    ),
    "unavailable": Consequence(
        repeats=4,
        falls_back="yes",
        sentence="The provider was not available, several times in a row. Ask again later.",
    ),
    "outcome_unknown": Consequence(
        repeats=1,
        falls_back="yes",
        sentence="A call was sent and its outcome never became known. "
        "It was not repeated any more, since every call may be billed. Ask again if you want it.",
    ),
    "image_store_unavailable": Consequence(
        repeats=0,
        falls_back="no",
        sentence="The finished picture could not be stored. "
        "The operator has to look at the image store; ask again after that.",
    ),
    "reference_gone": Consequence(
        repeats=0,
        falls_back="no",
        sentence="A reference image of this request is no longer there. "
        "Send it again with a new request.",
    ),
    "deadline_passed": Consequence(
        repeats=0,
        falls_back="no",
        sentence="The picture was not finished before the deadline. Ask again later.",
    ),
}

FIRST_WAIT = timedelta(seconds=0.5)
LONGEST_WAIT = timedelta(seconds=60)


class Failure(Value):
    """One failed call as the provider's adapter reports it.

    `retry_after` is the provider's own wish, `message` a sentence of ours: it never repeats the
    prompt, a key or the provider's raw text. `of_model` says that only the model is in trouble.
    """

    kind: FailureKind
    message: str = ""
    retry_after: timedelta | None = None
    of_model: bool = False

    def falls_back(self, on_refusal: OnRefusal) -> bool:
        """Whether another provider may be asked for the same images."""
        wish = CONSEQUENCES[self.kind].falls_back
        return wish == "yes" or (wish == "if_wished" and on_refusal == "fallback")

    def retry_at(self, *, failed_before: int, now: datetime, jitter: float) -> datetime | None:
        """When the same images may be asked for again; None when they are given up.

        `failed_before` counts the failures of these images so far, `jitter` is uniform in 0..1.
        Waits double from half a second to a minute, are spread over their upper half, and are
        never shorter than what the provider asked for.
        """
        if failed_before >= CONSEQUENCES[self.kind].repeats:
            return None
        wait: timedelta = min(FIRST_WAIT * 2**failed_before, LONGEST_WAIT) * (0.5 + jitter / 2)
        return now + max(wait, self.retry_after or timedelta())
