"""A user: somebody who owns generations and has a quota."""

from __future__ import annotations

from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.domain import event

from domain.aggregate import Aggregate, Created, Value
from domain.aggregate import Event as DomainEvent


class Profile(Value):
    """Who a user is, `subject` being what the issuer calls them: personal data, all of it."""

    subject: str
    email: str | None = None
    name: str | None = None
    picture_url: str | None = None


def user_id(issuer: str, subject: str) -> UUID:
    """The stream of the user whom an identity provider knows by `subject`."""
    return uuid5(NAMESPACE_URL, f"{issuer}#{subject}")


def end_user_id(user_id: UUID, end_user: str) -> UUID:
    """Whom a user's backend serves and calls by this name: it stays when the name is erased."""
    return uuid5(user_id, end_user)


class User(Aggregate):
    """Somebody who owns generations and has a quota."""

    class Event(DomainEvent):
        """A decision about one user."""

    class Registered(Event, Created):
        topic = "user.registered"
        version = 1

        issuer: str
        role: str
        personal: Profile

    @classmethod
    def register(cls, *, issuer: str, role: str, profile: Profile) -> User:
        """Somebody whom the issuer vouches for is here for the first time."""
        return cls._create(
            cls.Registered,
            id=user_id(issuer, profile.subject),
            issuer=issuer,
            role=role,
            personal=profile,
        )

    @event(Registered)
    def __init__(self, role: str, personal: Profile) -> None:
        self.role = role
        self.profile = personal
