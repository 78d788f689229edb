"""An API key: what a backend shows to act for a user, within its scopes."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Literal
from uuid import UUID

from eventsourcing.domain import event

from domain.aggregate import Aggregate, Created, Value
from domain.aggregate import Event as DomainEvent

Scope = Literal["generate", "read", "events", "admin"]
"""generate: ask for pictures, and act on them; read: look at what is the user's; events: follow
what happens to it, and have it told; admin: what administrators may, while the user is one."""

BEGINS = "dk_"
PREFIX_LENGTH = 10  # of what is kept to tell keys apart: of the secret, 42 bits


class Label(Value):
    """What its owner calls a key: they may write anything."""

    name: str


def key_id(key: str) -> UUID:
    """The stream of a key: a part of its hash, which tells nothing of a key that is long enough."""
    return UUID(bytes=sha256(key.encode()).digest()[:16])


class ApiKey(Aggregate):
    """What a backend shows to act for a user; of the key itself only a hash is kept."""

    class Event(DomainEvent):
        """A decision about one key."""

    class Issued(Event, Created):
        """`hash` is SHA-256 in hex of the key, `prefix` its first characters."""

        topic = "api_key.issued"
        version = 1

        user_id: UUID
        hash: str
        prefix: str
        scopes: tuple[Scope, ...]
        expires_at: datetime | None
        by: UUID
        personal: Label

    class Revoked(Event):
        topic = "api_key.revoked"
        version = 1

        by: UUID

    @classmethod
    def issue(
        cls,
        key: str,
        *,
        user_id: UUID,
        name: str,
        scopes: tuple[Scope, ...],
        expires_at: datetime | None,
        by: UUID,
    ) -> ApiKey:
        """`key` begins with BEGINS and holds at least 128 bits of chance."""
        return cls._create(
            cls.Issued,
            id=key_id(key),
            user_id=user_id,
            hash=sha256(key.encode()).hexdigest(),
            prefix=key[:PREFIX_LENGTH],
            scopes=scopes,
            expires_at=expires_at,
            by=by,
            personal=Label(name=name),
        )

    @event(Issued)
    def __init__(
        self,
        user_id: UUID,
        hash: str,  # noqa: A002  # as the event has it
        prefix: str,
        scopes: tuple[Scope, ...],
        expires_at: datetime | None,
        personal: Label,
        timestamp: datetime | None = None,
    ) -> None:
        self.user_id = user_id
        self.hash = hash
        self.prefix = prefix
        self.scopes = scopes
        self.expires_at = expires_at
        self.name = personal.name
        self.issued_at = timestamp
        self.is_revoked = False

    def is_this(self, key: str) -> bool:
        """Whether it is this very key, in a time that tells nothing of it."""
        return compare_digest(sha256(key.encode()).hexdigest(), self.hash)

    def revoke(self, *, by: UUID) -> None:
        """Let it be good for nothing any more, for ever."""
        if not self.is_revoked:
            self._revoked(by)

    @event(Revoked)
    def _revoked(self, by: UUID) -> None:
        self.is_revoked = True
