"""Coalesces the commands of one process into batches for `append_v1`, over one connection."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor, errors
from pydantic_core import from_json

from application.ports.event_store import StoreBusyError, StoreUnavailableError
from infrastructure.event_store.connections import LOST, connect

log = logging.getLogger(__name__)

CONNECTIONS = 1
LARGEST_BATCH = 64
MOST_WAITING = 5000
PATIENCE = 5.0
STATEMENT_TIMEOUT = 10

# The batch goes as one JSON text and comes back as one: nothing is escaped, or parsed in between.
APPEND = """
SELECT array_to_json(append_v1(ARRAY(SELECT jsonb_array_elements($1::jsonb))))::text
"""

Fields = dict[str, Any]


@dataclass(eq=False)
class _Waiting:
    text: str
    outcome: asyncio.Future[Fields]

    def answer(self, fields: Fields) -> None:
        if not self.outcome.done():
            self.outcome.set_result(fields)

    def fail(self, error: BaseException) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


class Appender:
    """Sends what arrived while its last call was in flight as the next batch; idle, at once.

    After a lost connection it sends the same commands again, which is safe: those recorded
    already are recognised. A command that found no answer for `patience` seconds is given up with
    StoreUnavailableError; one that nobody waits for any more is not sent.
    """

    def __init__(self, database_url: str, *, patience: float = PATIENCE) -> None:
        self._url = database_url
        self._patience = patience
        self._waiting: OrderedDict[_Waiting, None] = OrderedDict()
        self._connection: AsyncConnection[Any] | None = None
        self._cursor: AsyncRawCursor[tuple[str]] | None = None
        self._sending: asyncio.Task[None] | None = None

    async def append(self, text: str) -> Fields:
        """Record one encoded command; its outcome, still encoded."""
        if len(self._waiting) >= MOST_WAITING:
            raise StoreBusyError(
                f"{MOST_WAITING} commands wait to be recorded. Slow down and try again."
            )
        loop = asyncio.get_running_loop()
        waiting = _Waiting(text, loop.create_future())
        self._waiting[waiting] = None
        if self._sending is None or self._sending.done():
            # In no request's context: it goes on for whoever comes next.
            self._sending = asyncio.create_task(self._send_all(), context=Context())
        giving_up = loop.call_later(self._patience, waiting.fail, _unavailable())
        try:
            return await waiting.outcome
        finally:
            giving_up.cancel()
            self._waiting.pop(waiting, None)

    async def close(self) -> None:
        """Record what waits, then disconnect."""
        try:
            if self._sending is not None:
                await self._sending
        finally:
            await self._disconnect()

    async def _send_all(self) -> None:
        while self._waiting:
            size = min(LARGEST_BATCH, len(self._waiting))
            await self._send([self._waiting.popitem(last=False)[0] for _ in range(size)])

    async def _send(self, taken: list[_Waiting]) -> None:
        batch = [waiting for waiting in taken if not waiting.outcome.done()]
        if not batch:
            return
        try:
            outcomes = await self._call(batch)
        except (*LOST, TimeoutError) as error:
            await self._send_again(batch, error)
        except psycopg.Error as error:
            await self._isolate(batch, error)
        except Exception as error:
            log.exception("a batch could not be recorded")
            for waiting in batch:
                waiting.fail(error)
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                waiting.answer(outcome)

    async def _call(self, batch: list[_Waiting]) -> list[Fields]:
        cursor = await self._connected()
        commands = f"[{','.join(waiting.text for waiting in batch)}]"
        async with asyncio.timeout(STATEMENT_TIMEOUT + 1):
            await cursor.execute(APPEND, (commands,), prepare=True)
            rows = await cursor.fetchall()
        outcomes: list[Fields] = from_json(rows[0][0])
        return outcomes

    async def _connected(self) -> AsyncRawCursor[tuple[str]]:
        if self._cursor is None or self._connection is None or self._connection.closed:
            self._connection = await connect(
                self._url, "darkroom append", statement_timeout=f"{STATEMENT_TIMEOUT}s"
            )
            self._cursor = AsyncRawCursor(self._connection)
        return self._cursor

    async def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                await self._connection.close()
            self._connection = self._cursor = None

    async def _send_again(self, batch: list[_Waiting], error: Exception) -> None:
        log.warning("the append is repeated: %s", type(error).__name__)
        if not isinstance(error, errors.LockNotAvailable | errors.QueryCanceled):
            await self._disconnect()
        patient = [waiting for waiting in batch if not waiting.outcome.done()]
        for waiting in reversed(patient):
            self._waiting[waiting] = None
            self._waiting.move_to_end(waiting, last=False)
        if patient:
            await asyncio.sleep(random.uniform(0.05, 0.3))  # noqa: S311  # spreads reconnects

    async def _isolate(self, batch: list[_Waiting], error: psycopg.Error) -> None:
        """One command that PostgreSQL cannot even read must not take the others with it."""
        if len(batch) == 1:
            batch[0].fail(error)
            return
        for waiting in batch:
            await self._send([waiting])


def _unavailable() -> StoreUnavailableError:
    return StoreUnavailableError(
        "The event store did not answer in time. Try again: with the same Idempotency-Key nothing "
        "happens twice."
    )
