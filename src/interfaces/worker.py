"""The worker process: performs generations, and one of them has the dispatcher's duty."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

from application.perform import since_boot
from application.ports.event_store import StoreUnavailableError
from application.ports.webhooks import WebhooksOffError
from application.ports.workers import WorkBoard
from application.tasks import end
from infrastructure.container import Container
from infrastructure.settings import Settings
from interfaces.rest.webhook_bodies import body_of

log = logging.getLogger(__name__)

DRAIN_MARGIN = 15.0  # seconds to store and record what a call answered
LOOK_FOR_THE_STORE_EVERY = 1.0
BEAT_AGAIN = 1.0  # seconds after a beat that failed, at most
DELIVERIES_DRAIN = timedelta(seconds=20)
SURE_FOR = 0.75  # of a lease


class Incarnation:
    """This worker as the work board knows it; once its lease has ended, it is somebody new.

    `clock` tells seconds, also those in which the process was stopped.
    """

    def __init__(
        self,
        board: WorkBoard,
        *,
        slots: int,
        lease: timedelta,
        clock: Callable[[], float] = since_boot,
    ) -> None:
        self._board = board
        self._slots = slots
        self._lease = lease
        self._clock = clock
        self._sure_until = clock()
        self.id = uuid4()

    async def open(self) -> None:
        """Begin to take work."""
        asked_at = self._clock()
        await self._board.register(self.id, slots=self._slots, lease=self._lease)
        self._is_sure_from(asked_at)

    def may_take(self) -> bool:
        """Not while it drains, nor when its lease was not extended for so long that it may end.

        Who is cut off from PostgreSQL and not from Redis would keep work from all the others.
        """
        return self._slots > 0 and self._clock() < self._sure_until

    def _is_sure_from(self, asked_at: float) -> None:
        self._sure_until = asked_at + SURE_FOR * self._lease.total_seconds()

    async def beat_for_ever(self) -> None:
        """Extend the lease well before it ends, whatever goes wrong."""
        every = self._lease.total_seconds() / 4
        pause = every
        while True:
            await asyncio.sleep(pause)
            asked_at = self._clock()
            try:
                await self._beat(asked_at)
                pause = max(every - (self._clock() - asked_at), 0)
            except StoreUnavailableError as error:
                log.warning("the lease cannot be extended: %s", error)
                pause = min(every, BEAT_AGAIN)
            except Exception:
                log.exception("the lease cannot be extended")
                pause = min(every, BEAT_AGAIN)

    async def _beat(self, asked_at: float) -> None:
        if await self._board.extend(self.id, lease=self._lease):
            self._is_sure_from(asked_at)
        else:
            log.warning("this worker was given up: it goes on as a new one")
            self._sure_until = asked_at
            self.id = uuid4()
            await self.open()

    async def drain(self) -> None:
        """Take nothing new."""
        self._slots = 0
        await self._best_effort(self._board.drain(self.id))

    async def close(self) -> None:
        """Give back what is still held."""
        await self._best_effort(self._board.retire(self.id))

    async def _best_effort(self, farewell: Awaitable[None]) -> None:
        try:
            await farewell
        except StoreUnavailableError as error:
            log.warning("leaving without a word to the store: %s", error)
        except Exception:
            log.exception("leaving without a word to the store")


async def run(settings: Settings, stopping: asyncio.Event) -> None:
    """The whole worker process, until `stopping` is set; then it drains.

    It drains too when one of its duties fails, and then raises the duty's error.
    """
    container = Container(settings=settings)
    store, board, queue = container.store(), container.board(), container.queue()
    try:
        if await _opened(container, stopping):
            await container.make_providers_ready()
            await container.worker_news().open()
            lease = timedelta(seconds=settings.lease_seconds)
            incarnation = Incarnation(board, slots=settings.worker_slots, lease=lease)
            await incarnation.open()
            await _work(container, settings, incarnation, stopping)
    finally:
        await container.worker_news().close()
        await container.gate().close()
        await container.close_providers()
        await queue.close()
        await container.image_store().close()
        await store.close()


async def _opened(container: Container, stopping: asyncio.Event) -> bool:
    """Wait for the database; False when told to stop meanwhile."""
    while not stopping.is_set():
        try:
            await container.store().open()
            await container.switches().look()
            return True
        except StoreUnavailableError:
            log.warning("waiting for the database")
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), LOOK_FOR_THE_STORE_EVERY)
    return False


def _can_sign(container: Container) -> bool:
    """Who cannot sign leaves webhooks to workers that can, and says so."""
    try:
        container.webhook_secrets().refuse_if_off()
    except WebhooksOffError:
        log.warning("this worker leaves webhooks to others: it has no DARKROOM_SECRET_KEY")
        return False
    return True


async def _work(
    container: Container, settings: Settings, incarnation: Incarnation, stopping: asyncio.Event
) -> None:
    performer, deletions = container.performer(), container.deletions()

    async def generate(ref: UUID) -> None:
        await performer.perform(ref, incarnation.id)

    async def delete(ref: UUID) -> None:
        await deletions.perform(ref, incarnation.id)

    worker = container.arq_worker(
        perform={"generate": generate, "delete": delete}, may_take=incarnation.may_take
    )
    handing_out = [asyncio.create_task(container.dispatching().run())]
    senders = []
    if _can_sign(container):
        handing_out.append(asyncio.create_task(container.announcing().run()))
        deliver = container.deliverer(body=body_of).deliver
        senders.append(container.arq_deliverer(deliver=deliver, may_take=incarnation.may_take))
    duties = [
        *handing_out,
        *(asyncio.create_task(one.run()) for one in (worker, *senders)),
        asyncio.create_task(incarnation.beat_for_ever()),
        asyncio.create_task(container.switches().follow(container.worker_news())),
    ]
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait([told, *duties], return_when=asyncio.FIRST_COMPLETED)
    for duty in handing_out:
        duty.cancel()
    performer.start_no_more_calls()
    await incarnation.drain()
    drained, *_ = await asyncio.gather(
        worker.stop(within=timedelta(seconds=settings.call_seconds + DRAIN_MARGIN)),
        *(one.stop(within=DELIVERIES_DRAIN) for one in senders),  # the rest is made again
    )
    if not drained:
        log.error("calls under way were abandoned: they took longer than a call may take")
    ended = await end(told, *duties)
    await incarnation.close()
    for error in ended:
        if isinstance(error, Exception):
            raise error
