"""While Supabase Storage is away one request at a time finds out whether it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from application.pictures import IMAGE_STORE_SECONDS
from application.ports.images import ImageStoreUnavailableError
from infrastructure.image_stores.supabase_errors import SILENT, BusyError, CrowdedError, SilentError

PATIENCE = IMAGE_STORE_SECONDS - 2  # seconds for all that one thing takes, so that it says why not
AWAY_AFTER = 5.0  # seconds in which nothing went well

T = TypeVar("T")


class Outage:
    """Bounds what is asked in time, and spares everybody else the waiting when it is in vain."""

    def __init__(self) -> None:
        self._why: str | None = None  # as long as it is away
        self._went_well_at = -AWAY_AFTER
        self._somebody_tries = False

    async def in_time(self, asking: Coroutine[Any, Any, T]) -> T:
        """What it comes to, if it does soon. Raises ImageStoreUnavailableError, or what it does."""
        if self._why is not None and self._somebody_tries:
            asking.close()
            raise ImageStoreUnavailableError(self._why)
        is_away = self._why is not None
        self._somebody_tries |= is_away
        try:
            return await self._tried(asking)
        finally:
            if is_away:
                self._somebody_tries = False

    async def _tried(self, asking: Coroutine[Any, Any, T]) -> T:
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await asking
        except TimeoutError:
            self._went_wrong(SILENT)
            raise ImageStoreUnavailableError(SILENT) from None
        except (BusyError, SilentError) as error:
            self._went_wrong(str(error))
            raise
        except CrowdedError:
            raise
        except Exception:
            self._went_well()  # it answers, and has nothing to give, or refuses
            raise
        self._went_well()
        return answer

    def _went_well(self) -> None:
        self._why, self._went_well_at = None, time.monotonic()

    def _went_wrong(self, why: str) -> None:
        if time.monotonic() - self._went_well_at >= AWAY_AFTER:
            self._why = why
