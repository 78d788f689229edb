"""What a person sees of the progress of a generation; the job's id is the generation's."""

from __future__ import annotations

from typing import Any

from domain.generation import Generation
from infrastructure.read_models.read_model import ReadModel, Statement

CREATE = """
CREATE TABLE jobs (
    id            uuid        PRIMARY KEY,
    user_id       uuid        NOT NULL,
    type          text        NOT NULL DEFAULT 'generation',
    status        text        NOT NULL DEFAULT 'queued'
                  CHECK (status IN ('queued', 'processing', 'completed', 'failed', 'cancelled')),
    payload       jsonb       NOT NULL,
    result        jsonb,
    created_at    timestamptz NOT NULL,
    started_at    timestamptz,
    completed_at  timestamptz,
    error_message text
);
CREATE INDEX jobs_user_idx ON jobs (user_id, created_at DESC);
"""

QUEUED = """
INSERT INTO jobs (id, user_id, payload, created_at)
SELECT id, user_id, payload, recorded_at
  FROM jsonb_to_recordset(%s::jsonb)
       AS r(id uuid, recorded_at timestamptz, user_id uuid, payload jsonb)
"""

STARTED = """
UPDATE jobs j
   SET status = CASE j.status WHEN 'queued' THEN 'processing' ELSE j.status END,
       started_at = coalesce(j.started_at, r.recorded_at)
  FROM (SELECT id, min(recorded_at) AS recorded_at
          FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, recorded_at timestamptz)
         GROUP BY id) r
 WHERE j.id = r.id
"""

ENDED = """
UPDATE jobs j
   SET status = r.status, result = r.result, error_message = r.message, completed_at = r.recorded_at
  FROM jsonb_to_recordset(%s::jsonb)
       AS r(id uuid, recorded_at timestamptz, status text, result jsonb, message text)
 WHERE j.id = r.id
"""

DELETED = """
UPDATE jobs j
   SET result = jsonb_set(j.result, '{images}', '[]')
  FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid)
 WHERE j.id = r.id AND j.result IS NOT NULL
"""


def _queued(event: Generation.Requested) -> dict[str, Any]:
    """The payload leaves out what is personal, so that there is one place less to erase it."""
    spec = event.spec.model_dump(exclude_none=True)
    return {
        "user_id": event.user_id,
        "payload": {**spec, "reference_images": len(event.references)},
    }


def _completed(event: Generation.Completed) -> dict[str, Any]:
    urls = [image.url for image in event.images]
    return {"status": "completed", "result": {"images": urls, "missing": event.missing}}


def _failed(event: Generation.Failed) -> dict[str, Any]:
    return {"status": "failed", "message": event.message}


def _cancelled(_: Generation.Cancelled) -> dict[str, Any]:
    return {"status": "cancelled"}


READ_MODEL = ReadModel(
    name="jobs",
    version=1,
    create=CREATE,
    statements=(
        Statement(Generation.Requested, QUEUED, _queued),
        Statement(Generation.CallStarted, STARTED),
        Statement(Generation.Completed, ENDED, _completed),
        Statement(Generation.Failed, ENDED, _failed),
        Statement(Generation.Cancelled, ENDED, _cancelled),
        Statement(Generation.Deleted, DELETED),
    ),
)
