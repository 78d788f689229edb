"""The administrator is there from the start."""

from __future__ import annotations

import asyncio

from application.accounts import ADMINISTRATOR, Accounts
from application.ports.event_store import Outcome
from domain.user import User, user_id
from tests.fakes import MemoryEventStore


class RacingStore(MemoryEventStore):
    """All of them look before any of them appends."""

    async def append(self, command: object) -> Outcome:
        await asyncio.sleep(0)
        return await super().append(command)


async def test_the_administrator_is_registered_as_a_user() -> None:
    store = MemoryEventStore()

    await Accounts(store).register_administrator()

    user = await store.get(User, user_id("darkroom", "admin"))
    assert user is not None
    assert (user.id, user.role, user.profile.subject) == (ADMINISTRATOR, "administrator", "admin")


async def test_the_administrator_is_registered_once_from_many_processes() -> None:
    store = RacingStore()

    await asyncio.gather(*(Accounts(store).register_administrator() for _ in range(5)))
    await Accounts(store).register_administrator()

    assert len(store.rows) == 1
