"""Whoever guesses is slowed; whoever is known here, and whoever else is elsewhere, is not."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from application.access import Access, KeyRefusedError, SessionOverError, session_token
from application.accounts import ADMINISTRATOR
from application.guarding import AT_ONCE, MOST_REMEMBERED, MOST_WAITING, GuardedAccess
from application.last_uses import LastUses
from application.ports.event_store import Recorded, StoreUnavailableError
from application.rate_limits import RateLimitedError
from domain.api_key import BEGINS, ApiKey
from domain.user import SuspendedError
from tests.fakes import FakeClock, MemoryEventStore
from tests.fakes_access import MemoryUses
from tests.limits import HOUR, OwnOnly, rate_limits
from tests.people import new_key, new_session, new_user, record

ADMIN_KEY = "0123456789abcdef0123"
HERE, THERE = "192.0.2.1", "192.0.2.2"
MOST = 3


class Door:
    """One process's door: three failures an hour for each address."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryEventStore(self.clock)
        access = Access(
            self.store,
            LastUses(MemoryUses(), every=15),
            admin_key=ADMIN_KEY,
            idle=timedelta(hours=1),
        )
        self.counters = OwnOnly()
        self.access = GuardedAccess(access, rate_limits(self.counters, guess=(MOST, HOUR)))

    async def guess(self, address: str | None = HERE, *, times: int = 1) -> None:
        for _ in range(times):
            with pytest.raises(KeyRefusedError):
                await self.access.by_key(a_guess(), address=address)

    async def is_slowed(self, address: str | None = HERE) -> bool:
        """Whether one more guess is told that it is one too many."""
        try:
            await self.access.by_key(a_guess(), address=address)
        except RateLimitedError:
            return True
        except KeyRefusedError:
            return False
        raise AssertionError("a guess was let in")


@pytest.fixture
def door() -> Door:
    return Door()


def a_guess() -> str:
    return BEGINS + secrets.token_urlsafe(32)


async def test_who_guesses_too_often_is_told_so(door: Door) -> None:
    await door.guess(times=MOST - 1)
    assert not await door.is_slowed()
    assert await door.is_slowed()


async def test_somebody_new_behind_a_guessers_address_is_let_in(door: Door) -> None:
    user = await new_user(door.store)
    key, token = await new_key(door.store, user, "read"), await new_session(door.store, user)
    await door.guess(times=MOST)
    assert (await door.access.by_key(key, address=HERE)).user_id == user.id
    assert (await door.access.by_session(token, address=HERE)).user_id == user.id
    assert await door.is_slowed()


async def test_what_a_guesser_shows_is_looked_at_a_few_at_a_time(door: Door) -> None:
    await door.guess(times=MOST)
    gate, looks = asyncio.Event(), 0

    async def later(behind: Mapping[UUID, int]) -> Sequence[Recorded]:
        nonlocal looks
        looks += 1
        await gate.wait()
        return ()

    door.store.later = later  # type: ignore[method-assign]  # a store that takes its time
    guesses = [asyncio.create_task(door.is_slowed()) for _ in range(MOST_WAITING + 5)]
    done, waiting = await asyncio.wait(guesses, timeout=0.1)
    assert (len(done), len(waiting), looks) == (5, MOST_WAITING, AT_ONCE)
    gate.set()
    assert all(await asyncio.gather(*guesses))


async def test_others_elsewhere_are_not_locked_out(door: Door) -> None:
    await door.guess(times=MOST)
    assert not await door.is_slowed(THERE)


async def test_one_ipv6_network_is_one_guesser(door: Door) -> None:
    for number in range(MOST):
        await door.guess(f"2001:db8::{number + 1}")
    assert await door.is_slowed("2001:db8::ffff")
    assert not await door.is_slowed("2001:db8:0:1::1")


async def test_keys_in_use_go_on_working_from_the_same_address(door: Door) -> None:
    key = await new_key(door.store, await new_user(door.store), "read")
    await door.access.by_key(key, address=HERE)
    await door.guess(times=MOST)
    for _ in range(5):
        await door.access.by_key(key, address=HERE)
    await door.access.by_key(ADMIN_KEY, address=HERE)


