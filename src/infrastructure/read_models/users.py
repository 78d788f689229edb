"""Who uses the service."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args
from uuid import UUID

from application.ports.identity import GOOGLE
from domain.user import Role, User
from infrastructure.read_models import Fetch
from infrastructure.read_models.read_model import ReadModel, Statement

CREATE = """
CREATE TABLE users (
    id            uuid        PRIMARY KEY,
    position      bigint      NOT NULL,
    email         text,
    name          text,
    picture_url   text,
    google_id     text,
    role          text        NOT NULL,
    is_suspended  boolean     NOT NULL DEFAULT false,
    last_login_at timestamptz,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL
);
CREATE INDEX users_position_idx ON users (position DESC);
"""

REGISTERED = """
INSERT INTO users
       (id, position, email, name, picture_url, google_id, role, created_at, updated_at)
SELECT id, position, email, name, picture_url, google_id, role, recorded_at, recorded_at
  FROM jsonb_to_recordset(%s::jsonb) AS r(
       id uuid, position bigint, recorded_at timestamptz, email text, name text,
       picture_url text, google_id text, role text)
"""

# Of several changes of one user in a batch the last counts; it is the newest update in any case.
CHANGED = """
UPDATE users u
   SET {columns}, updated_at = greatest(u.updated_at, r.recorded_at)
  FROM (SELECT DISTINCT ON (id) *
          FROM jsonb_to_recordset(%s::jsonb) AS r(
               id uuid, position bigint, recorded_at timestamptz, email text, name text,
               picture_url text, role text, is_suspended boolean)
         ORDER BY id, position DESC) r
 WHERE u.id = r.id
"""
PROFILE_CHANGED = CHANGED.format(
    columns="email = r.email, name = r.name, picture_url = r.picture_url"
)
ROLE_CHANGED = CHANGED.format(columns="role = r.role")
STANDING_CHANGED = CHANGED.format(columns="is_suspended = r.is_suspended")

LOGGED_IN = """
UPDATE users u
   SET last_login_at = r.recorded_at
  FROM (SELECT id, max(recorded_at) AS recorded_at
          FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, recorded_at timestamptz)
         GROUP BY id) r
 WHERE u.id = r.id
"""

PAGE = """
SELECT id, position, email, name, picture_url, role, is_suspended, created_at, last_login_at
  FROM users
 WHERE position < %s AND (%s::text IS NULL OR role = %s)
   AND (%s::boolean IS NULL OR is_suspended = %s)
   AND (%s::text IS NULL OR email ILIKE %s OR name ILIKE %s)
 ORDER BY position DESC LIMIT %s
"""
BEHIND_ALL = 2**63 - 1


@dataclass(frozen=True)
class UserRow:
    """One user, as of a moment ago."""

    id: UUID
    position: int
    email: str | None
    name: str | None
    picture_url: str | None
    role: Role
    suspended: bool
    created_at: datetime
    last_login_at: datetime | None


async def users_page(
    fetch: Fetch,
    *,
    limit: int,
    before: int | None = None,
    role: Role | None = None,
    suspended: bool | None = None,
    part: str | None = None,
) -> list[UserRow]:
    """Up to `limit` users, the newest first, who registered before the position `before`.

    `part` is of the email or the name, in whatever case.
    """
    like = None if part is None else f"%{_literally(part)}%"
    rows = await fetch(
        PAGE,
        (
            *(BEHIND_ALL if before is None else before, role, role, suspended, suspended),
            *(like, like, like, limit),
        ),
    )
    return [UserRow(*row) for row in rows]


def _literally(part: str) -> str:
    """As LIKE takes it."""
    return re.sub(r"([%_\\])", r"\\\1", part)


Standing = User.Suspended | User.Reinstated


def _registered(event: User.Registered) -> dict[str, Any]:
    google_id = event.personal.subject if event.issuer == GOOGLE else None
    return {**_profile(event), "google_id": google_id, "role": event.role}


def _profile(event: User.Registered | User.ProfileChanged) -> dict[str, Any]:
    profile = event.personal
    return {
        "email": profile.email,
        "name": profile.name,
        "picture_url": profile.picture_url,
    }


def _role(event: User.RoleChanged) -> dict[str, Any]:
    return {"role": event.role}


def _standing(event: Standing) -> dict[str, Any]:
    return {"is_suspended": isinstance(event, User.Suspended)}


READ_MODEL = ReadModel(
    name="users",
    version=2,
    create=CREATE,
    statements=(
        Statement(User.Registered, REGISTERED, _registered),
        Statement(User.ProfileChanged, PROFILE_CHANGED, _profile),
        Statement(User.RoleChanged, ROLE_CHANGED, _role),
        Statement(get_args(Standing), STANDING_CHANGED, _standing),
        Statement(User.LoggedIn, LOGGED_IN),
    ),
)
