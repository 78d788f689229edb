"""The history: every generation as its owner sees it in a list."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import chain
from typing import Any, get_args
from uuid import UUID

from pydantic import TypeAdapter

from domain.failure import FailureKind, OnRefusal
from domain.generation import Call, Generation, OnUnknown, Status
from domain.image import ImageSpec, PublishedImage, ReferenceImage
from infrastructure.read_models import Fetch
from infrastructure.read_models.read_model import ReadModel, Statement

# PostgreSQL reads text with punctuation as hosts, paths and numbers, which takes it seconds where
# there is much of it, and finds no word in it: words are what stands between.
PUNCTUATION = "!#$%&()*+,-./:;<=>?@[]^_`{|}~\u00a0°·«»–—‘’“”…、。「」，！：；？（）\u3000"
TO_BLANKS = str.maketrans(dict.fromkeys(PUNCTUATION, " "))

CREATE = """
CREATE TABLE image_generations (
    id                     uuid        PRIMARY KEY,
    user_id                uuid        NOT NULL,
    prompt                 text        NOT NULL,
    words                  tsvector    NOT NULL,
    negative_prompt        text,
    metadata               jsonb       NOT NULL,
    spec                   jsonb       NOT NULL,
    count                  integer     NOT NULL,
    provider_used          text,
    model                  text,
    reference_images       jsonb       NOT NULL,
    reference_images_count integer     NOT NULL,
    mask                   jsonb,
    status                 text        NOT NULL DEFAULT 'queued' CHECK (
                           status IN ('queued', 'processing', 'completed', 'failed', 'cancelled')),
    calls                  jsonb       NOT NULL DEFAULT '{}',
    image_url              text,
    images                 jsonb       NOT NULL DEFAULT '[]',
    missing                integer     NOT NULL DEFAULT 0,
    error_kind             text,
    error_message          text,
    on_unknown             text        NOT NULL,
    on_refusal             text        NOT NULL,
    retry_of               uuid,
    end_user               text,
    end_user_id            uuid,
    position               bigint      NOT NULL,
    created_at             timestamptz NOT NULL,
    started_at             timestamptz,
    completed_at           timestamptz,
    deadline_at            timestamptz NOT NULL,
    deleted_at             timestamptz
);
CREATE INDEX image_generations_history_idx ON image_generations (user_id, position DESC);
CREATE INDEX image_generations_status_idx ON image_generations (user_id, status, position DESC);
CREATE INDEX image_generations_provider_idx
    ON image_generations (user_id, provider_used, position DESC) WHERE provider_used IS NOT NULL;
CREATE INDEX image_generations_model_idx
    ON image_generations (user_id, model, position DESC) WHERE model IS NOT NULL;
CREATE INDEX image_generations_end_user_idx
    ON image_generations (user_id, end_user_id, position DESC) WHERE end_user_id IS NOT NULL;
CREATE INDEX image_generations_time_idx ON image_generations (user_id, created_at, position);
CREATE INDEX image_generations_words_idx ON image_generations USING gin (words, (ARRAY[user_id]));
CREATE INDEX image_generations_references_idx ON image_generations
 USING gin (reference_images jsonb_path_ops) WHERE reference_images_count > 0;
CREATE INDEX image_generations_masks_idx ON image_generations ((mask ->> 'key'))
 WHERE mask IS NOT NULL;
CREATE AGGREGATE merged(jsonb) (SFUNC = jsonb_concat, STYPE = jsonb, INITCOND = '{}');
-- Nobody looks for them, and sorting them would be most of ANALYZE.
ALTER TABLE image_generations
 ALTER COLUMN prompt SET STATISTICS 0,
 ALTER COLUMN negative_prompt SET STATISTICS 0,
 ALTER COLUMN end_user SET STATISTICS 0,
 ALTER COLUMN metadata SET STATISTICS 0,
 ALTER COLUMN spec SET STATISTICS 0,
 ALTER COLUMN calls SET STATISTICS 0,
 ALTER COLUMN image_url SET STATISTICS 0,
 ALTER COLUMN images SET STATISTICS 0;
COMMENT ON COLUMN image_generations.calls IS 'By number, with what each cost.';
COMMENT ON COLUMN image_generations.completed_at IS 'When it reached its final state, whichever.';
COMMENT ON COLUMN image_generations.position IS 'Of the request in the log: the history''s order.';
"""

REQUESTED = """
INSERT INTO image_generations (id, user_id, prompt, words, negative_prompt, metadata, spec, count,
       model, reference_images, reference_images_count, mask, on_unknown, on_refusal, retry_of,
       end_user, end_user_id, position, created_at, deadline_at)
