"""Which log this is: positions mean nothing in another one."""

from __future__ import annotations

from uuid import UUID

from infrastructure.read_models import Fetch


class PostgresLog:
    """The log's own record of itself."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def identity(self) -> UUID:
        """Made with the log; a restored copy gets a new one. Raises StoreUnavailableError."""
        rows = await self._fetch("SELECT identity FROM log", ())
        identity: UUID = rows[0][0]
        return identity
