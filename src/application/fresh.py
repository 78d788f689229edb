"""Aggregates as they are now: kept in memory, and never relied on when they were read long ago."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from eventsourcing.domain import BaseAggregate

from application.ports.event_store import (
    MOST_LATER,
    EventStore,
    StoreUnavailableError,
    UnknownEventError,
)

log = logging.getLogger(__name__)

FRESH = 0.8  # seconds: what was read longer ago is read again before it is relied on
READ_AGAIN_EVERY = 0.3  # seconds, what is in use
IN_USE = 30.0  # seconds after the last use
MOST_KEPT = 10_000
NEVER = float("-inf")
BEFORE_THE_FIRST = -1  # an event's number in its stream

A = TypeVar("A", bound=BaseAggregate[UUID])


@dataclass
class _Kept:
    """What is kept of one stream; `read_at` is when the last look at it began."""

    aggregate: Any = None
    version: int = BEFORE_THE_FIRST
    read_at: float = NEVER
    used_at: float = NEVER
    reading: asyncio.Task[None] | None = None
    reading_since: float = NEVER


class Fresh:
    """Reads each stream once, and after that only what was recorded since.

    While `keep` runs, what is in use is read again before anybody has to wait for it. Whoever asks
    while the store is away for longer than FRESH is told so.
    """

    def __init__(self, store: EventStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._clock = store, clock
        self._kept: dict[UUID, _Kept] = {}

    async def get(self, aggregate: type[A], stream: UUID, *, as_of_now: bool = False) -> A | None:
        """As it was less than FRESH seconds ago, or `as_of_now`; None when it has no events.

        It is not the caller's to change. Raises StoreUnavailableError, UnknownEventError.
        """
        kept = self._kept.get(stream) or _Kept()
        kept.used_at = self._clock()
        if as_of_now:
            self._kept[stream] = kept
            await self._read((stream,))
        elif kept.used_at - kept.read_at >= FRESH:
            self._kept[stream] = kept
            await self._read_together(stream, kept)
        return kept.aggregate if isinstance(kept.aggregate, aggregate) else None

    def look_again(self, stream: UUID) -> None:
        """Rely no longer on what was read of this one, nor on a look that is under way."""
        kept = self._kept.get(stream)
        if kept is not None:  # a look that is under way goes on with what it began with
            unread = deepcopy(kept.aggregate)
            self._kept[stream] = replace(kept, aggregate=unread, read_at=NEVER, reading=None)

    def known(self, aggregate: type[A], stream: UUID) -> A | None:
        """As it was when it was last looked at, however long ago; None when it is not kept."""
        kept = self._kept.get(stream)
        found = kept.aggregate if kept else None
        return found if isinstance(found, aggregate) else None

    async def keep(self) -> None:
        """Read again what is in use, and forget what is not, for ever."""
        while True:
            await asyncio.sleep(READ_AGAIN_EVERY)
            now = self._clock()
            self._forget_the_rest()
            in_use = [stream for stream, kept in self._kept.items() if now - kept.used_at < IN_USE]
            if in_use:
                await self._read_or_say_why_not(in_use)

    async def _read_together(self, stream: UUID, kept: _Kept) -> None:
        """One look for all who need one now; a look that began too long ago is none."""
        now = self._clock()
        if kept.reading is None or now - kept.reading_since >= FRESH:
            kept.reading_since = now
            kept.reading = asyncio.create_task(self._read_into({stream: kept}))
            kept.reading.add_done_callback(partial(_was_read, kept))
        await asyncio.shield(kept.reading)

    async def _read_or_say_why_not(self, streams: Collection[UUID]) -> None:
        try:
            await self._read(streams)
        except (StoreUnavailableError, UnknownEventError) as error:  # whoever asks is told as well
            log.warning("cannot see who may do what: %s", error)
        except Exception:
            log.exception("cannot see who may do what")

    async def _read(self, streams: Collection[UUID]) -> None:
        await self._read_into({one: self._kept[one] for one in streams if one in self._kept})

    async def _read_into(self, wanted: Mapping[UUID, _Kept]) -> None:
        began = self._clock()
        behind = {stream: kept.version for stream, kept in wanted.items()}
        while behind:
            later = await self._store.later(behind)
            for recorded in later:
                _apply(recorded.event, wanted[recorded.event.originator_id])
            told = Counter(recorded.event.originator_id for recorded in later)
            behind = {one: wanted[one].version for one, n in told.items() if n == MOST_LATER}
        for stream, kept in wanted.items():
            kept.read_at = max(kept.read_at, began)
            if kept.aggregate is None and self._kept.get(stream) is kept:
                del self._kept[stream]  # or whoever guesses would fill the memory

    def _forget_the_rest(self) -> None:
        by_use = sorted(self._kept, key=lambda stream: self._kept[stream].used_at)
        for stream in by_use[: max(len(by_use) - MOST_KEPT, 0)]:
            del self._kept[stream]


def _was_read(kept: _Kept, reading: asyncio.Task[None]) -> None:
    """Whoever waited was told how it ended; they may all be gone."""
    if kept.reading is reading:
        kept.reading = None
    if not reading.cancelled():
        reading.exception()


def _apply(event: Any, kept: _Kept) -> None:
    """Another look may have seen it before."""
    if event.originator_version > kept.version:
        kept.aggregate = event.mutate(kept.aggregate)
        kept.version = event.originator_version
