"""What users and end users have used of the quota, from the counters that the append keeps."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from domain.quota import Allowance, WindowType, windows_at
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


class PostgresQuota:
    """Reads counters and limits; `limits` hold for whoever has none of their own."""

    def __init__(self, fetch: Fetch, limits: Mapping[WindowType, int | None]) -> None:
        self._fetch = fetch
        self._limits = limits

    async def of(
        self, user_id: UUID, now: datetime, *, end_user_id: UUID | None = None
    ) -> list[Allowance]:
        """Of the windows of this user that are open at `now`, then of those of the end user.

        Raises StoreUnavailableError.
        """
        windows = windows_at(now, end_user=end_user_id is not None)
        owners = [end_user_id if window.is_end_users else user_id for window in windows]
        types = [window.type for window in windows]
        starts = [window.starts_at for window in windows]
        rows = await self._fetch(QUERY, (owners, types, starts))
        return [
            Allowance(window, own if has_own else self._limits.get(window.type), used)
            for window, (used, has_own, own) in zip(windows, rows, strict=True)
        ]
