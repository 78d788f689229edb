"""Who is let in, as what, and how soon it is noticed that they no longer are."""

from __future__ import annotations

import secrets
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from application.access import (
    Access,
    Caller,
    KeyRefusedError,
    SessionOverError,
    session_token,
    token_hash,
)
from application.accounts import ADMINISTRATOR
from application.fresh import FRESH, Fresh
from application.last_uses import LastUses
from application.ports.event_store import Command, StoreUnavailableError
from domain.aggregate import Aggregate
from domain.api_key import ApiKey, Scope, key_id
from domain.user import Profile, SuspendedError, User
from tests.fakes import FakeClock, MemoryEventStore
from tests.fakes_access import MemoryUses

ADMIN_KEY = "0123456789abcdef0123"
KEY = "dk_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
IDLE = timedelta(hours=1)


class Door:
    """One process's access to a store that others write to as well."""

    def __init__(self, admin_key: str | None = ADMIN_KEY) -> None:
        self.clock = FakeClock()
        self.store = MemoryEventStore(self.clock)
        self.uses = MemoryUses()
        self.last_uses = LastUses(self.uses, every=15)
        self.access = Access(self.store, self.last_uses, admin_key=admin_key, idle=IDLE)
        self.seconds = 0.0
        self.access._fresh = Fresh(self.store, clock=lambda: self.seconds)

    async def save(self, aggregate: Aggregate) -> None:
        await self.store.append(Command(events=aggregate.collect_events()))

    async def user(self, **said: str) -> User:
        user = User.register(issuer="i", role="user", profile=Profile(subject="ada", **said))
        await self.save(user)
        return user

    async def key(self, user_id: UUID, *scopes: Scope, hours: int | None = None) -> ApiKey:
        expires_at = self.clock() + timedelta(hours=hours) if hours else None
        key = ApiKey.issue(
            KEY, user_id=user_id, name="k", scopes=scopes, expires_at=expires_at, by=user_id
        )
        await self.save(key)
        return key

    async def session(self, user: User, *, lasts: timedelta = timedelta(days=7)) -> str:
        secret = secrets.token_urlsafe(32)
        user.log_in(session=uuid4(), token_hash=token_hash(secret), now=self.clock(), lasts=lasts)
        await self.save(user)
        return session_token(user.id, secret)


@pytest.fixture
def door() -> Door:
    return Door()


# --- keys -----------------------------------------------------------------------------------------


async def test_the_configured_key_lets_the_administrator_in_without_a_look(door: Door) -> None:
    door.store.fail_next_read = [StoreUnavailableError("away")]
    caller = await door.access.by_key(ADMIN_KEY)
    assert (caller.user_id, caller.role, caller.api_key_id) == (
        ADMINISTRATOR,
        "administrator",
        "admin",
    )
    assert caller.is_in_person


@pytest.mark.parametrize("key", ["", "x", KEY, ADMIN_KEY[:-1], "dk_", "dk_" + "x" * 300, "dk_ÿ"])
async def test_a_key_that_nobody_was_given_is_refused(door: Door, key: str) -> None:
    with pytest.raises(KeyRefusedError, match="is not valid"):
        await door.access.by_key(key)


async def test_without_a_configured_key_it_lets_nobody_in() -> None:
    with pytest.raises(KeyRefusedError):
        await Door(admin_key=None).access.by_key("None")


async def test_a_key_gives_its_owner_its_scopes(door: Door) -> None:
    user = await door.user()
    key = await door.key(user.id, "generate", "read")
    caller = await door.access.by_key(KEY)
    assert caller == Caller(
        user.id, "user", frozenset({"generate", "read"}), api_key_id=str(key.id)
    )
    assert not caller.is_in_person


async def test_the_scope_admin_is_good_for_as_long_as_its_owner_is_one(door: Door) -> None:
    user = await door.user()
    await door.key(user.id, "admin", "read")
    assert (await door.access.by_key(KEY)).scopes == {"read"}
    user.take_role("administrator", by=ADMINISTRATOR)
    await door.save(user)
    door.seconds += FRESH
    assert (await door.access.by_key(KEY)).scopes == {"admin", "read"}


async def test_a_key_whose_hash_is_another_ones_is_refused(door: Door) -> None:
    user = await door.user()
    other = ApiKey.issue(
        "dk_other", user_id=user.id, name="k", scopes=("read",), expires_at=None, by=user.id
    )
    issued = other.collect_events()[0].model_copy(update={"originator_id": key_id(KEY)})
    await door.store.append(Command(events=[issued]))
    with pytest.raises(KeyRefusedError, match="is not valid"):
        await door.access.by_key(KEY)


async def test_a_key_that_has_expired_says_so(door: Door) -> None:
    user = await door.user()
    await door.key(user.id, "read", hours=1)
    await door.access.by_key(KEY)
    door.clock.advance(hours=1)
    with pytest.raises(KeyRefusedError, match="expired at 2026-11-23T13:00:00"):
        await door.access.by_key(KEY)


async def test_a_key_that_another_process_revoked_is_refused_within_a_second(door: Door) -> None:
    user = await door.user()
    key = await door.key(user.id, "read")
    await door.access.by_key(KEY)
    key.revoke(by=user.id)
    await door.save(key)
    door.seconds += FRESH
    with pytest.raises(KeyRefusedError, match="was revoked"):
        await door.access.by_key(KEY)
    assert FRESH < 1


