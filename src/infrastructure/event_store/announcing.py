"""The announcer's duty: one process in the world says who is to be told, and hands that out."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any

import psycopg
from psycopg import AsyncConnection

from application.announcing import Announcer
from application.delivery_turns import DeliveryTurns
from application.ports.event_store import StoreUnavailableError, UnknownEventError
from application.ports.workers import QueueUnavailableError
from infrastructure.event_store.follower import POLL_SECONDS, breath_after
from infrastructure.event_store.leadership import leadership

log = logging.getLogger(__name__)

CONNECTIONS = 1
BREATH = 0.1  # seconds from one look at the log to the next: one finds what several made


class Announcing:
    """Announces whenever nobody else does; woken by whatever is recorded, and every second.

    It looks at the log first and then at what is due again, over other connections than the one
    that keeps the duty.
    """

    def __init__(self, database_url: str, announcer: Announcer, turns: DeliveryTurns) -> None:
        self._url = database_url
        self._announcer, self._turns = announcer, turns

    async def run(self) -> None:
        """Have the duty until cancelled; whatever goes wrong, try again."""
        while True:
            try:
                async with leadership(self._url, "announcer") as connection:
                    log.info("this worker announces")
                    await connection.execute("LISTEN stored_events")
                    self._announcer.begin_again()
                    await self._announce(connection)
            except UnknownEventError as error:
                log.warning("a newer release has to announce: %s", error)
            except (psycopg.Error, StoreUnavailableError) as error:
                log.warning("the announcer lost the database: %s", type(error).__name__)
            except Exception:
                log.exception("the announcer begins again")
            await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311  # spreads reconnects

    async def _announce(self, connection: AsyncConnection[Any]) -> None:
        now = asyncio.get_running_loop().time
        while True:
            began = now()
            await connection.execute("SELECT")  # a statement each second keeps the duty
            if not await self._hand_over():
                continue  # more is to be announced
            breath = breath_after(now() - began, shortest=BREATH)
            async for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                pass
            await asyncio.sleep(max(began + breath - now(), 0))

    async def _hand_over(self) -> bool:
        announced = await self._announcer.announce()
        try:
            await self._turns.hand_over(announced.new)
        except QueueUnavailableError as error:
            log.warning("%s", error)
        return announced.is_all
