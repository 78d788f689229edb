"""The deliveries: what each came to, as its owner sees it; and which are due."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from application.ports.webhooks import DueDelivery
from domain.delivery import DeliveredType, Delivery, DeliveryStatus
from domain.retries import Problem
from infrastructure.read_models import Fetch
from infrastructure.read_models.read_model import ReadModel, Statement

CREATE = """
CREATE TABLE webhook_deliveries (
    id              uuid        PRIMARY KEY,
    user_id         uuid        NOT NULL,
    endpoint_id     uuid,
    generation_id   uuid,
    event_type      text        NOT NULL,
    status          text        NOT NULL DEFAULT 'due'
                    CHECK (status IN ('due', 'delivered', 'given_up')),
    attempts        integer     NOT NULL DEFAULT 0,
    last_status     integer,
    last_error      text,
    next_attempt_at timestamptz,
    position        bigint      NOT NULL,
    last_position   bigint      NOT NULL,
    created_at      timestamptz NOT NULL,
    ended_at        timestamptz
);
CREATE INDEX webhook_deliveries_endpoint_idx ON webhook_deliveries (endpoint_id, position DESC);
CREATE INDEX webhook_deliveries_generation_idx ON webhook_deliveries (generation_id);
CREATE INDEX webhook_deliveries_due_idx ON webhook_deliveries (user_id, next_attempt_at, id)
 WHERE status = 'due';
CREATE INDEX webhook_deliveries_delivered_idx ON webhook_deliveries (endpoint_id, ended_at DESC)
 WHERE status = 'delivered';
CREATE AGGREGATE merged(jsonb) (SFUNC = jsonb_concat, STYPE = jsonb, INITCOND = '{}');
COMMENT ON COLUMN webhook_deliveries.position IS 'In the log, of its first event: the order.';
COMMENT ON COLUMN webhook_deliveries.last_position IS 'In the log, of its last event.';
"""

DUE = """
INSERT INTO webhook_deliveries (id, user_id, endpoint_id, generation_id, event_type,
       next_attempt_at, position, last_position, created_at)
SELECT id, user_id, endpoint, generation, type, recorded_at, position, position, recorded_at
  FROM jsonb_to_recordset(%s::jsonb) AS r(
       id uuid, position bigint, recorded_at timestamptz, user_id uuid, endpoint uuid,
       generation uuid, type text)
"""

# What several events of a batch say of one delivery, each over the one before.
TRIED = """
WITH said AS (
    SELECT id, max(position) AS position, merged(facts ORDER BY position) AS facts
      FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, position bigint, facts jsonb)
     GROUP BY id)
UPDATE webhook_deliveries d
   SET status = facts ->> 'status',
       attempts = coalesce((facts ->> 'attempts')::integer, d.attempts),
       last_status = CASE WHEN facts ? 'last_status' THEN (facts ->> 'last_status')::integer
                          ELSE d.last_status END,
       last_error = CASE WHEN facts ? 'last_error' THEN facts ->> 'last_error'
                         ELSE d.last_error END,
       next_attempt_at = (facts ->> 'next_attempt_at')::timestamptz,
       ended_at = (facts ->> 'ended_at')::timestamptz,
       last_position = said.position
  FROM said
 WHERE d.id = said.id
"""

Tried = Delivery.Failed | Delivery.Delivered | Delivery.GivenUp


def _due(event: Delivery.Due) -> dict[str, Any]:
    return {
        "user_id": event.user_id,
        "endpoint": event.endpoint,
        "generation": event.generation,
        "type": event.type,
    }


def _tried(event: Tried | Delivery.Resent) -> dict[str, Any]:
    return {"facts": _facts(event)}


def _facts(event: Tried | Delivery.Resent) -> dict[str, Any]:
    if isinstance(event, Delivery.Resent):
        return {"status": "due", "next_attempt_at": event.timestamp, "ended_at": None}
    ended = not isinstance(event, Delivery.Failed)
    return {
        "status": _status(event),
        "attempts": event.attempt,
        "last_status": event.status,
        "last_error": None if isinstance(event, Delivery.Delivered) else event.problem,
        "next_attempt_at": event.next_try_at if isinstance(event, Delivery.Failed) else None,
        "ended_at": event.timestamp if ended else None,
    }


def _status(event: Tried) -> DeliveryStatus:
    match event:
        case Delivery.Failed():
            return "due"
        case Delivery.Delivered():
            return "delivered"
        case Delivery.GivenUp():
            return "given_up"


READ_MODEL = ReadModel(
    name="webhook_deliveries",
    version=2,
    create=CREATE,
    statements=(
        Statement(Delivery.Due, DUE, _due),
        Statement(
            (Delivery.Failed, Delivery.Delivered, Delivery.GivenUp, Delivery.Resent),
            TRIED,
            _tried,
        ),
    ),
)

# --- how it is read ----------------------------------------------------------------------------


@dataclass(frozen=True)
class DeliveryRow:
    """One delivery in its owner's log; `position` is the cursor."""

    id: UUID
    endpoint_id: UUID | None
    generation_id: UUID | None
    event_type: DeliveredType
    status: DeliveryStatus
    attempts: int
    last_status: int | None
    last_error: Problem | None
    next_attempt_at: datetime | None
    position: int
    created_at: datetime
    ended_at: datetime | None


