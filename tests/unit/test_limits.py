"""Limits of a user's own, which an administrator decides about."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID, uuid4

import pytest

from application.generations import MOST_CONFLICTS, ContendedError
from application.idempotency import IdempotencyKeyReusedError
from application.people import People, UserNotFoundError
from application.ports.event_store import Command, Outcome
from domain.quota import MOST_UNITS, LimitRefusedError, UserWindowType
from domain.user import User
from tests.fakes import MemoryEventStore
from tests.people import new_user

ADMINISTRATOR = UUID(int=9)


class ContendedStore(MemoryEventStore):
    """Somebody else decides about the user first, so many times."""

    others = 0

    async def append(self, command: Command) -> Outcome:
        if self.others > 0:
            self.others -= 1
            user = await self.get(User, command.events[0].originator_id)
            assert user is not None
            user.take_role("user" if user.role == "administrator" else "administrator", by=user.id)
            await super().append(Command(events=user.collect_events()))
        return await super().append(command)


async def test_limits_are_recorded_with_who_decided_and_hold_at_once() -> None:
    store = MemoryEventStore()
    user = (await new_user(store)).id

    await People(store).limit(user, {"daily": 3, "monthly": None}, by=ADMINISTRATOR)

    changed = (await store.history(user, after=0, limit=9))[-1].event
    assert isinstance(changed, User.QuotaChanged)
    assert (changed.limits, changed.by) == ({"daily": 3, "monthly": None}, ADMINISTRATOR)
    assert store.limits == {(user, "daily"): 3, (user, "monthly"): None}
    assert (await People(store).user(user)).limits == changed.limits


async def test_all_limits_are_given_at_once() -> None:
    store = MemoryEventStore()
    user = (await new_user(store)).id
    people = People(store)

    await people.limit(user, {"daily": 3, "monthly": 9}, by=ADMINISTRATOR)
    await people.limit(user, {"monthly": 8}, by=ADMINISTRATOR)
    assert store.limits == {(user, "monthly"): 8}
    await people.limit(user, {}, by=ADMINISTRATOR)
    assert store.limits == {}


async def test_limits_that_change_nothing_are_no_event() -> None:
    store = MemoryEventStore()
    user = (await new_user(store)).id
    for _ in range(2):
        await People(store).limit(user, {"daily": 3}, by=ADMINISTRATOR)
    assert len(await store.history(user, after=0, limit=9)) == 2


async def test_nobody_can_be_given_no_limits() -> None:
    store = MemoryEventStore()
    with pytest.raises(UserNotFoundError):
        await People(store).limit(uuid4(), {"daily": 3}, by=ADMINISTRATOR)
    assert store.limits == {}


@pytest.mark.parametrize("limits", [{"daily": -1}, {"daily": 5, "monthly": MOST_UNITS + 1}])
async def test_a_limit_that_means_nothing_is_refused(limits: Mapping[str, int]) -> None:
    store = MemoryEventStore()
    user = (await new_user(store)).id
    with pytest.raises(LimitRefusedError, match="from 0 to 2,147,483,647"):
        await People(store).limit(user, limits, by=ADMINISTRATOR)
    assert store.limits == {}


async def test_a_lost_race_is_decided_again() -> None:
    store = ContendedStore()
    user = (await new_user(store)).id
    store.others = 2
    await People(store).limit(user, {"daily": 3}, by=ADMINISTRATOR)
    limited = await People(store).user(user)
    assert (limited.role, limited.limits) == ("user", {"daily": 3})
    assert store.limits == {(user, "daily"): 3}


async def test_who_always_loses_is_told_to_look_again() -> None:
    store = ContendedStore()
    user = (await new_user(store)).id
    store.others = MOST_CONFLICTS
    with pytest.raises(ContendedError, match="The user is just changing"):
        await People(store).limit(user, {"daily": 3}, by=ADMINISTRATOR)
    assert store.limits == {}


async def test_the_same_key_gives_the_same_limits_once() -> None:
    store = MemoryEventStore()
    user, people = (await new_user(store)).id, People(store)
    given: Mapping[UserWindowType, int | None] = {"daily": 3}
    first = await people.limit(user, given, by=ADMINISTRATOR, idempotency_key="k")
    await people.limit(user, {"daily": 9}, by=ADMINISTRATOR)
    again = await people.limit(user, given, by=ADMINISTRATOR, idempotency_key="k")
    assert (first, again) == (False, True)
    assert store.limits == {(user, "daily"): 9}
    with pytest.raises(IdempotencyKeyReusedError):
        await people.limit(user, {}, by=ADMINISTRATOR, idempotency_key="k")
