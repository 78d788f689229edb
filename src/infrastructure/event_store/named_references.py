"""Which reference images and masks some generation names that is not deleted: by the history."""

from __future__ import annotations

from collections.abc import Sequence

from infrastructure.read_models import Fetch
from infrastructure.read_models.image_generations import READ_MODEL

# In one snapshot: whether the history has all that is older than an hour, and what it names. An
# aggregate that it could not project might name anything.
NAMED = f"""
SELECT (SELECT coalesce(next.recorded_at > log_now_v1() - interval '1 hour', true)
          FROM follower_positions f
          LEFT JOIN LATERAL (SELECT recorded_at FROM stored_events
                              WHERE notification_id > f.position
                              ORDER BY notification_id LIMIT 1) next ON true
         WHERE f.name = %s AND f.version = %s AND f.log_identity = (SELECT identity FROM log))
       AND NOT EXISTS (SELECT FROM parked_aggregates WHERE name = %s AND version = %s),
       ARRAY(SELECT key FROM unnest(%s::text[]) AS asked(key)
              WHERE EXISTS (SELECT FROM {READ_MODEL.schema}.image_generations
                             WHERE reference_images_count > 0 AND deleted_at IS NULL
                               AND reference_images @> jsonb_build_array(
                                                       jsonb_build_object('key', key)))
                 OR EXISTS (SELECT FROM {READ_MODEL.schema}.image_generations
                             WHERE mask IS NOT NULL AND mask ->> 'key' = key
                               AND deleted_at IS NULL))
"""  # noqa: S608  # a constant


class PostgresNamedReferences:
    """Asks the history, when it knows enough."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def among(self, keys: Sequence[str]) -> set[str] | None:
        history = READ_MODEL.name, READ_MODEL.version
        rows = await self._fetch(NAMED, (*history, *history, list(keys)))
        is_known, named = rows[0]
        return set(named) if is_known else None