TABLE = f"{READ_MODEL.schema}.webhook_deliveries"
END = 2**63 - 1
PAGE = f"""
SELECT {", ".join(field.name for field in fields(DeliveryRow))} FROM {TABLE}
 WHERE endpoint_id = %s AND user_id = %s AND position < %s
 ORDER BY position DESC LIMIT %s::bigint
"""  # noqa: S608  # constants

OF_GENERATION = f"""
SELECT {", ".join(field.name for field in fields(DeliveryRow))} FROM {TABLE}
 WHERE generation_id = %s AND user_id = %s
 ORDER BY position LIMIT 100
"""  # noqa: S608  # constants

# One index look-up for each user who waits for anything, and a few for each who has something due.
# What the log knows more of than these tables is not due any more.
NEXT = f"""
WITH RECURSIVE waiting (user_id) AS (
    (SELECT user_id FROM {TABLE} WHERE status = 'due' ORDER BY user_id LIMIT 1)
    UNION ALL
    SELECT (SELECT d.user_id FROM {TABLE} d WHERE d.status = 'due' AND d.user_id > w.user_id
             ORDER BY d.user_id LIMIT 1)
      FROM waiting w WHERE w.user_id IS NOT NULL)
SELECT its.id, its.attempts + 1, its.user_id, its.last_position
  FROM waiting w CROSS JOIN LATERAL (
       SELECT * FROM {TABLE} d
        WHERE d.status = 'due' AND d.user_id = w.user_id
          AND d.next_attempt_at <= (SELECT log_now_v1()) AND d.id <> ALL (%s)
          AND NOT EXISTS (SELECT FROM stored_events e WHERE e.originator_id = d.id
                             AND e.notification_id > d.last_position)
        ORDER BY d.next_attempt_at, d.id LIMIT %s::bigint) its
 WHERE w.user_id IS NOT NULL
"""  # noqa: S608  # constants
SETTLED = """
SELECT id FROM unnest(%s::uuid[], %s::bigint[]) AS under_way(id, position)
 WHERE EXISTS (SELECT FROM stored_events e WHERE e.originator_id = under_way.id
                  AND e.notification_id > under_way.position)
"""
LAST_DELIVERED = f"""
SELECT max(ended_at) FROM {TABLE} WHERE endpoint_id = %s AND status = 'delivered'
"""  # noqa: S608  # constants


async def deliveries_page(
    fetch: Fetch, *, user_id: UUID, endpoint: UUID, limit: int, before: int | None = None
) -> list[DeliveryRow]:
    """Up to `limit` deliveries to an endpoint of this user's, the newest first."""
    position = END if before is None else before
    rows = await fetch(PAGE, (endpoint, user_id, position, limit))
    return [DeliveryRow(*row) for row in rows]


async def deliveries_of_generation(
    fetch: Fetch, *, user_id: UUID, generation: UUID
) -> list[DeliveryRow]:
    """Who of this user's receivers is told of its end: endpoints, and the request's address."""
    return [DeliveryRow(*row) for row in await fetch(OF_GENERATION, (generation, user_id))]


class PostgresDeliveryBoard:
    """Which are due, by these tables; which are not any more, by the log."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def due(self, *, per_user: int, but: Collection[UUID]) -> Sequence[DueDelivery]:
        rows = await self._fetch(NEXT, (list(but), per_user))
        return [DueDelivery(*row) for row in rows]

    async def settled(self, under_way: Sequence[DueDelivery]) -> frozenset[UUID]:
        ids, positions = [one.id for one in under_way], [one.position for one in under_way]
        rows = await self._fetch(SETTLED, (ids, positions))
        return frozenset(id_ for (id_,) in rows)

    async def last_delivered_at(self, endpoint: UUID) -> datetime | None:
        rows = await self._fetch(LAST_DELIVERED, (endpoint,))
        last: datetime | None = rows[0][0]
        return last
