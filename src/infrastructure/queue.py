"""arq, behind one file: the wake-up of workers, how many calls run at once, and the drain.

PostgreSQL is the truth about what is due: whatever Redis loses or repeats does no harm.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

from arq import Worker, func
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.typing import WorkerCoroutine
from redis.exceptions import RedisError

from application.ports import DueWork, QueueUnavailableError

log = logging.getLogger(__name__)

QUEUE = "darkroom:work"
EXPIRES = timedelta(minutes=10)
LONGEST_JOB = timedelta(hours=24)
POLL_SECONDS = 0.02
RECONNECT_SECONDS = 0.5


def _serialize(job: dict[str, Any]) -> bytes:
    return json.dumps(job, default=str).encode()


def _redis_settings(redis_url: str) -> RedisSettings:
    settings = RedisSettings.from_dsn(redis_url)
    settings.conn_retries = 0
    settings.conn_timeout = 2
    return settings


async def _connect(redis_url: str) -> ArqRedis:
    return await create_pool(
        _redis_settings(redis_url),
        job_serializer=_serialize,
        job_deserializer=json.loads,
        default_queue_name=QUEUE,
    )


class ArqQueue:
    """Hands work over to whichever worker is free."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._redis: ArqRedis | None = None

    async def hand_over(self, work: Sequence[DueWork]) -> None:
        """Wake somebody for each piece. Raises QueueUnavailableError.

        Each hand-over has an id of its own: arq refuses one that it believes to be running.
        """
        try:
            redis = self._redis = self._redis or await _connect(self._url)
            for piece in work:
                await redis.enqueue_job(
                    "perform",
                    str(piece.ref),
                    _job_id=f"{piece.ref}:{uuid4().hex[:12]}",
                    _expires=EXPIRES,
                )
        except (RedisError, OSError, TimeoutError) as error:
            raise QueueUnavailableError(
                "Redis cannot be reached; what is due waits in PostgreSQL."
            ) from error

    async def ping(self) -> None:
        """Raises QueueUnavailableError."""
        try:
            self._redis = self._redis or await _connect(self._url)
            await self._redis.ping()
        except (RedisError, OSError, TimeoutError) as error:
            raise QueueUnavailableError("Redis cannot be reached.") from error

    async def close(self) -> None:
        """Disconnect."""
        if self._redis is not None:
            await self._redis.aclose(close_connection_pool=True)


class ArqWorker:
    """Performs what is handed over, at most `slots` pieces at once.

    A call under way is never cancelled because Redis went away: arq's job is only the wake-up, the
    work itself is a task of ours. `stop` takes nothing new and waits for what is under way.
    """

    def __init__(
        self, redis_url: str, perform: Callable[[UUID], Awaitable[None]], *, slots: int
    ) -> None:
        self._url = redis_url
        self._perform = perform
        self._slots = slots
        self._free = asyncio.Semaphore(slots)
        self._under_way: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Take work until `stop`; reconnect to Redis as often as it goes."""
        while not self._stopping.is_set():
            worker = self._new_worker()
            stopped = asyncio.create_task(self._stopping.wait())
            running = asyncio.create_task(worker.async_run())
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
            await self._close(worker, running)
            if not self._stopping.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), RECONNECT_SECONDS)

    async def stop(self, *, within: timedelta) -> bool:
        """Take nothing new and wait for what is under way; False when some had to be cancelled."""
        self._stopping.set()
        if not self._under_way:
            return True
        _, late = await asyncio.wait(self._under_way, timeout=within.total_seconds())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return not late

    def _new_worker(self) -> Worker:
        return Worker(
            functions=[func(cast(WorkerCoroutine, self._job), name="perform", max_tries=1)],
            queue_name=QUEUE,
            redis_settings=_redis_settings(self._url),
            job_serializer=_serialize,
            job_deserializer=json.loads,
            handle_signals=False,
            max_jobs=self._slots,
            job_timeout=LONGEST_JOB,
            keep_result=0,
            poll_delay=POLL_SECONDS,
            health_check_interval=15,
            log_results=False,
        )

    async def _job(self, _: dict[str, Any], ref: str) -> None:
        task = asyncio.create_task(self._perform_in_slot(UUID(ref)))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        await asyncio.shield(task)

    async def _perform_in_slot(self, ref: UUID) -> None:
        async with self._free:
            try:
                await self._perform(ref)
            except Exception:
                log.exception("performing failed", extra={"generation": str(ref)})

    async def _close(self, worker: Worker, running: asyncio.Task[None]) -> None:
        worker.handle_sig(signal.SIGTERM)  # arq's way to stop polling; our tasks go on
        running.cancel()
        ended = await asyncio.gather(running, *worker.tasks.values(), return_exceptions=True)
        if isinstance(ended[0], Exception) and not self._stopping.is_set():
            log.warning("lost Redis, reconnecting: %s", type(ended[0]).__name__)
        with suppress(RedisError, OSError, AttributeError):
            await worker.pool.aclose(close_connection_pool=True)