async def test_sessions_in_use_go_on_working_from_the_same_address(door: Door) -> None:
    token = await new_session(door.store, await new_user(door.store))
    await door.access.by_session(token, address=HERE)
    await door.guess(times=MOST)
    await door.access.by_session(token, address=HERE)


async def test_another_secret_of_a_user_in_use_is_a_guess(door: Door) -> None:
    user = await new_user(door.store)
    await door.access.by_session(await new_session(door.store, user), address=HERE)
    for _ in range(MOST):
        with pytest.raises(SessionOverError):
            await door.access.by_session(
                session_token(user.id, secrets.token_urlsafe(32)), address=HERE
            )
    assert await door.is_slowed()


async def test_valid_keys_are_no_guesses_however_many_are_new_here(door: Door) -> None:
    user = await new_user(door.store)
    for _ in range(2 * MOST):
        await door.access.by_key(await new_key(door.store, user, "read"), address=HERE)
    assert not await door.is_slowed()


async def test_the_same_wrong_key_again_and_again_is_one_guess(door: Door) -> None:
    forgotten = a_guess()
    for _ in range(5 * MOST):
        with pytest.raises(KeyRefusedError):
            await door.access.by_key(forgotten, address=HERE)
    assert not await door.is_slowed()


async def test_what_was_refused_once_is_refused_again_without_a_look(door: Door) -> None:
    forgotten, ended = a_guess(), session_token(UUID(int=1), secrets.token_urlsafe(32))
    for _ in range(2):
        with pytest.raises(KeyRefusedError):
            await door.access.by_key(forgotten, address=HERE)
        with pytest.raises(SessionOverError):
            await door.access.by_session(ended, address=HERE)
        door.store.fail_next_read = [StoreUnavailableError("looked at")]


async def test_a_revoked_key_says_so_however_often(door: Door) -> None:
    user = await new_user(door.store)
    for _ in range(2 * MOST):
        key = a_guess()
        issued = ApiKey.issue(
            key, user_id=user.id, name="k", scopes=("read",), expires_at=None, by=user.id
        )
        issued.revoke(by=ADMINISTRATOR)
        await record(door.store, issued)
        for _ in range(2):
            with pytest.raises(KeyRefusedError, match="was revoked"):
                await door.access.by_key(key, address=HERE)
    assert not await door.is_slowed()


async def test_sessions_that_ran_out_overnight_are_no_guesses(door: Door) -> None:
    tokens = [await new_session(door.store, await new_user(door.store)) for _ in range(2 * MOST)]
    door.clock.advance(days=2)
    for token in tokens:
        with pytest.raises(SessionOverError):
            await door.access.by_session(token, address=HERE)
    assert not await door.is_slowed()


async def test_a_suspended_users_key_is_no_guess_and_good_again_after_it(door: Door) -> None:
    user = await new_user(door.store)
    key = await new_key(door.store, user, "read")
    user.suspend(by=ADMINISTRATOR)
    await record(door.store, user)
    for _ in range(2 * MOST):
        with pytest.raises(SuspendedError):
            await door.access.by_key(key, address=HERE)
    assert not await door.is_slowed()


async def test_a_store_that_is_away_is_nobodys_guess(door: Door) -> None:
    for _ in range(2 * MOST):
        door.store.fail_next_read = [StoreUnavailableError("away")]
        with pytest.raises(StoreUnavailableError):
            await door.access.by_key(a_guess(), address=HERE)
    assert not await door.is_slowed()


async def test_sessions_that_were_ended_are_no_guesses(door: Door) -> None:
    user = await new_user(door.store)
    tokens = [await new_session(door.store, user) for _ in range(2 * MOST)]
    user.end_sessions(user.sessions, by=ADMINISTRATOR)
    await record(door.store, user)
    for token in tokens:
        with pytest.raises(SessionOverError):
            await door.access.by_session(token, address=HERE)
    assert not await door.is_slowed()


async def test_so_many_refusals_are_remembered_and_no_more(door: Door) -> None:
    door.access._refused.update(dict.fromkeys(range(MOST_REMEMBERED)))  # type: ignore[arg-type]  # as good as digests
    await door.guess()
    assert len(door.access._refused) == MOST_REMEMBERED
