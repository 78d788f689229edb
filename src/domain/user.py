"""A user: somebody who logs in, owns generations and has a quota."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.domain import event

from domain.aggregate import Aggregate, Created, Value, usually
from domain.aggregate import Event as DomainEvent
from domain.image import Format, ImageSpec
from domain.quota import MOST_UNITS, LimitRefusedError, UserWindowType

Role = Literal["user", "administrator"]

MOST_SESSIONS = 20  # of one user at once: the one begun first ends when one more begins
MOST_OVER = 100  # that are still known to have been sessions
MOST_LINKS = 20  # used ones that are remembered; each is good for minutes


class Profile(Value):
    """Who a user is, `subject` being what the issuer calls them: personal data, all of it."""

    subject: str
    email: str | None = None
    name: str | None = None
    picture_url: str | None = None


class Preferences(Value):
    """What a user's requests ask for where they say nothing; None is no preference."""

    provider: str | None = None
    model: str | None = None
    size: str | None = None
    aspect_ratio: str | None = None
    quality: str | None = None
    format: Format | None = None

    def fill(self, spec: ImageSpec) -> ImageSpec:
        """What is asked for, with what is preferred where it says nothing.

        Who names a provider or a model is not given another one's model or quality, and who says
        what shape a picture has is not given another shape.
        """
        of_provider = spec.provider is None and spec.model is None
        of_shape = spec.size is None and spec.aspect_ratio is None
        preferred = {
            **({"provider": self.provider, "model": self.model} if of_provider else {}),
            **({"quality": self.quality} if of_provider and spec.quality is None else {}),
            **({"size": self.size, "aspect_ratio": self.aspect_ratio} if of_shape else {}),
            **({"format": self.format} if spec.format is None else {}),
        }
        return spec.model_copy(update=preferred)


@dataclass(frozen=True)
class Session:
    """A login that goes on: `token_hash` is SHA-256, in hex, of what the browser keeps."""

    id: UUID
    token_hash: str
    began_at: datetime
    ends_at: datetime

    def is_over(self, now: datetime, *, used_at: datetime, idle: timedelta) -> bool:
        """Whether its time is up, or it was not used for longer than `idle`."""
        return self.ends_at <= now or now - used_at > idle


class SuspendedError(Exception):
    """Somebody who was suspended may do nothing."""

    def __init__(self) -> None:
        super().__init__("This account is suspended. Ask whoever runs the service to reinstate it.")


class LinkUsedError(Exception):
    """A login link is good for one login."""

    def __init__(self) -> None:
        super().__init__("This login link was used before. Have a new one made.")


def user_id(issuer: str, subject: str) -> UUID:
    """The stream of the user whom an identity provider knows by `subject`."""
    return uuid5(NAMESPACE_URL, f"{issuer}#{subject}")


def end_user_id(user_id: UUID, end_user: str) -> UUID:
    """Whom a user's backend serves and calls by this name: it stays when the name is erased."""
    return uuid5(user_id, end_user)


