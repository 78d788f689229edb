"""API keys, for their owners and administrators to see; who may use one is not decided here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from domain.api_key import ApiKey, Scope
from infrastructure.read_models import Fetch
from infrastructure.read_models.read_model import ReadModel, Statement

CREATE = """
CREATE TABLE api_keys (
    id         uuid        PRIMARY KEY,
    position   bigint      NOT NULL,
    user_id    uuid        NOT NULL,
    name       text        NOT NULL,
    prefix     text        NOT NULL,
    scopes     text[]      NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_keys_user_idx ON api_keys (user_id, position DESC);
"""

ISSUED = """
INSERT INTO api_keys (id, position, user_id, name, prefix, scopes, created_at, expires_at)
SELECT id, position, user_id, name, prefix, scopes, recorded_at, expires_at
  FROM jsonb_to_recordset(%s::jsonb) AS r(
       id uuid, position bigint, recorded_at timestamptz, user_id uuid, name text, prefix text,
       scopes text[], expires_at timestamptz)
"""

REVOKED = """
UPDATE api_keys k SET revoked_at = r.recorded_at
  FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, recorded_at timestamptz)
 WHERE k.id = r.id
"""

PAGE = """
SELECT k.id, k.position, k.name, k.prefix, k.scopes, k.created_at, k.expires_at, k.revoked_at,
       u.used_at
  FROM (SELECT * FROM api_keys WHERE user_id = %s AND position < %s
         ORDER BY position DESC LIMIT %s) k
  LEFT JOIN last_uses u ON u.id = k.id
 ORDER BY k.position DESC
"""
BEHIND_ALL = 2**63 - 1


@dataclass(frozen=True)
class ApiKeyRow:
    """One key; `last_used_at` may be some seconds old."""

    id: UUID
    position: int
    name: str
    prefix: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


async def api_keys_page(
    fetch: Fetch, *, user_id: UUID, limit: int, before: int | None = None
) -> list[ApiKeyRow]:
    """Up to `limit` keys of one user, the newest first, that are older than `before`."""
    rows = await fetch(PAGE, (user_id, BEHIND_ALL if before is None else before, limit))
    return [_row(*row) for row in rows]


def _row(
    id_: UUID, position: int, name: str, prefix: str, scopes: list[Scope], *times: Any
) -> ApiKeyRow:
    return ApiKeyRow(id_, position, name, prefix, tuple(scopes), *times)


def _issued(event: ApiKey.Issued) -> dict[str, Any]:
    return {
        "user_id": event.user_id,
        "name": event.personal.name,
        "prefix": event.prefix,
        "scopes": event.scopes,
        "expires_at": event.expires_at,
    }


READ_MODEL = ReadModel(
    name="api_keys",
    version=1,
    create=CREATE,
    statements=(
        Statement(ApiKey.Issued, ISSUED, _issued),
        Statement(ApiKey.Revoked, REVOKED),
    ),
)
