"""Mends, user by user and under the append's lock, what does not say what the events say."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from infrastructure.event_store.check import Difference, Snapshot, visiting

log = logging.getLogger(__name__)

MOST_AT_ONCE = 50  # rows mended while the lock is held
FAR_BEHIND = 1000  # events; as many are read under the lock in a few milliseconds
LONGEST_MENDING = "10s"

LAST = "SELECT coalesce(max(notification_id), 0) FROM stored_events"
SINCE = "SELECT * FROM units_between_v1(%s, %s)"
MEND = "SELECT * FROM mend_user_v1(%s, %s, %s)"

Counter = tuple[UUID | None, str, datetime]


class UnreadableLogError(Exception):
    """With an event missing, what the others say is not what there should be."""

    def __init__(self) -> None:
        super().__init__(
            "Nothing was mended, because some events cannot be read, and the others do not say all."
            " Bring those back from a backup, or run a release that can read them."
        )


async def repair(database_url: str, snapshot: Snapshot) -> AsyncIterator[Difference]:
    """Mend what was found wrong and still is; yields what was, in order of the users.

    The lock is taken for each user, and again for each few rows. What the events say is
    asked under it: a counter is what they said up to the snapshot, and what came since. What only
    a newer release knows stays as it is. Raises UnreadableLogError.
    """
    if not snapshot.is_readable:
        raise UnreadableLogError
    async with visiting(database_url) as connection:
        mending = _Mending(connection, snapshot)
        await mending.catch_up()
        await connection.execute(f"SET statement_timeout = '{LONGEST_MENDING}'")
        known = [found for found in snapshot.differences if found.problem != "unknown"]
        for user_id, wrong in _by_user(known):
            rows = 0
            for first in range(0, len(wrong), MOST_AT_ONCE):
                await mending.catch_up(at_least=FAR_BEHIND)
                mended = await mending.mend(user_id, wrong[first : first + MOST_AT_ONCE])
                rows += len(mended)
                for difference in mended:
                    yield difference
            _log(user_id, rows)


def _log(user_id: UUID, rows: int) -> None:
    if rows:
        facts = {"user": str(user_id), "rows": rows}
        log.warning("mended what the events say otherwise", extra=facts)


class _Mending:
    """What the counters should be moves on with the log, so that little is read under the lock."""

    def __init__(self, connection: AsyncConnection[Any], snapshot: Snapshot) -> None:
        self._connection = connection
        self._position = snapshot.position
        self._wanted = {_counter(d) for d in snapshot.differences if d.part == "quota"}
        self._since: defaultdict[Counter, tuple[int, int]] = defaultdict(lambda: (0, 0))

    async def catch_up(self, *, at_least: int = 1) -> None:
        """Count what was recorded meanwhile, if that is as many events; without the lock."""
        ((last,),) = await self._rows(LAST)
        if not self._wanted or last - self._position < at_least:
            return
        for *counter, requests, units in await self._rows(SINCE, self._position, last):
            place = (counter[0], counter[1], counter[2])
            if place in self._wanted:
                before = self._since[place]
                self._since[place] = (before[0] + requests, before[1] + units)
        self._position = last

    async def mend(self, user_id: UUID, wrong: Sequence[Difference]) -> list[Difference]:
        """Of one user's differences those that were still there, and are no more."""
        found = Jsonb([_as_record(self._as_of_now(difference)) for difference in wrong])
        rows = await self._rows(MEND, user_id, found, self._position)
        return [Difference(*row) for row in rows]

    def _as_of_now(self, difference: Difference) -> Difference:
        if difference.part != "quota":
            return difference
        said = difference.expected or {"requests": 0, "units": 0}
        requests, units = self._since[_counter(difference)]
        expected = {"requests": said["requests"] + requests, "units": said["units"] + units}
        return replace(difference, expected=expected)

    async def _rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        cursor = await self._connection.execute(query, parameters)
        return await cursor.fetchall()


def _by_user(differences: Iterable[Difference]) -> list[tuple[UUID, list[Difference]]]:
    of_user: defaultdict[UUID, list[Difference]] = defaultdict(list)
    for difference in differences:
        if difference.user_id is not None:
            of_user[difference.user_id].append(difference)
    return sorted(of_user.items())


def _counter(difference: Difference) -> Counter:
    place = difference.place
    return difference.user_id, place["window_type"], datetime.fromisoformat(place["starts_at"])


def _as_record(difference: Difference) -> dict[str, Any]:
    return {
        "part": difference.part,
        "place": difference.place,
        "expected": difference.expected if difference.part == "quota" else None,
    }
