"""Erasing what deleted generations stored, while things go wrong."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import pytest

from application.deletion import Deletions
from application.pictures import Pictures
from application.ports.event_store import Command, StoreUnavailableError
from infrastructure.image_editing import PillowEditor
from infrastructure.images import PillowInspector
from tests.fakes import FakeSpool, MemoryEventStore
from tests.fakes_images import FakeImageStore
from tests.generations import new_generation, request_command


class StoreGoesMeanwhile(FakeImageStore):
    """While it erases, the event store or it itself fails as told."""

    def __init__(self, store: MemoryEventStore, *, then: Sequence[Exception]) -> None:
        super().__init__()
        self._store, self._then = store, list(then)

    async def delete(self, keys: Sequence[str]) -> None:
        if self._then and not isinstance(self._then[0], StoreUnavailableError):
            raise self._then.pop()
        self._store.fail_next, self._then = self._then, []
        await super().delete(keys)


async def a_deletion(then: Sequence[Exception]) -> tuple[MemoryEventStore, Deletions, Command]:
    store = MemoryEventStore()
    pictures = Pictures(
        StoreGoesMeanwhile(store, then=then), FakeSpool(), PillowInspector(), PillowEditor()
    )
    deletions = Deletions(store=store, pictures=pictures)
    deleted = new_generation(store.now())
    await store.append(request_command(deleted))
    return store, deletions, Command(work=deletions.work(deleted.id, deleted.user_id))


async def test_a_store_that_goes_away_leaves_no_deletion_held_for_ever() -> None:
    away = StoreUnavailableError("away")
    store, deletions, due = await a_deletion(then=[away, away])
    await store.append(due)
    worker = uuid4()
    await store.board.register(worker, slots=1, lease=timedelta(minutes=1))

    await deletions.perform(due.work.ref, worker)

    assert [kind for kind, _ in store.work] == ["generate"]


async def test_the_unexpected_puts_a_deletion_back_for_later() -> None:
    store, deletions, due = await a_deletion(then=[ValueError("a key that nobody understands")])
    await store.append(due)
    worker = uuid4()
    await store.board.register(worker, slots=1, lease=timedelta(minutes=1))

    with pytest.raises(ValueError, match="nobody understands"):
        await deletions.perform(due.work.ref, worker)

    (row,) = [row for (kind, _), row in store.work.items() if kind == "delete"]
    assert (row.worker, row.due_at > store.now()) == (None, True)