SELECT id, user_id, prompt, to_tsvector('simple', words), negative_prompt, metadata, spec,
       (spec ->> 'count')::integer, spec ->> 'model', reference_images,
       jsonb_array_length(reference_images), mask, on_unknown, on_refusal, retry_of,
       end_user, end_user_id, position, recorded_at,
       recorded_at + make_interval(secs => deadline_seconds)
  FROM jsonb_to_recordset(%s::jsonb) AS r(
       id uuid, position bigint, recorded_at timestamptz, user_id uuid, prompt text, words text,
       negative_prompt text, metadata jsonb, spec jsonb, reference_images jsonb, mask jsonb,
       on_unknown text, on_refusal text, retry_of uuid, end_user text, end_user_id uuid,
       deadline_seconds float)
"""

# The provider used is that of the last call that was answered, until then of the last one made.
CALLED = """
WITH said AS (
    SELECT id, call, min(recorded_at) AS first_at, merged(facts ORDER BY position) AS facts
      FROM jsonb_to_recordset(%s::jsonb)
           AS r(id uuid, position bigint, recorded_at timestamptz, call text, facts jsonb)
     GROUP BY id, call),
told AS (
    SELECT g.id, min(said.first_at) AS first_at,
           g.calls || jsonb_object_agg(
               said.call, coalesce(g.calls -> said.call, '{}') || said.facts) AS calls
      FROM said
      JOIN image_generations g ON g.id = said.id
     GROUP BY g.id)
UPDATE image_generations g
   SET calls = told.calls, provider_used = used.call ->> 'provider', model = used.call ->> 'model',
       status = CASE g.status WHEN 'queued' THEN 'processing' ELSE g.status END,
       started_at = coalesce(g.started_at, told.first_at)
  FROM told
 CROSS JOIN LATERAL (SELECT value AS call FROM jsonb_each(told.calls)
                      ORDER BY value ->> 'outcome' = 'answered' DESC, key::integer DESC
                      LIMIT 1) used
 WHERE g.id = told.id
"""

COMPLETED = """
UPDATE image_generations g
   SET status = 'completed', images = r.images, image_url = r.images -> 0 ->> 'url',
       missing = r.missing, completed_at = r.recorded_at
  FROM jsonb_to_recordset(%s::jsonb)
       AS r(id uuid, recorded_at timestamptz, images jsonb, missing integer)
 WHERE g.id = r.id
"""

GIVEN_UP = """
UPDATE image_generations g
   SET status = r.status, error_kind = r.kind, error_message = r.message, missing = g.count,
       completed_at = r.recorded_at
  FROM jsonb_to_recordset(%s::jsonb)
       AS r(id uuid, recorded_at timestamptz, status text, kind text, message text)
 WHERE g.id = r.id
"""

DELETED = """
UPDATE image_generations g
   SET images = '[]', image_url = NULL, deleted_at = r.recorded_at
  FROM jsonb_to_recordset(%s::jsonb) AS r(id uuid, recorded_at timestamptz)
 WHERE g.id = r.id
