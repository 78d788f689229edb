"""What users and end users have used of the quota, from the counters that the append keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from domain.quota import WindowType, windows_at
from infrastructure.read_models import Fetch

QUERY = """
SELECT coalesce(c.units, 0), own.user_id IS NOT NULL, own.units
  FROM unnest(%s::uuid[], %s::text[], %s::timestamptz[])
       WITH ORDINALITY AS w(owner, type, starts_at, place)
  LEFT JOIN quota_counters c ON c.user_id = w.owner
                            AND c.window_type = w.type AND c.starts_at = w.starts_at
  LEFT JOIN quota_limits own ON own.user_id = w.owner AND own.window_type = w.type
 ORDER BY place
"""


@dataclass(frozen=True)
class QuotaWindowRow:
    """Units of one window; without a limit both `limit` and `remaining` are None."""

    type: WindowType
    limit: int | None
    used: int
    remaining: int | None
    starts_at: datetime
    resets_at: datetime


class PostgresQuota:
    """Reads counters and limits; `limits` hold for whoever has none of their own."""

    def __init__(self, fetch: Fetch, limits: Mapping[WindowType, int | None]) -> None:
        self._fetch = fetch
        self._limits = limits

    async def of(
        self, user_id: UUID, now: datetime, *, end_user_id: UUID | None = None
    ) -> list[QuotaWindowRow]:
        """The windows of this user that are open at `now`, then those of the end user.

        Raises StoreUnavailableError.
        """
        windows = windows_at(now, end_user=end_user_id is not None)
        owners = [end_user_id if window.is_end_users else user_id for window in windows]
        types = [window.type for window in windows]
        starts = [window.starts_at for window in windows]
        rows = await self._fetch(QUERY, (owners, types, starts))
        return [
            _row(window.type, used, limit, window.starts_at, window.ends_at)
            for window, (used, has_own, own) in zip(windows, rows, strict=True)
            for limit in (own if has_own else self._limits.get(window.type),)
        ]


def _row(
    type_: WindowType, used: int, limit: int | None, starts_at: datetime, resets_at: datetime
) -> QuotaWindowRow:
    remaining = None if limit is None else max(limit - used, 0)
    return QuotaWindowRow(type_, limit, used, remaining, starts_at, resets_at)
