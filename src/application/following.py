"""Following a generation: each of its events as soon as it is recorded, and why it waits."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from uuid import UUID

from application.ports.event_store import (
    EventNews,
    EventStore,
    Recorded,
    StoreUnavailableError,
    UnknownEventError,
)
from application.queue_places import QueuePlace, QueuePlaces
from domain.generation import ENDINGS, Generation

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds between looks at what is not in the log: the queue, the time, the end
BEAT_EVERY = 15.0  # seconds; proxies cut connections that are silent for a minute
A_PAGE = 100
MOST_OF_A_USER, MOST_OF_ALL = 1000, 4000


class TooManyFollowersError(Exception):
    """This process, or this user, follows as many generations as it may at once."""

    def __init__(self) -> None:
        super().__init__(
            "Too many generations are followed at once. Close a stream, or ask again in a moment."
        )


@dataclass(frozen=True)
class Beat:
    """Nothing happened for a while; the other end should know that we are still there."""


Told = Recorded | QueuePlace | Beat


class Following:
    """Tells whoever follows a generation what happens to it; `stop` lets everybody go.

    However many follow, PostgreSQL is listened to over one connection, and what was recorded is
    read through the pool that everything else uses.
    """

    def __init__(
        self,
        store: EventStore,
        news: EventNews,
        places: QueuePlaces,
        *,
        most_of_a_user: int = MOST_OF_A_USER,
        most_of_all: int = MOST_OF_ALL,
    ) -> None:
        self._store = store
        self._news = news
        self._places = places
        self._most_of_a_user, self._most_of_all = most_of_a_user, most_of_all
        self._followers: Counter[UUID] = Counter()
        self._stopped = False

    def stop(self) -> None:
        """This process is about to end: every stream ends within a second."""
        self._stopped = True

    @contextmanager
    def seat(self, user_id: UUID) -> Iterator[None]:
        """Have a place among those who follow. Raises TooManyFollowersError when all are taken."""
        of_user, of_all = self._followers[user_id], self._followers.total()
        if of_user >= self._most_of_a_user or of_all >= self._most_of_all:
            raise TooManyFollowersError
        self._followers[user_id] += 1
        try:
            yield
        finally:
            self._followers[user_id] -= 1
            self._followers += Counter()  # forgets who follows nothing

    async def follow(self, generation: Generation, *, after: int) -> AsyncGenerator[Told]:
        """Every event behind the position `after`, in order, until the generation has ended.

        Between them its place in the queue when that changes, and beats. While PostgreSQL cannot
        be reached nothing is told, and nothing is missed.
        """
        follower = _Follower(self._store, self._places, generation, after)
        news = self._news.watch(generation.id, every=LOOK_EVERY)
        async with aclosing(news):
            async for there_is_news in news:
                if self._stopped:
                    return
                for told in await follower.look(there_is_news=there_is_news):
                    yield told
                if follower.has_ended:
                    return


class _Follower:
    """What one follower has been told so far."""

    def __init__(
        self, store: EventStore, places: QueuePlaces, generation: Generation, after: int
    ) -> None:
        self._store = store
        self._places = places
        self._generation = generation
        self._after = after
        self._is_behind = True
        self._is_queued = generation.status == "queued"
        self._place: QueuePlace | None = None
        self._told_at = time.monotonic()
        self.has_ended = False

    async def look(self, *, there_is_news: bool) -> list[Told]:
        """What there is to tell now."""
        self._is_behind = self._is_behind or there_is_news
        told: list[Told] = []
        try:
            told += await self._new_events()
            told += await self._new_place()
        except StoreUnavailableError as error:
            log.warning("cannot look yet: %s", error)
        except UnknownEventError as error:  # who comes back may find a newer process
            log.warning("cannot follow any further: %s", error)
            self.has_ended = True
        if not told and time.monotonic() - self._told_at >= BEAT_EVERY:
            told.append(Beat())
        if told:
            self._told_at = time.monotonic()
        return told

    async def _new_events(self) -> list[Recorded]:
        if not self._is_behind:
            return []
        found: list[Recorded] = []
        after, is_last = self._after, False
        while not is_last:
            page = await self._store.history(self._generation.id, after=after, limit=A_PAGE)
            found += page
            after, is_last = page[-1].position if page else after, len(page) < A_PAGE
        self._after, self._is_behind = after, False
        events = [recorded.event for recorded in found]
        self._is_queued &= all(isinstance(event, Generation.Requested) for event in events)
        self.has_ended = self._generation.closed or any(isinstance(e, ENDINGS) for e in events)
        return found

    async def _new_place(self) -> list[QueuePlace]:
        if not self._is_queued or self.has_ended:
            return []
        before, self._place = self._place, await self._places.of(self._generation)
        return [] if self._place == before else [self._place]
