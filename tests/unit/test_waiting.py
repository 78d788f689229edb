"""Waiting for the end of a generation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from uuid import UUID

import pytest

from application import waiting
from application.generations import Placed
from application.ports.event_store import StoreUnavailableError
from application.waiting import Waiting
from domain.aggregate import Event
from tests.studio import Studio, until


class OneWord:
    """News that tells of each event once, as PostgreSQL's do."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()

    async def watch(
        self,
        stream: UUID,
        *,
        kinds: Sequence[type[Event]] = (),
        after: int | None = None,
        every: float | None = None,
    ) -> AsyncGenerator[bool]:
        while True:
            await self.woken.wait()
            self.woken.clear()
            yield True


async def test_a_look_that_fails_is_repeated_without_other_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(waiting, "LOOK_AGAIN", 0.01)
    studio, news = Studio(), OneWord()
    placed = Placed(await studio.place(), repeated=False, position=1)
    gone = asyncio.Event()

    async def client_leaves() -> None:
        await gone.wait()

    answer = asyncio.create_task(
        Waiting(studio.store, news).for_end(placed, seconds=60, gone=client_leaves())
    )
    ended = await studio.perform(placed.id)
    studio.store.fail_next_read = [StoreUnavailableError("a connection was busy for too long")] * 2
    news.woken.set()
    await until(answer.done)
    generation = await answer
    assert generation is not None
    assert (generation.status, generation.id) == ("completed", ended.id)
    assert studio.store.fail_next_read == []
