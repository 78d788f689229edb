"""What is decided about users, and what comes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from domain.image import ImageSpec
from domain.user import (
    MOST_LINKS,
    MOST_SESSIONS,
    LinkUsedError,
    Preferences,
    Profile,
    SuspendedError,
    User,
)

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
ADMIN = uuid4()


def new_user() -> User:
    user = User.register(issuer="i", role="user", profile=Profile(subject="ada"))
    user.collect_events()
    return user


def log_in(user: User, *, at: datetime = NOW, **said: object) -> UUID:
    session = uuid4()
    user.log_in(session=session, token_hash=session.hex, now=at, lasts=WEEK, **said)  # type: ignore[arg-type]  # some of several
    return session


def decided(user: User) -> list[str]:
    return [event.topic for event in user.collect_events()]


# --- logins ---------------------------------------------------------------------------------------


def test_a_login_begins_a_session_that_ends_by_itself() -> None:
    user = new_user()
    session = log_in(user)
    assert user.sessions[session].ends_at == NOW + WEEK
    assert decided(user) == ["user.logged_in"]


def test_a_login_takes_over_a_changed_profile() -> None:
    user = new_user()
    log_in(user, profile=Profile(subject="ada", name="Ada"))
    assert user.profile.name == "Ada"
    assert decided(user) == ["user.profile_changed", "user.logged_in"]
    log_in(user, profile=Profile(subject="ada", name="Ada"))
    assert decided(user) == ["user.logged_in"]


def test_a_login_ends_the_session_it_takes_the_place_of() -> None:
    user = new_user()
    first, other = log_in(user), log_in(user)
    second = log_in(user, instead_of=first)
    assert set(user.sessions) == {other, second}


def test_a_login_ends_what_is_over_and_what_is_one_too_many() -> None:
    user = new_user()
    log_in(user, at=NOW - WEEK)
    sessions = [log_in(user) for _ in range(MOST_SESSIONS)]
    assert list(user.sessions) == sessions
    newest = log_in(user)
    assert list(user.sessions) == [*sessions[1:], newest]


def test_nobody_who_is_suspended_logs_in() -> None:
    user = new_user()
    user.suspend(by=ADMIN)
    with pytest.raises(SuspendedError):
        log_in(user)


def test_a_link_is_good_for_one_login() -> None:
    user = new_user()
    log_in(user, link="one")
    with pytest.raises(LinkUsedError):
        log_in(user, link="one")
    for number in range(MOST_LINKS - 1):
        log_in(user, link=f"{number}")
    with pytest.raises(LinkUsedError):
        log_in(user, link="one")


def test_sessions_end_one_by_one_or_all_at_once() -> None:
    user = new_user()
    one, two, three = (log_in(user) for _ in range(3))
    user.end_sessions([two, uuid4()], by=user.id)
    assert set(user.sessions) == {one, three}
    user.end_sessions(user.sessions, by=ADMIN)
    assert user.sessions == {}
    user.collect_events()
    user.end_sessions([one], by=user.id)
    assert decided(user) == []


# --- what they and others decide ------------------------------------------------------------------


def test_what_is_so_already_is_not_decided_again() -> None:
    user = new_user()
    user.prefer(Preferences(), by=user.id)
    user.take_role("user", by=ADMIN)
    user.limit({}, by=ADMIN)
    user.reinstate(by=ADMIN)
    assert decided(user) == []


def test_suspending_ends_the_sessions() -> None:
    user = new_user()
    log_in(user)
    user.collect_events()
    user.suspend(by=ADMIN)
    assert (user.is_suspended, user.sessions) == (True, {})
    assert decided(user) == ["user.suspended", "user.sessions_ended"]
    user.reinstate(by=ADMIN)
    assert not user.is_suspended


def test_every_decision_says_who_decided() -> None:
    user = new_user()
    log_in(user)
    user.collect_events()
    user.prefer(Preferences(format="webp"), by=user.id)
    user.take_role("administrator", by=ADMIN)
    user.limit({"daily": 3, "monthly": None}, by=ADMIN)
    user.suspend(by=ADMIN)
    user.reinstate(by=ADMIN)
    by = [event.by for event in user.collect_events()]  # type: ignore[attr-defined]  # all have it
    assert by == [user.id, *[ADMIN] * 5]
    assert (user.role, dict(user.limits)) == ("administrator", {"daily": 3, "monthly": None})


# --- preferences ----------------------------------------------------------------------------------

ALL = Preferences(provider="openai", model="m", size="64x64", quality="high", format="webp")


def test_preferences_fill_what_a_request_leaves_open() -> None:
    filled = ALL.fill(ImageSpec(count=2, seed=7))
    assert filled == ImageSpec(
        provider="openai", model="m", size="64x64", quality="high", format="webp", count=2, seed=7
    )


@pytest.mark.parametrize(
    ("asked", "filled"),
    [
        (
            ImageSpec(provider="gemini"),
            ImageSpec(provider="gemini", size="64x64", format="webp"),
        ),
        (ImageSpec(model="other"), ImageSpec(model="other", size="64x64", format="webp")),
        (
            ImageSpec(aspect_ratio="1:1", quality="low", format="png"),
            ImageSpec(
                provider="openai", model="m", aspect_ratio="1:1", quality="low", format="png"
            ),
        ),
    ],
)
def test_what_a_request_says_is_never_mixed_with_what_does_not_belong_to_it(
    asked: ImageSpec, filled: ImageSpec
) -> None:
    assert ALL.fill(asked) == filled


def test_without_preferences_a_request_stays_as_it_is() -> None:
    spec = ImageSpec(size="64x64")
    assert Preferences().fill(spec) == spec
