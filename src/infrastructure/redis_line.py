"""Connections to Redis, and whether it answers: nobody waits for long, of silence is told once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

REDIS_SECONDS = 2.0  # to connect, for an answer, and for a connection to be free
PATIENCE = 0.5  # seconds, of who asks over a line
ASK_AGAIN = 1.0
LOST = (RedisError, OSError, TimeoutError)

T = TypeVar("T")


def pool_of(redis_url: str, *, most: int, **options: Any) -> BlockingConnectionPool:
    """At most so many connections; who wants one more waits."""
    return BlockingConnectionPool.from_url(
        redis_url,
        max_connections=most,
        timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
        socket_timeout=REDIS_SECONDS,
        socket_keepalive=True,
        **options,
    )


async def disconnect(redis: Redis) -> None:
    """And from now on connect no more."""
    with suppress(*LOST):
        await redis.aclose(close_connection_pool=True)


class AwayError(Exception):
    """Redis did not answer, or was not asked because it did not a moment ago."""


class Line:
    """To a Redis that may be away, or hang; `shared` is what the processes share there."""

    def __init__(
        self,
        *,
        shared: str = "circuits and limits",
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared, self._patience, self._clock = shared, patience, clock
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
            log.info("Redis answers again: %s are shared by all processes", self._shared)
        return answer

    def _lost(self, error: Exception) -> None:
        if not self._away:
            log.warning(
                "Redis does not answer (%s): until it does, each process knows only its own %s",
                type(error).__name__,
                self._shared,
            )
        self._away = True
        self._ask_at = self._clock() + ASK_AGAIN
