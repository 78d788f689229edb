"""Who uses the service."""

from __future__ import annotations

from typing import Any

from domain.user import User
from infrastructure.read_models.read_model import ReadModel, Statement

GOOGLE = "https://accounts.google.com"

CREATE = """
CREATE TABLE users (
    id          uuid        PRIMARY KEY,
    email       text,
    name        text,
    picture_url text,
    google_id   text,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);
"""

REGISTERED = """
INSERT INTO users (id, email, name, picture_url, google_id, created_at, updated_at)
SELECT id, email, name, picture_url, google_id, recorded_at, recorded_at
  FROM jsonb_to_recordset(%s::jsonb) AS r(
       id uuid, recorded_at timestamptz, email text, name text, picture_url text, google_id text)
"""


def _registered(event: User.Registered) -> dict[str, Any]:
    profile = event.personal
    return {
        "email": profile.email,
        "name": profile.name,
        "picture_url": profile.picture_url,
        "google_id": profile.subject if event.issuer == GOOGLE else None,
    }


READ_MODEL = ReadModel(
    name="users",
    version=1,
    create=CREATE,
    statements=(Statement(User.Registered, REGISTERED, _registered),),
)
