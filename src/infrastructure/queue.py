"""arq, behind one file: what wakes a worker.

PostgreSQL is the truth about what is due: whatever Redis loses or repeats does no harm.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast
from uuid import UUID, uuid4

from arq import Worker, func
from arq.connections import ArqRedis
from arq.typing import WorkerCoroutine
from arq.worker import Function

from application.ports.webhooks import DueDelivery
from application.ports.workers import DueWork, QueueUnavailableError
from application.tasks import end
from infrastructure.redis_line import LOST, disconnect, pool_of

log = logging.getLogger(__name__)

QUEUE = "darkroom:work"
WAKE_UPS = "darkroom:wake-ups"  # one for each piece handed over: who takes it looks at the queue
DELIVER = "deliver"
MOST_WAKE_UPS = 1000
CONNECTIONS = 8
EXPIRES = timedelta(minutes=10)
A_TRY = timedelta(seconds=20)  # at most, and some seconds more to record it
# How long a worker waits for a wake-up, at most; then it looks without. Well below REDIS_SECONDS.
LOOK_ANYHOW = 1.0
NO_SLOT_SECONDS = 0.02  # between looks for a free slot
CLOCKS_DIFFER = timedelta(minutes=5)  # at most, between machines
RECONNECT_SECONDS = 0.5
SECONDS_TO_CLOSE = 5.0

Perform = Callable[..., Awaitable[None]]
"""What is done with one piece of work of some kind, named by its ref and whatever else it takes."""


@dataclass(frozen=True)
class Line:
    """A queue of arq's, and the list that wakes those who wait for it."""

    queue: str
    wake_ups: str


WORK = Line(QUEUE, WAKE_UPS)
DELIVERIES = Line("darkroom:deliveries", "darkroom:deliveries:wake-ups")
"""A line of their own: they never take a generation's slot."""


def _serialize(job: dict[str, Any]) -> bytes:
    return json.dumps(job, default=str).encode()


def _redis(redis_url: str) -> ArqRedis:
    return ArqRedis(
        pool_of(redis_url, most=CONNECTIONS),
        job_serializer=_serialize,
        job_deserializer=json.loads,
        default_queue_name=QUEUE,
    )


class ArqQueue:
    """Hands work over to whichever worker is free; a try of a delivery takes `a_try` at most."""

    def __init__(self, redis_url: str, *, a_try: timedelta = A_TRY) -> None:
        self._redis = _redis(redis_url)
        self._a_try = a_try

    async def hand_over(self, work: Sequence[DueWork]) -> None:
        """Wake somebody for each piece. Raises QueueUnavailableError.

        Each hand-over has an id of its own: arq refuses one that it believes to be running.
        """
        try:
            for piece in work:
                id_ = f"{piece.ref}:{uuid4().hex[:12]}"
                await self._put(WORK, piece.kind, str(piece.ref), id_=id_)
        except LOST as error:
            raise _unavailable() from error

    async def deliver(
        self, due: Sequence[DueDelivery], *, by: str, again: Mapping[UUID, int]
    ) -> None:
        """Wake somebody for each. Raises QueueUnavailableError.

        While a try waits in the queue, handing it over again changes nothing. Not so after a leader
        that died: a worker that died with it may have left a job that arq believes to be running.
        """
        try:
            for one in due:
                id_ = f"{one.id}:{one.attempt}:{by}:{again.get(one.id, 0)}"
                await self._put(DELIVERIES, DELIVER, str(one.id), one.attempt, id_=id_)
        except LOST as error:
            raise _unavailable() from error

    async def begin(self, delivery: UUID, attempt: int) -> bool:
        """True also while Redis is away: a try that is made twice is harmless, one too few not."""
        try:
            key = f"{DELIVERIES.queue}:{delivery}:{attempt}"
            return bool(await self._redis.set(key, b"", nx=True, px=self._a_try))
        except LOST as error:
            log.warning("a try may be made twice: no Redis (%s)", type(error).__name__)
            return True

    async def _put(self, line: Line, name: str, *told: str | int, id_: str) -> None:
        await self._redis.enqueue_job(
            name,
            *told,
            _queue_name=line.queue,
            _job_id=id_,
            _defer_until=datetime.now(UTC) - CLOCKS_DIFFER,  # due at once, everywhere
            _expires=EXPIRES,
        )
        await self._wake_one(line)

    async def _wake_one(self, line: Line) -> None:
        async with self._redis.pipeline() as pipe:
            pipe.rpush(line.wake_ups, b"")
            pipe.ltrim(line.wake_ups, -MOST_WAKE_UPS, -1)
            pipe.expire(line.wake_ups, EXPIRES)
            await pipe.execute()

    async def ping(self) -> None:
        """Raises QueueUnavailableError."""
        try:
            await self._redis.ping()
        except LOST as error:
            raise QueueUnavailableError("Redis cannot be reached.") from error

    async def close(self) -> None:
        """Disconnect."""
        await disconnect(self._redis)


def _unavailable() -> QueueUnavailableError:
    return QueueUnavailableError("Redis cannot be reached; what is due waits in PostgreSQL.")


