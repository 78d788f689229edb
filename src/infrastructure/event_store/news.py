"""Wakes those of one process who wait for something to be recorded in a stream."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from application.tasks import end
from domain.aggregate import Event
from infrastructure.event_store.connections import connect

log = logging.getLogger(__name__)

CONNECTIONS = 1
NAME = "darkroom news"  # of the connection
POLL_SECONDS = 1.0
SILENT_AFTER = 10.0
A_PAGE = 1000
BREATH = 0.005  # seconds between looks while there is news all the time: one tells of more

NEWS = """
SELECT notification_id, originator_id, topic FROM stored_events
 WHERE notification_id > %s ORDER BY notification_id LIMIT %s
"""


@dataclass(eq=False)
class _Watcher:
    """Somebody who waits for events of these topics, of all if there are none."""

    topics: frozenset[str]
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self, topic: str) -> None:
        if not self.topics or topic.partition("@")[0] in self.topics:
            self.woken.set()


class PostgresNews:
    """One connection for all watchers: LISTEN is the hint, reading the log by position the truth.

    A watcher may be woken for nothing; it is never left asleep for longer than a poll after
    something was recorded and PostgreSQL could be reached.
    """

    def __init__(
        self,
        database_url: str,
        *,
        name: str = NAME,
        breath: float = BREATH,
        silent_after: float = SILENT_AFTER,
    ) -> None:
        self._url = database_url
        self._silent_after = silent_after
        self._name = name
        self._breath = breath
        self._watchers: defaultdict[UUID, set[_Watcher]] = defaultdict(set)
        self._position: int | None = None
        self._listening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to listen."""
        self._listening = asyncio.create_task(self._listen_for_ever())

    async def close(self) -> None:
        """Stop listening; watchers sleep on until they are cancelled."""
        if self._listening is not None:
            await end(self._listening)

    async def watch(
        self,
        stream: UUID,
        *,
        kinds: Sequence[type[Event]] = (),
        after: int | None = None,
        every: float | None = None,
    ) -> AsyncGenerator[bool]:
        watcher = _Watcher(frozenset(kind.topic for kind in kinds))
        if after is None or self._position is None or self._position > after:
            watcher.woken.set()
        self._watchers[stream].add(watcher)
        try:
            while True:
                with suppress(TimeoutError):
                    await asyncio.wait_for(watcher.woken.wait(), every)
                there_is_news = watcher.woken.is_set()
                watcher.woken.clear()
                yield there_is_news
        finally:
            self._watchers[stream].discard(watcher)
            if not self._watchers[stream]:
                del self._watchers[stream]

    async def _listen_for_ever(self) -> None:
        while True:
            try:
                await self._listen()
            except psycopg.Error as error:
                log.warning("cannot listen to the event store: %s", error)
                await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311  # spreads reconnects

    async def _listen(self) -> None:
        async with await connect(self._url, self._name) as connection:
            connection.silent_after = self._silent_after
            await connection.execute("LISTEN stored_events")
            self._position = await self._last_position(connection)
            self._wake_all()
            while True:
                await self._tell(connection)
                await asyncio.sleep(self._breath)
                async for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                    pass

    async def _tell(self, connection: AsyncConnection[Any]) -> None:
        while True:
            cursor = await connection.execute(NEWS, (self._position, A_PAGE), prepare=True)
            rows = await cursor.fetchall()
            for position, stream, topic in rows:
                self._position = position
                for watcher in self._watchers.get(stream, ()):
                    watcher.tell(topic)
            if len(rows) < A_PAGE:
                return

    async def _last_position(self, connection: AsyncConnection[Any]) -> int:
        cursor = await connection.execute(
            "SELECT coalesce(max(notification_id), 0) FROM stored_events"
        )
        row = await cursor.fetchone()
        return int(row[0]) if row else 0

    def _wake_all(self) -> None:
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.woken.set()
