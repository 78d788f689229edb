"""An object at Supabase that is removed for its age, while somebody puts it again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from hashlib import sha256
from uuid import uuid4

import pytest

from application.ports.images import ImageStoreUnavailableError
from domain.image import reference_key
from infrastructure.image_stores import supabase_outage, supabase_removals
from infrastructure.image_stores.supabase import SupabaseImageStore
from tests.fakes_images import small_png
from tests.image_stores import REFERENCES, supabase_store
from tests.processes import eventually
from tests.servers.protocol import serving
from tests.servers.supabase import SupabaseServer

DATA = small_png("a reference")
A_DAY = timedelta(days=1)


class Held:
    """The first request of a kind, which reaches the server and is not done until it may be."""

    def __init__(self, server: SupabaseServer, request: str) -> None:
        self._pattern = re.compile(request)
        self._came, self._may_go = asyncio.Event(), asyncio.Event()
        server.before = self._before

    async def _before(self, request: str) -> None:
        if self._pattern.fullmatch(request) and not self._came.is_set():
            self._came.set()
            await self._may_go.wait()

    async def came(self) -> None:
        await self._came.wait()

    def let_go(self) -> None:
        self._may_go.set()


class Removing:
    """An old object, in the hands of somebody who removes it and somebody who puts it again."""

    def __init__(self, server: SupabaseServer, url: str) -> None:
        self.server = server
        self.key = reference_key(uuid4(), sha256(DATA).hexdigest(), "image/png")
        self.remover, self.putter = supabase_store(url), supabase_store(url)

    async def lies_there(self, **time: float) -> None:
        await self.put()
        self.server.let_it_age(**time)

    async def put(self) -> None:
        await self.putter.put(self.key, DATA, "image/png")

    async def forget(self) -> bool:
        return await self.remover.forget(self.key, older_than=A_DAY)

    async def asked(self, request: str) -> None:
        """Until the server has got such a request."""

        async def came() -> bool:
            seen = self.server.switches.seen
            return any(re.fullmatch(request, noted.request) for noted in seen)

        await eventually(came, within=10, why="it was not asked")

    @property
    def names(self) -> list[str]:
        return sorted(self.server.buckets[REFERENCES].objects)


@pytest.fixture
async def removing() -> AsyncIterator[Removing]:
    server = SupabaseServer()
    async with serving(server) as url:
        removing = Removing(server, url)
        await removing.lies_there(days=2)
        yield removing
        for store in (removing.remover, removing.putter):
            await store.close()


async def test_who_puts_it_while_it_is_removed_has_it_there_in_the_end(removing: Removing) -> None:
    held = Held(removing.server, f"DELETE .*/{REFERENCES}")
    forgetting = asyncio.create_task(removing.forget())
    await held.came()
    removing.server.switches.seen.clear()
    putting = asyncio.create_task(removing.put())
    await removing.asked("PUT .*")
    assert not putting.done()
    held.let_go()
    assert await forgetting
    await putting
    assert removing.names == [removing.key]


async def test_who_puts_it_before_the_last_look_keeps_it(removing: Removing) -> None:
    held = Held(removing.server, "POST .*/removing/.*")
    forgetting = asyncio.create_task(removing.forget())
    await held.came()
    await removing.put()
    held.let_go()
    assert not await forgetting
    assert removing.names == [removing.key]


async def test_of_two_who_remove_it_one_does(removing: Removing) -> None:
    held = Held(removing.server, f"DELETE .*/{REFERENCES}")
    first = asyncio.create_task(removing.forget())
    await held.came()
    assert not await removing.putter.forget(removing.key, older_than=A_DAY)
    held.let_go()
    assert await first
    assert removing.names == []


async def test_a_removal_is_not_asked_for_again(removing: Removing) -> None:
    removing.server.switches.tell(next=["lose_answer"], only="DELETE .*")
    with pytest.raises(ImageStoreUnavailableError):
        await removing.forget()
    deletions = [noted for noted in removing.server.switches.seen if noted.method == "DELETE"]
    assert len(deletions) == 1
    await removing.put()
    assert removing.key in removing.names


async def all_leftovers(store: SupabaseImageStore) -> int:
    return sum([seen.leftovers async for seen in store.walk(at_once=10)])


async def test_what_a_killed_remover_said_holds_nobody_for_long(
    removing: Removing, monkeypatch: pytest.MonkeyPatch
) -> None:
    removing.server.switches.tell(next=["drop"], only="DELETE .*")
    with pytest.raises(ImageStoreUnavailableError):
        await removing.forget()
    said = f"removing/{removing.key}"
    assert removing.names == [removing.key, said]
    monkeypatch.setattr(supabase_outage, "PATIENCE", 0.3)
    with pytest.raises(ImageStoreUnavailableError):
        await removing.put()
    removing.server.let_it_age(minutes=3)
    await removing.put()
    assert removing.names == [removing.key]


async def test_what_killed_removers_said_is_cleared_away(removing: Removing) -> None:
    removing.server.switches.tell(next=["drop"], only="DELETE .*")
    with pytest.raises(ImageStoreUnavailableError):
        await removing.forget()
    assert await all_leftovers(removing.remover) == 0
    removing.server.let_it_age(minutes=3)
    assert await all_leftovers(removing.remover) == 1
    assert removing.names == [removing.key]


async def test_who_was_stopped_after_he_said_it_removes_nothing(
    removing: Removing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supabase_removals, "PATIENCE", -1.0)
    assert not await removing.forget()
    said = f"removing/{removing.key}"
    assert removing.names == [removing.key, said], "by now it may be another one's"
    removing.server.let_it_age(minutes=3)
    assert [seen.leftovers async for seen in removing.remover.walk(at_once=9)][-1] == 1
    assert removing.names == [removing.key]


async def test_many_who_put_and_remove_it_leave_it_there(removing: Removing) -> None:
    async def forget_for_ever(older_than: timedelta) -> None:
        while True:
            removing.server.let_it_age(hours=1)
            await removing.remover.forget(removing.key, older_than=older_than)

    async def put_often(put: Callable[[], Awaitable[None]]) -> None:
        for _ in range(20):
            await put()
            there = await removing.putter.get(removing.key)
            assert there == DATA, "what was just put is not a day old"

    forgetting = asyncio.create_task(forget_for_ever(timedelta(hours=12)))
    await put_often(removing.put)
    forgetting.cancel()
    await asyncio.gather(forgetting, return_exceptions=True)