class User(Aggregate):
    """Somebody who logs in, owns generations and has a quota.

    `by` is the user who decided: often, but not always, the one it is about.
    """

    class Event(DomainEvent):
        """A decision about one user."""

    class Registered(Event, Created):
        topic = "user.registered"
        version = 1

        issuer: str
        role: Role
        personal: Profile

    class LoggedIn(Event):
        """A session began; `link` is the id of the login link that was used, if one was."""

        topic = "user.logged_in"
        version = 1

        session: UUID
        token_hash: str
        ends_at: datetime
        link: str | None = usually(None)

    class SessionsEnded(Event):
        topic = "user.sessions_ended"
        version = 1

        sessions: tuple[UUID, ...]
        by: UUID

    class ProfileChanged(Event):
        topic = "user.profile_changed"
        version = 1

        personal: Profile

    class PreferencesChanged(Event):
        topic = "user.preferences_changed"
        version = 1

        preferences: Preferences
        by: UUID

    class RoleChanged(Event):
        topic = "user.role_changed"
        version = 1

        role: Role
        by: UUID

    class QuotaChanged(Event):
        """All limits of their own from now on: None is no limit, absent is the configured one."""

        topic = "user.quota_changed"
        version = 1

        limits: dict[UserWindowType, int | None]
        by: UUID

    class Suspended(Event):
        topic = "user.suspended"
        version = 1

        by: UUID

    class Reinstated(Event):
        topic = "user.reinstated"
        version = 1

        by: UUID

    @classmethod
    def register(cls, *, issuer: str, role: Role, profile: Profile) -> User:
        """Somebody whom the issuer vouches for is here for the first time."""
        return cls._create(
            cls.Registered,
            id=user_id(issuer, profile.subject),
            issuer=issuer,
            role=role,
            personal=profile,
        )

    @event(Registered)
    def __init__(self, role: Role, personal: Profile) -> None:
        self.role: Role = role
        self.profile = personal
        self.preferences = Preferences()
        self.limits: Mapping[UserWindowType, int | None] = {}
        self.is_suspended = False
        self.sessions: Mapping[UUID, Session] = {}
        self.over: tuple[str, ...] = ()  # the token hashes of the last sessions that ended
        self.used_links: tuple[str, ...] = ()

    # --- logins ----------------------------------------------------------------------------------

    def log_in(
        self,
        *,
        session: UUID,
        token_hash: str,
        now: datetime,
        lasts: timedelta,
        profile: Profile | None = None,
        instead_of: UUID | None = None,
        link: str | None = None,
    ) -> None:
        """Begin a session; the one it takes the place of ends, and those that are one too many.

        Raises SuspendedError, LinkUsedError.
        """
        if self.is_suspended:
            raise SuspendedError
        if link is not None and link in self.used_links:
            raise LinkUsedError
        if profile is not None and profile != self.profile:
            self._profile_changed(profile)
        self.end_sessions(self._ended_by_one_more(now, instead_of), by=self.id)
        self._logged_in(session, token_hash, now + lasts, link)

    def _ended_by_one_more(self, now: datetime, instead_of: UUID | None) -> Collection[UUID]:
        over = {one.id for one in self.sessions.values() if one.ends_at <= now} | {instead_of}
        going_on = [id_ for id_ in self.sessions if id_ not in over]  # in the order they began
        too_many = going_on[: max(len(going_on) - MOST_SESSIONS + 1, 0)]
        return [id_ for id_ in self.sessions if id_ in over or id_ in too_many]

    @event(LoggedIn)
    def _logged_in(
        self,
        session: UUID,
        token_hash: str,
        ends_at: datetime,
        link: str | None = None,
        timestamp: datetime | None = None,
    ) -> None:
        began_at = timestamp or ends_at  # which is known once it is recorded
        self.sessions = {**self.sessions, session: Session(session, token_hash, began_at, ends_at)}
        if link is not None:
            self.used_links = (*self.used_links, link)[-MOST_LINKS:]

    def end_sessions(self, sessions: Collection[UUID], *, by: UUID) -> None:
        """Let these go on no longer; those that are over already do not matter."""
        if ending := tuple(id_ for id_ in self.sessions if id_ in sessions):
            self._sessions_ended(ending, by)

    @event(SessionsEnded)
    def _sessions_ended(self, sessions: tuple[UUID, ...], by: UUID) -> None:
        ended = [one.token_hash for id_, one in self.sessions.items() if id_ in sessions]
        self.sessions = {id_: one for id_, one in self.sessions.items() if id_ not in sessions}
        self.over = (*self.over, *ended)[-MOST_OVER:]

    @event(ProfileChanged)
    def _profile_changed(self, personal: Profile) -> None:
        self.profile = personal

    # --- what they and others decide -------------------------------------------------------------

    def prefer(self, preferences: Preferences, *, by: UUID) -> None:
        """Let requests ask for this where they say nothing."""
        if preferences != self.preferences:
            self._preferences_changed(preferences, by)

    @event(PreferencesChanged)
    def _preferences_changed(self, preferences: Preferences, by: UUID) -> None:
        self.preferences = preferences

    def take_role(self, role: Role, *, by: UUID) -> None:
        """Be an administrator, or no longer."""
        if role != self.role:
            self._role_changed(role, by)

    @event(RoleChanged)
    def _role_changed(self, role: Role, by: UUID) -> None:
        self.role = role

    def limit(self, limits: Mapping[UserWindowType, int | None], *, by: UUID) -> None:
        """Have limits of one's own: None is no limit; where none is named the configured one is.

        Raises LimitRefusedError.
        """
        if any(units is not None and not 0 <= units <= MOST_UNITS for units in limits.values()):
            raise LimitRefusedError
        if limits != self.limits:
            self._quota_changed(dict(limits), by)

    @event(QuotaChanged)
    def _quota_changed(self, limits: dict[UserWindowType, int | None], by: UUID) -> None:
        self.limits = limits

    def suspend(self, *, by: UUID) -> None:
        """Let them do nothing, and end their sessions."""
        if not self.is_suspended:
            self._suspended(by)
        self.end_sessions(self.sessions, by=by)

    @event(Suspended)
    def _suspended(self, by: UUID) -> None:
        self.is_suspended = True

    def reinstate(self, *, by: UUID) -> None:
        """Let them in again: their keys are good again, and they can log in."""
        if self.is_suspended:
            self._reinstated(by)

    @event(Reinstated)
    def _reinstated(self, by: UUID) -> None:
        self.is_suspended = False
