"""Who logs in by whose word, and what is recorded of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.access import Access
from application.accounts import ADMINISTRATOR
from application.last_uses import LastUses
from application.login_links import LINK_LASTS, LinkRefusedError, LoginLinks
from application.logins import DomainNotAllowedError, EmailNotVerifiedError, Logins
from application.people import People
from application.ports.identity import GOOGLE, Attempt, Identity
from domain.user import LinkUsedError, SuspendedError, User, user_id
from tests.fakes import FakeClock, MemoryEventStore
from tests.fakes_access import MemoryUses

ADMIN_KEY = "0123456789abcdef0123"
LASTS, IDLE = timedelta(days=7), timedelta(hours=12)
ADA = Identity(
    issuer="https://id.example",
    subject="ada",
    email="ada@example.org",
    email_is_verified=True,
    name="Ada",
    picture_url="https://id.example/ada.png",
)
ADAS = user_id(ADA.issuer, ADA.subject)


def changed(**fields: Any) -> Identity:
    return Identity(**{**vars(ADA), **fields})


class Door:
    """Logins to a store, and who is let in after them."""

    def __init__(self, *domains: str) -> None:
        self.clock = FakeClock()
        self.store = MemoryEventStore(self.clock)
        self.uses = LastUses(MemoryUses(), every=15)
        self.links = LoginLinks(ADMIN_KEY)
        self.logins = Logins(
            self.store, self.uses, links=self.links, lasts=LASTS, idle=IDLE, domains=domains
        )
        self.access = Access(self.store, self.uses, admin_key=ADMIN_KEY, idle=IDLE)

    async def user(self, id_: UUID = ADAS) -> User:
        user = await self.store.get(User, id_)
        assert user is not None
        return user

    def link(self) -> str:
        return self.links.token(self.clock())

    def topics(self) -> list[str]:
        return [row.stored.topic.removeprefix("user.") for row in self.store.rows]

    def actors(self) -> set[str]:
        return {event.metadata.actor for event in self.events()}

    def events(self) -> list[Any]:
        return [self.store.mapper.to_domain_event(row.stored) for row in self.store.rows]


@pytest.fixture
def door() -> Door:
    return Door()


# --- by the word of a provider --------------------------------------------------------------------


async def test_the_first_login_registers_whom_the_provider_vouches_for(door: Door) -> None:
    logged_in = await door.logins.by_identity(ADA)
    user = await door.user()
    assert door.topics() == ["registered@1", "logged_in@1"]
    assert vars(user.profile) == {
        "subject": "ada",
        "email": "ada@example.org",
        "name": "Ada",
        "picture_url": "https://id.example/ada.png",
    }
    assert user.role == "user"
    assert door.actors() == {f"user:{ADAS}"}
    assert logged_in.lasts == LASTS
    assert (await door.access.by_session(logged_in.token)).user_id == ADAS


async def test_every_login_is_recorded_and_a_changed_profile_too(door: Door) -> None:
    await door.logins.by_identity(ADA)
    await door.logins.by_identity(ADA)
    await door.logins.by_identity(changed(name="Ada King"))
    assert door.topics()[2:] == ["logged_in@1", "profile_changed@1", "logged_in@1"]
    assert (await door.user()).profile.name == "Ada King"


async def test_what_the_browser_keeps_is_nowhere_recorded(door: Door) -> None:
    logged_in = await door.logins.by_identity(ADA)
    secret = logged_in.token.partition(".")[2]
    assert secret not in str([row.stored for row in door.store.rows])
    assert logged_in.token not in repr(logged_in)


async def test_a_login_takes_the_place_of_the_browsers_own_session_only(door: Door) -> None:
    first = await door.access.by_session((await door.logins.by_identity(ADA)).token)
    elsewhere = await door.access.by_session((await door.logins.by_identity(ADA)).token)
    await door.logins.by_identity(ADA, instead_of=first.session_id)
    sessions = (await door.user()).sessions
    assert first.session_id not in sessions
    assert elsewhere.session_id in sessions

    bob = changed(subject="bob")
    await door.logins.by_identity(bob, instead_of=elsewhere.session_id)
    assert elsewhere.session_id in (await door.user()).sessions


async def test_two_first_logins_at_once_register_one_user(door: Door) -> None:
    both = await asyncio.gather(*(door.logins.by_identity(ADA) for _ in range(2)))
    assert sorted(door.topics()) == ["logged_in@1", "logged_in@1", "registered@1"]
    assert len({(await door.access.by_session(one.token)).session_id for one in both}) == 2


async def test_who_is_suspended_does_not_get_in(door: Door) -> None:
    await door.logins.by_identity(ADA)
    people = People(door.store)
    await people.change_standing(ADAS, suspended=True, by=uuid4(), idempotency_key=None)
    before = len(door.store.rows)
    with pytest.raises(SuspendedError):
        await door.logins.by_identity(ADA)
    assert len(door.store.rows) == before


async def test_an_email_address_that_is_not_verified_is_refused(door: Door) -> None:
    with pytest.raises(EmailNotVerifiedError):
        await door.logins.by_identity(changed(email_is_verified=False))
    assert door.topics() == []


async def test_one_of_which_the_provider_says_nothing_is_not_kept(door: Door) -> None:
    await door.logins.by_identity(changed(email_is_verified=None))
    assert (await door.user()).profile.email is None


ALLOWED: Mapping[str, Identity] = {
    "of the domain": changed(email="ada@Example.ORG"),
    "of the organisation at Google": changed(issuer=GOOGLE, hosted_domain="example.org"),
    "on their own at Google": changed(issuer=GOOGLE, email="ada@gmail.com"),
}
REFUSED: Mapping[str, tuple[Identity, type[Exception]]] = {
    "another domain": (changed(email="ada@example.com"), DomainNotAllowedError),
    "a domain that ends so": (changed(email="ada@anexample.org"), DomainNotAllowedError),
    "one below": (changed(email="ada@mail.example.org"), DomainNotAllowedError),
    "two domains": (changed(email="ada@example.org@example.com"), DomainNotAllowedError),
    "a private account at Google": (changed(issuer=GOOGLE), DomainNotAllowedError),
    "another organisation's at Google": (
        changed(issuer=GOOGLE, hosted_domain="example.com"),
        DomainNotAllowedError,
    ),
    "not verified": (changed(email_is_verified=None), EmailNotVerifiedError),
    "no email address": (changed(email=None), EmailNotVerifiedError),
}


@pytest.mark.parametrize("who", ALLOWED)
async def test_with_domains_their_people_get_in(who: str) -> None:
    door = Door("example.org", "gmail.com")
    await door.logins.by_identity(ALLOWED[who])
    assert "logged_in@1" in door.topics()


@pytest.mark.parametrize("who", REFUSED)
async def test_with_domains_nobody_else_gets_in(who: str) -> None:
    door, (identity, refusal) = Door("example.org", "gmail.com"), REFUSED[who]
    with pytest.raises(refusal):
        await door.logins.by_identity(identity)
    assert door.topics() == []


# --- by a link ------------------------------------------------------------------------------------


async def test_a_link_logs_the_administrator_in(door: Door) -> None:
    logged_in = await door.logins.by_link(door.link())
    caller = await door.access.by_session(logged_in.token)
    assert (caller.user_id, caller.role) == (ADMINISTRATOR, "administrator")
    assert door.topics() == ["registered@1", "logged_in@1"]


async def test_a_link_is_good_for_one_login(door: Door) -> None:
    link = door.link()
    results = await asyncio.gather(
        *(door.logins.by_link(link) for _ in range(3)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in results) == [
        "LinkUsedError",
        "LinkUsedError",
        "LoggedIn",
    ]
    with pytest.raises(LinkUsedError):
        await door.logins.by_link(link)
    await door.logins.by_link(door.link())


async def test_a_link_is_good_for_ten_minutes(door: Door) -> None:
    link, another = door.link(), door.link()
    door.clock.advance(seconds=LINK_LASTS.total_seconds() - 1)
    await door.logins.by_link(link)
    door.clock.advance(seconds=1)
    with pytest.raises(LinkRefusedError):
        await door.logins.by_link(another)


def test_a_link_that_somebody_else_made_or_changed_is_refused(door: Door) -> None:
    now, link = door.clock(), door.link()
    expiry, nonce, signature = link.split(".")
    forged = [
        LoginLinks("another key of somebody").token(now),
        f"{int(expiry) + 1}.{nonce}.{signature}",
        f"{expiry}.{nonce[::-1]}.{signature}",
        f"{expiry}.{nonce}.{signature[::-1]}",
        f"{expiry}.{nonce}",
        f" {link}",
        "",
        "é",
    ]
    assert door.links.id_of(link, now) == nonce
    for token in forged:
        with pytest.raises(LinkRefusedError):
            door.links.id_of(token, now)


# --- which go on ----------------------------------------------------------------------------------


async def test_sessions_that_go_on_are_listed_with_their_last_use(door: Door) -> None:
    assert await door.logins.going_on(ADAS) == []
    first = await door.logins.by_identity(ADA)
    door.clock.advance(hours=1)
    await door.logins.by_identity(ADA)
    door.clock.advance(hours=1)
    await door.access.by_session(first.token)

    newer, older = await door.logins.going_on(ADAS)
    assert newer.last_used_at == newer.began_at == door.clock() - timedelta(hours=1)
    assert older.last_used_at == door.clock()
    assert older.ends_at - older.began_at == LASTS

    door.clock.advance(hours=11, seconds=1)
    assert [one.id for one in await door.logins.going_on(ADAS)] == [older.id]


# --- attempts -------------------------------------------------------------------------------------


def test_an_attempts_words_have_nothing_to_do_with_each_other_or_anothers() -> None:
    one, other = Attempt(), Attempt()
    words = [word for a in (one, other) for word in (a.secret, a.state, a.nonce, a.verifier)]
    assert len(set(words)) == 8
    assert {len(word) for word in words} == {43}
    assert Attempt(one.secret).state == one.state
    assert one.secret not in repr(one)
