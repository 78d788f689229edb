"""Aggregates that are kept are never older than a moment when they are relied on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID, uuid4

import pytest

from application import fresh
from application.fresh import FRESH, IN_USE, Fresh
from application.ports.event_store import Recorded, StoreUnavailableError
from domain.api_key import ApiKey
from domain.user import User
from tests.fakes import MemoryEventStore
from tests.meanwhile import meanwhile
from tests.people import new_user, record


class CountingStore(MemoryEventStore):
    """Tells what was asked of it, and can be slow."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.asked: list[dict[UUID, int]] = []
        self.slow: asyncio.Event | None = None

    async def later(self, behind: Mapping[UUID, int]) -> Sequence[Recorded]:
        self.asked.append(dict(behind))
        found = await super().later(behind)
        if self.slow is not None:
            await self.slow.wait()
        return found


class Kept:
    """With a clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.store = CountingStore()
        self.fresh = Fresh(self.store, clock=lambda: self.seconds)


@pytest.fixture
def kept() -> Kept:
    return Kept()


async def test_a_stream_is_read_once_and_then_what_is_new(kept: Kept) -> None:
    user = await new_user(kept.store)
    for _ in range(3):
        assert await kept.fresh.get(User, user.id) is not None
    assert kept.store.asked == [{user.id: -1}]
    kept.seconds += FRESH
    user.suspend(by=user.id)
    await record(kept.store, user)
    found = await kept.fresh.get(User, user.id)
    assert found is not None
    assert found.is_suspended
    assert kept.store.asked[1:] == [{user.id: 1}]


async def test_as_of_now_is_asked_now(kept: Kept) -> None:
    user = await new_user(kept.store)
    await kept.fresh.get(User, user.id)
    await kept.fresh.get(User, user.id, as_of_now=True)
    kept.fresh.look_again(user.id)
    await kept.fresh.get(User, user.id)
    assert len(kept.store.asked) == 3


@pytest.mark.parametrize("as_of_now", [False, True])
async def test_a_look_that_began_before_a_decision_is_not_relied_on(
    kept: Kept, as_of_now: bool
) -> None:
    user = await new_user(kept.store)
    await kept.fresh.get(User, user.id)
    kept.seconds += FRESH
    kept.store.slow = asyncio.Event()
    early = asyncio.create_task(kept.fresh.get(User, user.id, as_of_now=as_of_now))
    while len(kept.store.asked) < 2:
        await asyncio.sleep(0)
    user.suspend(by=user.id)
    await record(kept.store, user)
    kept.fresh.look_again(user.id)
    kept.store.slow.set()
    await early
    found = await kept.fresh.get(User, user.id)
    assert found is not None
    assert found.is_suspended


async def test_a_look_that_has_not_begun_is_told_to_whoever_waits_for_it(kept: Kept) -> None:
    user = await new_user(kept.store)
    asking = asyncio.create_task(kept.fresh.get(User, user.id))
    await asyncio.sleep(0)  # its look is to begin next
    kept.fresh.look_again(user.id)
    assert await asking is not None


async def test_what_was_told_late_is_as_old_as_the_question(kept: Kept) -> None:
    user = await new_user(kept.store)
    kept.store.slow = asyncio.Event()
    asking = asyncio.create_task(kept.fresh.get(User, user.id))
    while not kept.store.asked:
        await asyncio.sleep(0)
    kept.seconds += FRESH
    kept.store.slow.set()
    await asking
    await kept.fresh.get(User, user.id)
    assert len(kept.store.asked) == 2


async def test_who_asks_at_once_shares_one_look(kept: Kept) -> None:
    user = await new_user(kept.store)
    found = await asyncio.gather(*(kept.fresh.get(User, user.id) for _ in range(30)))
    assert {one.version for one in found if one is not None} == {1}
    assert len(kept.store.asked) == 1


async def test_a_look_that_began_too_long_ago_is_not_shared(kept: Kept) -> None:
    user = await new_user(kept.store)
    kept.store.slow = asyncio.Event()
    first = asyncio.create_task(kept.fresh.get(User, user.id))
    while not kept.store.asked:
        await asyncio.sleep(0)
    kept.seconds += FRESH
    second = asyncio.create_task(kept.fresh.get(User, user.id))
    while len(kept.store.asked) < 2:
        await asyncio.sleep(0)
    kept.store.slow.set()
    assert await first is await second
    assert len(kept.store.asked) == 2


async def test_a_look_goes_on_when_who_asked_first_is_gone(kept: Kept) -> None:
    user = await new_user(kept.store)
    kept.store.slow = asyncio.Event()
    first, second = (asyncio.create_task(kept.fresh.get(User, user.id)) for _ in range(2))
    while not kept.store.asked:
        await asyncio.sleep(0)
    first.cancel()
    kept.store.slow.set()
    assert await second is not None
    assert len(kept.store.asked) == 1


async def test_looks_as_of_now_apply_nothing_twice(kept: Kept) -> None:
    user = await new_user(kept.store)
    asking = (kept.fresh.get(User, user.id, as_of_now=True) for _ in range(3))
    assert {one.version for one in await asyncio.gather(*asking) if one is not None} == {1}


async def test_what_nobody_expected_does_not_end_the_looking(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh, "READ_AGAIN_EVERY", 0.001)
    user = await new_user(kept.store)
    await kept.fresh.get(User, user.id)
    kept.store.fail_next_read = [RuntimeError("a row that cannot be read")]
    async with meanwhile(kept.fresh.keep()), asyncio.timeout(10):
        while len(kept.store.asked) < 3:
            await asyncio.sleep(0.001)


async def test_a_stream_longer_than_a_page_is_read_to_its_end(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fakes.MOST_LATER", 2)
    monkeypatch.setattr(fresh, "MOST_LATER", 2)
    user = await new_user(kept.store)
    for _ in range(2):
        user.suspend(by=user.id)
        user.reinstate(by=user.id)
    await record(kept.store, user)
    found = await kept.fresh.get(User, user.id)
    assert found is not None
    assert found.version == 5


async def test_another_aggregates_stream_is_nobodys(kept: Kept) -> None:
    user = await new_user(kept.store)
    assert await kept.fresh.get(ApiKey, user.id) is None
    assert await kept.fresh.get(User, user.id) is not None


async def test_who_asks_while_the_store_is_away_for_long_is_told_so(kept: Kept) -> None:
    user = await new_user(kept.store)
    await kept.fresh.get(User, user.id)
    kept.store.fail_next_read = [StoreUnavailableError("away")]
    await kept.fresh.get(User, user.id)
    kept.seconds += FRESH
    with pytest.raises(StoreUnavailableError):
        await kept.fresh.get(User, user.id)
    assert await kept.fresh.get(User, user.id) is not None


async def test_what_is_in_use_is_read_again_before_anybody_waits(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh, "READ_AGAIN_EVERY", 0.001)
    used, unused = await new_user(kept.store), await new_user(kept.store)
    await kept.fresh.get(User, unused.id)
    kept.seconds += IN_USE
    await kept.fresh.get(User, used.id)
    kept.store.asked.clear()
    kept.store.fail_next_read = [StoreUnavailableError("away")]
    async with meanwhile(kept.fresh.keep()), asyncio.timeout(10):
        while len(kept.store.asked) < 3:  # the first of them failed
            await asyncio.sleep(0.001)
    assert all(asked == {used.id: 1} for asked in kept.store.asked)


async def test_no_more_is_kept_than_there_is_room_for(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fresh, "READ_AGAIN_EVERY", 0.001)
    monkeypatch.setattr(fresh, "MOST_KEPT", 2)
    users = [await new_user(kept.store) for _ in range(4)]
    for user in users:
        kept.seconds += 0.1
        await kept.fresh.get(User, user.id)
    await kept.fresh.get(User, uuid4())
    async with meanwhile(kept.fresh.keep()), asyncio.timeout(10):
        while len(kept.fresh._kept) > 2:
            await asyncio.sleep(0.001)
    assert list(kept.fresh._kept) == [user.id for user in users[2:]]