async def test_a_key_that_is_in_use_costs_no_look(door: Door) -> None:
    user = await door.user()
    await door.key(user.id, "read")
    await door.access.by_key(KEY)
    door.store.fail_next_read = [StoreUnavailableError("away")]
    await door.access.by_key(KEY)
    door.seconds += FRESH
    with pytest.raises(StoreUnavailableError):
        await door.access.by_key(KEY)


async def test_a_key_that_was_guessed_is_not_remembered(door: Door) -> None:
    for number in range(5):
        with pytest.raises(KeyRefusedError):
            await door.access.by_key(f"dk_{number}")
    assert door.access._fresh._kept == {}


async def test_a_suspended_users_key_is_refused_and_good_again_after_it(door: Door) -> None:
    user = await door.user()
    await door.key(user.id, "read")
    user.suspend(by=ADMINISTRATOR)
    await door.save(user)
    with pytest.raises(SuspendedError):
        await door.access.by_key(KEY)
    user.reinstate(by=ADMINISTRATOR)
    await door.save(user)
    door.seconds += FRESH
    assert (await door.access.by_key(KEY)).user_id == user.id


async def test_a_key_without_a_user_is_refused(door: Door) -> None:
    await door.key(uuid4(), "read")
    with pytest.raises(KeyRefusedError):
        await door.access.by_key(KEY)


# --- sessions -------------------------------------------------------------------------------------


async def test_a_session_gives_what_the_role_gives(door: Door) -> None:
    user = await door.user()
    caller = await door.access.by_session(await door.session(user))
    assert caller.scopes == {"generate", "read", "events"}
    assert caller.session_id in user.sessions
    assert caller.is_in_person


async def test_a_session_that_has_just_begun_elsewhere_is_known_at_once(door: Door) -> None:
    user = await door.user()
    await door.access.by_session(await door.session(user))
    assert (await door.access.by_session(await door.session(user))).user_id == user.id


@pytest.mark.parametrize("token", ["", "x", "ÿ", f"{'0' * 32}.{'x' * 43}", f"{'0' * 32}.x"])
async def test_a_made_up_session_is_none(door: Door, token: str) -> None:
    with pytest.raises(SessionOverError):
        await door.access.by_session(token)


async def test_another_users_secret_is_none(door: Door) -> None:
    user = await door.user()
    secret = (await door.session(user)).partition(".")[2]
    other = User.register(issuer="i", role="user", profile=Profile(subject="bob"))
    await door.save(other)
    with pytest.raises(SessionOverError):
        await door.access.by_session(session_token(other.id, secret))


async def test_a_session_that_another_process_ended_is_over_within_a_second(door: Door) -> None:
    user = await door.user()
    token = await door.session(user)
    await door.access.by_session(token)
    user.end_sessions(user.sessions, by=user.id)
    await door.save(user)
    door.seconds += FRESH
    with pytest.raises(SessionOverError):
        await door.access.by_session(token)


async def test_suspending_ends_the_sessions_for_good(door: Door) -> None:
    user = await door.user()
    token = await door.session(user)
    user.suspend(by=ADMINISTRATOR)
    await door.save(user)
    with pytest.raises(SuspendedError):
        await door.access.by_session(token)
    user.reinstate(by=ADMINISTRATOR)
    await door.save(user)
    door.seconds += FRESH
    with pytest.raises(SessionOverError):
        await door.access.by_session(token)


async def test_a_session_ends_when_its_time_is_up_however_it_is_used(door: Door) -> None:
    token = await door.session(await door.user(), lasts=timedelta(hours=2))
    for _ in range(3):
        await door.access.by_session(token)
        door.clock.advance(minutes=39)
    await door.access.by_session(token)
    door.clock.advance(minutes=3)
    with pytest.raises(SessionOverError):
        await door.access.by_session(token)


async def test_a_session_that_nobody_uses_ends(door: Door) -> None:
    token = await door.session(await door.user())
    door.clock.advance(minutes=61)
    with pytest.raises(SessionOverError):
        await door.access.by_session(token)


async def test_a_session_that_is_used_elsewhere_goes_on(door: Door) -> None:
    user = await door.user()
    token = await door.session(user)
    await door.access.by_session(token)
    await door.last_uses.note()
    (session,) = user.sessions
    door.clock.advance(minutes=50)
    door.uses.noted[session] = door.clock()
    door.clock.advance(minutes=50)
    assert (await door.access.by_session(token)).user_id == user.id


# --- last uses ------------------------------------------------------------------------------------


async def test_a_use_is_noted_once_it_is_new(door: Door) -> None:
    user = await door.user()
    key = await door.key(user.id, "read")
    await door.access.by_key(KEY)
    assert await door.last_uses.last((key.id,)) == {key.id: door.clock()}
    assert door.uses.noted == {}
    await door.last_uses.note()
    assert door.uses.noted == {key.id: door.clock()}
    assert door.last_uses.here(key.id) is None


async def test_uses_that_cannot_be_noted_are_noted_later(door: Door) -> None:
    id_ = uuid4()
    door.last_uses.use(id_, door.clock())
    door.uses.fail_next = [StoreUnavailableError("away")]
    await door.last_uses.note()
    door.clock.advance(seconds=5)
    await door.last_uses.note()
    assert list(door.uses.noted) == [id_]
