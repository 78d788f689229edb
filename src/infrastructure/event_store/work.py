"""What is due and who is at work, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from application.ports.workers import AtWork, DueWork, Look, Outlived, Stretch
from domain.generation import ENDINGS, Generation
from infrastructure.event_store.store import PostgresEventStore

MOST_KEYS_AT_ONCE = 10_000
MOST_PICTURES_AT_ONCE = 1000
REQUESTED = f"{Generation.Requested.topic}@%"
CLOSING = [event.topic for event in ENDINGS]
OPEN_WITHOUT_WORK = """
SELECT r.originator_id FROM stored_events r
 WHERE r.notification_id > %s AND r.notification_id <= %s AND r.topic LIKE %s
   AND NOT EXISTS (SELECT FROM work w WHERE w.ref = r.originator_id)
   AND NOT EXISTS (SELECT FROM stored_events closing
                    WHERE closing.originator_id = r.originator_id
                      AND split_part(closing.topic, '@', 1) = ANY (%s))
"""
AT_WORK = """
SELECT count(*), coalesce(sum(slots), 0)::bigint, (SELECT free FROM credits_v1('{}'))::bigint
  FROM workers WHERE expires_at > log_now_v1() AND slots > 0
"""
FORGET_OLD_PICTURES = """
DELETE FROM spool WHERE key IN (
    SELECT key FROM spool WHERE spooled_at < clock_timestamp() - interval '2 days'
       AND NOT EXISTS (SELECT FROM work WHERE ref::text = split_part(key, '/', 2)) LIMIT %s)
RETURNING key
"""


class PostgresWorkBoard:
    """The work and workers tables; they are written under the log's lock, by functions."""

    def __init__(self, store: PostgresEventStore) -> None:
        self._fetch = store.fetch

    async def register(self, worker: UUID, *, slots: int, lease: timedelta) -> None:
        await self._fetch(
            "INSERT INTO workers (incarnation, slots, started_at, expires_at)"
            " VALUES (%s, %s, log_now_v1(), log_now_v1() + %s)"
            " ON CONFLICT (incarnation) DO UPDATE SET expires_at = excluded.expires_at"
            " RETURNING incarnation",
            (worker, slots, lease),
        )

    async def extend(self, worker: UUID, *, lease: timedelta) -> bool:
        rows = await self._fetch(
            "UPDATE workers SET expires_at = log_now_v1() + %s"
            " WHERE incarnation = %s RETURNING incarnation",
            (lease, worker),
        )
        return bool(rows)

    async def drain(self, worker: UUID) -> None:
        await self._fetch(
            "UPDATE workers SET slots = 0 WHERE incarnation = %s RETURNING incarnation", (worker,)
        )

    async def retire(self, worker: UUID) -> None:
        await self._fetch("SELECT retire_worker_v1(%s)", (worker,))

    async def moment(self) -> datetime:
        rows = await self._fetch("SELECT log_now_v1()", ())
        moment: datetime = rows[0][0]
        return moment

    async def sweep(self, expired_by: datetime) -> int:
        rows = await self._fetch("SELECT sweep_workers_v1(%s)", (expired_by,))
        freed: int = rows[0][0]
        return freed

    async def take_overdue(
        self,
        taker: UUID,
        *,
        lease: timedelta,
        grace: timedelta,
        margin: timedelta,
        limit: int,
    ) -> Sequence[UUID]:
        rows = await self._fetch(
            "SELECT * FROM take_overdue_v1(%s, %s, %s, %s, %s::integer)",
            (taker, lease, grace, margin, limit),
        )
        return [ref for (ref,) in rows]

    async def forget_outlived(self) -> Outlived:
        rows = await self._fetch("SELECT sweep_idempotency_keys_v1(%s)", (MOST_KEYS_AT_ONCE,))
        keys = rows[0][0]
        pictures = len(await self._fetch(FORGET_OLD_PICTURES, (MOST_PICTURES_AT_ONCE,)))
        is_all = keys < MOST_KEYS_AT_ONCE and pictures < MOST_PICTURES_AT_ONCE
        return Outlived(keys, pictures, is_all)

    async def look(self, *, after_user: UUID, handed_over: Sequence[DueWork]) -> Look:
        pieces = {_piece(work): work for work in handed_over}
        rows = await self._fetch(
            "SELECT free, waiting, kinds, refs, users, seconds FROM look_v1(%s, %s)",
            (after_user, list(pieces)),
        )
        free, waiting, kinds, refs, users, seconds = rows[0]
        return Look(
            free_slots=free,
            due=[DueWork(*row) for row in zip(kinds, refs, users, strict=True)],
            waiting=frozenset(pieces[piece] for piece in waiting),
            seconds_to_next=seconds,
        )

    async def next_due(
        self, *, after_user: UUID, limit: int, handed_over: Sequence[DueWork]
    ) -> Sequence[DueWork]:
        rows = await self._fetch(
            "SELECT kind, ref, user_id FROM next_due_v1(%s, %s, %s)",
            (after_user, limit, [_piece(work) for work in handed_over]),
        )
        return [DueWork(*row) for row in rows]

    async def put_off(self, *, limit: int) -> Sequence[UUID]:
        rows = await self._fetch("SELECT * FROM put_off_v1(%s::integer)", (limit,))
        return [ref for (ref,) in rows]

    async def at_work(self) -> AtWork:
        rows = await self._fetch(AT_WORK, ())
        return AtWork(*rows[0])

    async def open_without_work(self, *, after: int, span: int) -> Stretch:
        rows = await self._fetch(OPEN_WITHOUT_WORK, (after, after + span, REQUESTED, CLOSING))
        last = await self._fetch("SELECT coalesce(max(notification_id), 0) FROM stored_events", ())
        end = min(after + span, last[0][0])
        return Stretch([ref for (ref,) in rows], end, is_last=end == last[0][0])


def _piece(work: DueWork) -> str:
    """As the function piece_v1 writes it."""
    return f"{work.kind}:{work.ref}"