class _Worker(Worker):
    """arq's worker, which looks when it is woken, and takes only what finds a free slot at once.

    arq by itself only polls. Each wake-up is for one worker that waits; one that gets lost costs
    the time until somebody looks anyhow. Who is full takes none. A job that has just started its
    task is counted as a job and as a task for a moment, so that a worker with a slot may look full.
    """

    def __init__(self, *, free_slots: Callable[[], int], wake_ups: str, **settings: Any) -> None:
        self._free_slots = free_slots
        self._wake_ups = wake_ups
        self._owes_a_look = True  # as one that is new does, and one that was full
        super().__init__(**settings)

    @property
    def max_jobs(self) -> int:
        """How many jobs may be starting: arq's own limit, read before it takes each."""
        return self._free_slots()

    @max_jobs.setter
    def max_jobs(self, _: int) -> None:
        """arq sets what it was given; the slots decide."""

    async def _poll_iteration(self) -> None:
        if self._is_full():
            await asyncio.sleep(NO_SLOT_SECONDS)
        elif not self._owes_a_look:
            await self._wait_for_a_wake_up()
        self._owes_a_look = True
        await super()._poll_iteration()

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """The end of a look. Who is full by now has not started all, and owes another."""
        await super().start_jobs(job_ids)
        self._owes_a_look = self._is_full()

    async def _wait_for_a_wake_up(self) -> None:
        """Whose turn is next changes: work that one ignores every time reaches another."""
        seconds = random.uniform(LOOK_ANYHOW / 2, LOOK_ANYHOW)  # noqa: S311  # mixes turns
        await cast(Any, self.pool).blpop(
            [self._wake_ups], timeout=seconds
        )  # typed for whole seconds

    def _is_full(self) -> bool:
        return self.job_counter >= self.max_jobs


class ArqWorker:
    """Performs what is handed over, at most `slots` pieces at once.

    arq's job is only the wake-up: it starts a task of ours and ends. So a call under way is never
    cancelled because Redis went away, and a worker that is killed leaves no job behind that Redis
    believes to be running. `stop` takes nothing new and waits for what is under way. While
    `may_take` says no, everything is left to others.
    """

    def __init__(
        self,
        redis_url: str,
        perform: Mapping[str, Perform],
        *,
        slots: int,
        line: Line = WORK,
        may_take: Callable[[], bool] = lambda: True,
    ) -> None:
        self._url = redis_url
        self._perform = perform
        self._slots = slots
        self._line = line
        self._may_take = may_take
        self._under_way: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Take work until `stop`; reconnect to Redis as often as it goes."""
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            while not stopped.done():
                await self._run_until_lost(stopped)
                await asyncio.wait({stopped}, timeout=RECONNECT_SECONDS)
        finally:
            await end(stopped)

    async def stop(self, *, within: timedelta) -> bool:
        """Take nothing new and wait for what is under way; False when some had to be cancelled."""
        self._stopping.set()
        if not self._under_way:
            return True
        _, late = await asyncio.wait(self._under_way, timeout=within.total_seconds())
        await end(*late)
        return not late

    async def _run_until_lost(self, stopped: asyncio.Task[Any]) -> None:
        """Take work until Redis is lost or it is time to stop."""
        worker = self._new_worker()
        running = asyncio.create_task(worker.async_run())
        try:
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._close(worker, running)

    def _new_worker(self) -> Worker:
        return _Worker(
            free_slots=self._free_slots,
            wake_ups=self._line.wake_ups,
            functions=[self._function(kind, perform) for kind, perform in self._perform.items()],
            queue_name=self._line.queue,
            redis_pool=_redis(self._url),
            job_serializer=_serialize,
            job_deserializer=json.loads,
            handle_signals=False,
            max_jobs=self._slots,
            keep_result=0,
            poll_delay=0,  # it waits in each look
            health_check_interval=15,
            log_results=False,
        )

    def _free_slots(self) -> int:
        return self._slots - len(self._under_way) if self._may_take() else 0

    def _function(self, kind: str, perform: Perform) -> Function:
        async def start(_: dict[str, Any], ref: str, *more: Any) -> None:
            self._start(partial(perform, UUID(ref), *more), ref)

        return func(cast(WorkerCoroutine, start), name=kind, max_tries=1)

    def _start(self, perform: Callable[[], Awaitable[None]], ref: str) -> None:
        if self._stopping.is_set() or len(self._under_way) >= self._slots:
            return  # it is handed over again when nobody claims it
        task = asyncio.create_task(self._perform_one(perform, ref))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _perform_one(self, perform: Callable[[], Awaitable[None]], ref: str) -> None:
        try:
            await perform()
        except Exception:
            log.exception("performing failed", extra={"ref": ref})

    async def _close(self, worker: Worker, running: asyncio.Task[None]) -> None:
        worker.handle_sig(signal.SIGTERM)  # arq's way to stop polling; our tasks go on
        await asyncio.wait({running}, timeout=SECONDS_TO_CLOSE)
        ended = await end(running, *worker.tasks.values())
        if isinstance(ended[0], Exception):
            log.warning("lost Redis, reconnecting: %s", type(ended[0]).__name__)
        await disconnect(worker.pool)
