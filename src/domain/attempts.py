"""What has been tried for the images of one generation, and whom they may be asked of again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from domain.failure import Failure


@dataclass(frozen=True)
class Again:
    """When images may be asked for again after a failure; None is never.

    `by_anybody` is of whichever provider, `by_same` of the one that failed.
    """

    by_anybody: datetime | None
    by_same: datetime | None


@dataclass(frozen=True)
class Want:
    """Images that may be asked of the same providers.

    Those to avoid have failed: some of them may be asked again `avoid_until` then, if it is a time.
    Those that are doubted have lost a call, and are asked when nobody else can be.
    """

    images: tuple[int, ...]
    avoid: frozenset[str] = frozenset()
    avoid_until: datetime | None = None
    doubted: frozenset[str] = frozenset()


@dataclass
class Attempts:
    """Failures and losses by image; `rests` says until when a provider is not asked for an image.

    A provider that rests until None is not asked for it again. Where what was asked for is
    `refused`, nobody is asked for any image any more.
    """

    retry_at: dict[int, datetime] = field(default_factory=dict)
    given_up: set[int] = field(default_factory=set)
    refused: bool = False
    _rests: dict[int, dict[str, datetime | None]] = field(default_factory=dict)
    _failures: Counter[tuple[int, str]] = field(default_factory=Counter)
    _losses: Counter[int] = field(default_factory=Counter)
    _lost_by: dict[int, set[str]] = field(default_factory=dict)

    def after(
        self,
        failure: Failure,
        provider: str,
        images: Collection[int],
        *,
        others: Collection[str],
        now: datetime,
        jitter: float,
    ) -> Again:
        """What the failure of a call leads to, where `others` could be asked for its images too."""
        if self.refused:
            return Again(None, None)
        failed_before = max(self._failures[number, provider] for number in images)
        same = failure.retry_at(failed_before=failed_before, now=now, jitter=jitter)
        rests = {name: self._rest_of(name, images, now) for name in others}
        times = [same, *rests.values()]
        return Again(min((time for time in times if time is not None), default=None), same)

    def wants(self, images: Iterable[int], now: datetime) -> tuple[Want, ...]:
        """Those of the images that may be asked for now, together where the same holds for them."""
        alike: dict[Want, list[int]] = {}
        for number in images:
            if self.retry_at.get(number, now) <= now:
                alike.setdefault(self._want(number, now), []).append(number)
        return tuple(replace(want, images=tuple(numbers)) for want, numbers in alike.items())

    def later(self, images: Iterable[int], now: datetime) -> datetime | None:
        """When the first of those images may be asked for that may not now."""
        times = (self.retry_at.get(number, now) for number in images)
        return min((time for time in times if time > now), default=None)

    def losses(self, images: Iterable[int]) -> int:
        """How often calls for these images were lost, for the one of them that had most."""
        return max(self._losses[number] for number in images)

    # --- applying ------------------------------------------------------------------------------

    def take_failure(self, provider: str, images: Iterable[int], again: Again) -> None:
        """A call for these images failed."""
        for number in images:
            self._failures[number, provider] += 1
            self._rests.setdefault(number, {})[provider] = again.by_same
            if again.by_anybody is None:
                self.given_up.add(number)
            else:
                self.retry_at[number] = again.by_anybody

    def take_loss(self, provider: str, images: Iterable[int], *, repeat: bool) -> None:
        """Nobody knows what became of a call for these images."""
        for number in images:
            self._losses[number] += 1
            self._lost_by.setdefault(number, set()).add(provider)
            if not repeat:
                self.given_up.add(number)

    def _want(self, image: int, now: datetime) -> Want:
        rests = self._rests.get(image, {})
        resting = {name: end for name, end in rests.items() if end is None or end > now}
        back = min((end for end in resting.values() if end is not None), default=None)
        return Want((), frozenset(resting), back, frozenset(self._lost_by.get(image, ())))

    def _rest_of(self, provider: str, images: Iterable[int], now: datetime) -> datetime | None:
        """When a provider may be asked for all of these images; None is never."""
        ends = [self._rests.get(number, {}).get(provider, now) for number in images]
        return None if None in ends else max(end for end in ends if end is not None)
