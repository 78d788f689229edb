"""The commands on users and their keys."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from application.access import scopes_of
from application.accounts import ADMINISTRATOR
from application.api_keys import (
    ApiKeyNotFoundError,
    ApiKeys,
    ExpiryPassedError,
    IssuedKey,
    ScopeNotGivenError,
)
from application.idempotency import IdempotencyKeyReusedError
from application.people import LockedOutError, People, UserNotFoundError
from application.ports.event_store import Conflict, Outcome
from domain.api_key import ApiKey, Scope
from domain.user import Preferences, User
from tests.fakes import MemoryEventStore
from tests.people import new_session, new_user

ADMIN = uuid4()


@pytest.fixture
def store() -> MemoryEventStore:
    return MemoryEventStore()


def topics(store: MemoryEventStore) -> list[str]:
    return [row.stored.topic for row in store.rows]


# --- users ----------------------------------------------------------------------------------------


async def test_a_user_is_suspended_and_reinstated(store: MemoryEventStore) -> None:
    user, people = await new_user(store), People(store)
    await people.change_standing(user.id, suspended=True, by=ADMIN, idempotency_key=None)
    assert (await people.user(user.id)).is_suspended
    await people.change_standing(user.id, suspended=False, by=ADMIN, idempotency_key=None)
    assert not (await people.user(user.id)).is_suspended


async def test_a_role_and_a_suspension_are_decided_in_one(store: MemoryEventStore) -> None:
    user = await new_user(store)
    await People(store).change_standing(
        user.id, role="administrator", suspended=True, by=ADMIN, idempotency_key="k"
    )
    assert topics(store)[1:] == ["user.role_changed@1", "user.suspended@1"]


@pytest.mark.parametrize("change", [{"suspended": True}, {"role": "user"}])
async def test_administrators_do_not_lock_themselves_out(
    store: MemoryEventStore, change: dict[str, object]
) -> None:
    me, people = await new_user(store, role="administrator"), People(store)
    for user_id in (me.id, ADMINISTRATOR):
        with pytest.raises(LockedOutError):
            await people.change_standing(user_id, **change, by=me.id, idempotency_key=None)  # type: ignore[arg-type]  # one of two
    assert len(store.rows) == 1


async def test_of_nobody_nothing_is_decided(store: MemoryEventStore) -> None:
    people = People(store)
    with pytest.raises(UserNotFoundError):
        await people.change_standing(uuid4(), suspended=True, by=ADMIN, idempotency_key=None)
    with pytest.raises(UserNotFoundError):
        await people.prefer(uuid4(), Preferences(), by=ADMIN, idempotency_key=None)
    assert store.rows == []


async def test_a_repeat_with_the_same_key_decides_nothing(store: MemoryEventStore) -> None:
    user, people = await new_user(store), People(store)

    async def suspend(suspended: bool) -> bool:
        return await people.change_standing(
            user.id, suspended=suspended, by=ADMIN, idempotency_key="k"
        )

    assert await suspend(True) is False
    await people.change_standing(user.id, suspended=False, by=ADMIN, idempotency_key=None)
    assert await suspend(True) is True
    assert not (await people.user(user.id)).is_suspended
    with pytest.raises(IdempotencyKeyReusedError):
        await suspend(False)


async def test_a_decision_is_made_again_on_what_another_process_decided(
    store: MemoryEventStore,
) -> None:
    user = await new_user(store)

    class Overtaken(MemoryEventStore):
        """Somebody logs in while it is decided."""

        async def append(self, command: object) -> Outcome:
            store.rows = self.rows
            if len(self.rows) == 1:
                await new_session(store, user)
                return Conflict()
            return await super().append(command)  # type: ignore[arg-type]  # as it came

    overtaken = Overtaken(store.clock)
    overtaken.rows = store.rows
    await People(overtaken).change_standing(user.id, suspended=True, by=ADMIN, idempotency_key=None)
    assert topics(overtaken)[1:] == [
        "user.logged_in@1",
        "user.suspended@1",
        "user.sessions_ended@1",
    ]


async def test_sessions_end_one_by_one_or_all(store: MemoryEventStore) -> None:
    user, people = await new_user(store), People(store)
    for _ in range(3):
        await new_session(store, user)
    first, *_ = (await people.user(user.id)).sessions
    await people.end_sessions(user.id, [first], by=user.id)
    assert first not in (await people.user(user.id)).sessions
    await people.end_sessions(user.id, None, by=ADMIN)
    assert (await people.user(user.id)).sessions == {}


# --- keys -----------------------------------------------------------------------------------------


async def issue(
    store: MemoryEventStore, user: User, *scopes: Scope, key: str | None = None, name: str = "shop"
) -> IssuedKey:
    return await ApiKeys(store).issue(
        user_id=user.id,
        name=name,
        scopes=scopes,
        expires_at=store.now() + timedelta(days=1),
        by=user.id,
        idempotency_key=key,
    )


async def test_an_issued_key_is_shown_once_and_kept_as_a_hash(store: MemoryEventStore) -> None:
    user = await new_user(store)
    issued = await issue(store, user, "generate", "read")
    assert issued.key is not None
    assert issued.key.startswith("dk_")
    assert len(issued.key) >= 40
    assert issued.record.is_this(issued.key)
    assert issued.record.prefix == issued.key[:10]
    log = b"".join(row.stored.state for row in store.rows)
    assert issued.key.encode() not in log


async def test_two_keys_are_never_alike(store: MemoryEventStore) -> None:
    user = await new_user(store)
    one, other = await issue(store, user, "read"), await issue(store, user, "read")
    assert one.key != other.key


async def test_a_repeat_issues_no_second_key_and_cannot_show_the_first(
    store: MemoryEventStore,
) -> None:
    user = await new_user(store)
    first = await issue(store, user, "read", key="k")
    again = await issue(store, user, "read", key="k")
    assert (again.key, again.repeated, again.record.id) == (None, True, first.record.id)
    with pytest.raises(IdempotencyKeyReusedError):
        await issue(store, user, "read", key="k", name="other")


async def test_nobody_is_given_more_than_their_role_gives(store: MemoryEventStore) -> None:
    user, admin = await new_user(store), await new_user(store, role="administrator")
    with pytest.raises(ScopeNotGivenError, match="admin"):
        await issue(store, user, "read", "admin")
    assert "admin" in (await issue(store, admin, "read", "admin")).record.scopes
    assert scopes_of("user") == {"generate", "read", "events"}


async def test_a_key_expires_in_the_future(store: MemoryEventStore) -> None:
    user = await new_user(store)
    with pytest.raises(ExpiryPassedError):
        await ApiKeys(store).issue(
            user_id=user.id, name="k", scopes=("read",), expires_at=store.now(), by=user.id
        )


async def test_only_who_is_here_has_keys(store: MemoryEventStore) -> None:
    with pytest.raises(UserNotFoundError):
        await ApiKeys(store).issue(
            user_id=uuid4(), name="k", scopes=("read",), expires_at=None, by=ADMIN
        )


async def test_a_key_is_revoked_once_by_its_owner_or_an_administrator(
    store: MemoryEventStore,
) -> None:
    user, keys = await new_user(store), ApiKeys(store)
    id_ = (await issue(store, user, "read")).record.id
    with pytest.raises(ApiKeyNotFoundError):
        await keys.revoke(id=id_, by=ADMIN, of=ADMIN)
    await keys.revoke(id=id_, by=user.id, of=user.id)
    await keys.revoke(id=id_, by=ADMIN)
    assert topics(store).count("api_key.revoked@1") == 1
    record = await store.get(ApiKey, id_)
    assert record is not None
    assert record.is_revoked
    with pytest.raises(ApiKeyNotFoundError):
        await keys.revoke(id=uuid4(), by=ADMIN)