"""


CallEvent = (
    Generation.CallStarted
    | Generation.CallAnswered
    | Generation.CallFailed
    | Generation.CallLost
    | Generation.CallAnsweredLate
)
CALL_EVENTS = get_args(CallEvent)


def _requested(event: Generation.Requested) -> dict[str, Any]:
    return {
        "user_id": event.user_id,
        "prompt": event.personal.prompt,
        "words": event.personal.prompt.translate(TO_BLANKS),
        "negative_prompt": event.personal.negative_prompt,
        "metadata": event.personal.metadata,
        "spec": event.spec,
        "reference_images": event.references,
        "mask": event.mask,
        "on_unknown": event.on_unknown,
        "on_refusal": event.on_refusal,
        "retry_of": event.retry_of,
        "end_user": event.personal.end_user,
        "end_user_id": event.end_user_id,
        "deadline_seconds": event.deadline_seconds,
    }


def _call(event: CallEvent) -> dict[str, Any]:
    return {"call": str(event.call), "facts": _facts(event)}


def _facts(event: CallEvent) -> Call | dict[str, Any]:
    match event:
        case Generation.CallStarted():
            return Call(event.call, event.provider, event.model, event.images)
        case Generation.CallFailed():
            return {"outcome": "failed", "cost": event.cost}
        case Generation.CallLost():
            return {"outcome": "lost"}
        case _:
            return {"outcome": "answered", "cost": event.cost, "usage": event.usage}


def _completed(event: Generation.Completed) -> dict[str, Any]:
    return {"images": event.images, "missing": event.missing}


def _given_up(event: Generation.Failed | Generation.Cancelled) -> dict[str, Any]:
    if isinstance(event, Generation.Cancelled):
        return {"status": "cancelled"}
    return {"status": "failed", "kind": event.kind, "message": event.message}


READ_MODEL = ReadModel(
    name="image_generations",
    version=7,
    create=CREATE,
    statements=(
        Statement(Generation.Requested, REQUESTED, _requested),
        Statement(CALL_EVENTS, CALLED, _call),
        Statement(Generation.Completed, COMPLETED, _completed),
        Statement((Generation.Failed, Generation.Cancelled), GIVEN_UP, _given_up),
        Statement(Generation.Deleted, DELETED),
    ),
)

# --- how it is read ----------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageGenerationRow:
    """One generation in its owner's history; `position` is the cursor.

    `provider_used` is None before the first call, `completed_at` the time of the final state.
    """

    id: UUID
    position: int
    user_id: UUID
    prompt: str
    negative_prompt: str | None
    metadata: dict[str, str]
    spec: ImageSpec
    provider_used: str | None
    model: str | None
    reference_images: tuple[ReferenceImage, ...]
    mask: ReferenceImage | None
    status: Status
    calls: tuple[Call, ...]
    image_url: str | None
    images: tuple[PublishedImage, ...]
    missing: int
    error_kind: FailureKind | None
    error_message: str | None
    on_unknown: OnUnknown
    on_refusal: OnRefusal
    retry_of: UUID | None
    end_user: str | None
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    deadline_at: datetime
    deleted_at: datetime | None


@dataclass(frozen=True)
class HistoryFilter:
    """Which generations are wanted; what is None or empty does not matter.

    `model` and `provider` are those used, `words` are looked for in the prompt as a search engine
    reads them: all of them, "in this order", -without.
    """

    statuses: tuple[Status, ...] = ()
    provider: str | None = None
    model: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    words: str | None = None
    end_user_id: UUID | None = None


TERM = re.compile(r'((?<!\S)-(?=[^\s-]))?("[^"]*"?|[^\s"]+)')  # a minus: what is not wanted
NAMES = tuple(field.name for field in fields(ImageGenerationRow))
TABLE = f"{READ_MODEL.schema}.image_generations"
PAGE = """
SELECT id, position, user_id, prompt, negative_prompt, metadata, spec::text, provider_used, model,
       reference_images::text, mask::text, status, jsonb_path_query_array(calls, '$.*')::text,
       image_url, images::text, missing, error_kind, error_message, on_unknown, on_refusal,
       retry_of, end_user, created_at, started_at, completed_at, deadline_at, deleted_at
  FROM ({found}) found
 ORDER BY position DESC
 LIMIT %s::bigint
"""

IN_ORDER = f"SELECT * FROM {TABLE} WHERE {{conditions}} ORDER BY position DESC LIMIT %s::bigint"  # noqa: S608  # a constant

# The index gives those of one status in order: the first of each status hold the first of all.
OF_EACH_STATUS = """
SELECT its.* FROM unnest(%s::text[]) AS wanted (status) CROSS JOIN LATERAL ({found}) its
"""

# No index gives the matches of words in order, so the newest generations are looked through first:
# a word that is used often fills the page there. All matches among the older ones are fetched and
# sorted only when the page is not full, which is when there are few of them.
LOOKED_THROUGH = 20_000
MATCHES = "words @@ websearch_to_tsquery('simple', %s)"
WITH_WORDS = f"""
  WITH among_the_newest AS MATERIALIZED (
       SELECT * FROM (SELECT * FROM {TABLE} WHERE {{conditions}}
                       ORDER BY position DESC LIMIT %s::bigint) newest
        WHERE {MATCHES} ORDER BY position DESC LIMIT %s::bigint),
       last_of_the_newest AS MATERIALIZED (
       SELECT position FROM {TABLE} WHERE {{conditions}}
        ORDER BY position DESC OFFSET %s::bigint - 1 LIMIT 1),
       among_the_older AS (
       SELECT * FROM (SELECT * FROM {TABLE} WHERE {MATCHES} AND ARRAY[user_id] @> ARRAY[%s::uuid]
                      OFFSET 0) matching  -- so that no other index is taken for it
        WHERE (SELECT count(*) FROM among_the_newest) < %s::bigint
          AND EXISTS (TABLE last_of_the_newest)
          AND position < (TABLE last_of_the_newest) AND {{conditions}}
        ORDER BY position DESC LIMIT %s::bigint)
 TABLE among_the_newest UNION ALL TABLE among_the_older
