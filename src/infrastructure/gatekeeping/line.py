"""Whether Redis answers: nobody waits for long, and of silence is told once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import RedisError

log = logging.getLogger(__name__)

PATIENCE = 0.5  # seconds
ASK_AGAIN = 1.0
LOST = (RedisError, OSError, TimeoutError)

T = TypeVar("T")


class AwayError(Exception):
    """Redis did not answer, or was not asked because it did not a moment ago."""


class Line:
    """To a Redis that may be away, or hang."""

    def __init__(
        self, *, patience: float = PATIENCE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience, self._clock = patience, clock
        self._away = False
        self._ask_at = 0.0

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Raises AwayError. While it is away, one of those who ask finds out if it is back."""
        if self._away:
            if self._clock() < self._ask_at:
                raise AwayError
            self._ask_at = self._clock() + self._patience + ASK_AGAIN
        try:
            async with asyncio.timeout(self._patience):
                answer = await question()
        except LOST as error:
            self._lost(error)
            raise AwayError from error
        if self._away:
            self._away = False
            log.info("Redis answers again: circuits and limits are shared by all workers")
        return answer

    def _lost(self, error: Exception) -> None:
        if not self._away:
            log.warning(
                "Redis does not answer (%s): until it does, each process knows only its own"
                " circuits and limits",
                type(error).__name__,
            )
        self._away = True
        self._ask_at = self._clock() + ASK_AGAIN