"""  # noqa: S608  # constants

# The log's order is that of time: a time is a position.
FIRST_SINCE = f"""
(SELECT position FROM {TABLE} WHERE user_id = %s AND created_at >= %s
  ORDER BY created_at, position LIMIT 1)
"""  # noqa: S608  # constants
END = 2**63 - 1

_references = TypeAdapter(tuple[ReferenceImage, ...])
_mask = TypeAdapter(ReferenceImage)
_images = TypeAdapter(tuple[PublishedImage, ...])
_calls = TypeAdapter(list[Call])


async def history_page(
    fetch: Fetch,
    *,
    user_id: UUID,
    limit: int,
    before: int | None = None,
    wanted: HistoryFilter = HistoryFilter(),
) -> list[ImageGenerationRow]:
    """Up to `limit` generations of one user, the newest first, that are older than `before`."""
    conditions, values = _conditions(user_id, before, wanted)
    found, parameters = IN_ORDER, (*values, limit)
    if wanted.words:
        words, newest = _search(wanted.words), (*values, LOOKED_THROUGH)
        found = WITH_WORDS
        parameters = (*newest, words, limit, *newest, words, user_id, limit, *values, limit)
    if wanted.statuses:
        found = OF_EACH_STATUS.format(found=found)
        parameters = (sorted(set(wanted.statuses)), *parameters)
    rows = await fetch(PAGE.format(found=found.format(conditions=conditions)), (*parameters, limit))
    return [_row(dict(zip(NAMES, row, strict=True))) for row in rows]


def _conditions(
    user_id: UUID, before: int | None, wanted: HistoryFilter
) -> tuple[str, tuple[Any, ...]]:
    """What every generation of a page meets, except for its words; and the values in it."""
    conditions: list[tuple[str, Any]] = [
        ("user_id = %s", user_id),
        ("position < %s::bigint", before),
        ("provider_used = %s", wanted.provider),
        ("model = %s", wanted.model),
        ("end_user_id = %s", wanted.end_user_id),
    ]
    that_matter: list[tuple[str, tuple[Any, ...]]] = [
        (sql, (value,)) for sql, value in conditions if value is not None
    ]
    if wanted.created_from:
        that_matter += [(f"position >= {FIRST_SINCE}", (user_id, wanted.created_from))]
    if wanted.created_before:
        until = f"position < coalesce({FIRST_SINCE}, {END})"
        that_matter += [(until, (user_id, wanted.created_before))]
    if wanted.statuses:
        that_matter += [("status = wanted.status", ())]
    return (
        " AND ".join(sql for sql, _ in that_matter),
        tuple(chain.from_iterable(values for _, values in that_matter)),
    )


def _search(words: str) -> str:
    """As PostgreSQL's search takes it: quotes and a minus before a word mean something."""
    return " ".join(_term(minus, said) for minus, said in TERM.findall(words))


def _term(minus: str, said: str) -> str:
    """What has punctuation inside is several words: unwanted only one behind the other."""
    words = said.strip('"').translate(TO_BLANKS)
    return f'{minus}"{words}"' if minus or said.startswith('"') else words


def _row(columns: dict[str, Any]) -> ImageGenerationRow:
    parsed = {
        "spec": ImageSpec.model_validate_json(columns["spec"]),
        "reference_images": _references.validate_json(columns["reference_images"]),
        "mask": _mask.validate_json(columns["mask"]) if columns["mask"] else None,
        "calls": tuple(sorted(_calls.validate_json(columns["calls"]), key=lambda c: c.number)),
        "images": _images.validate_json(columns["images"]),
    }
    return ImageGenerationRow(**columns | parsed)
