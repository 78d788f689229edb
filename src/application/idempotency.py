"""Repeats of a command are one: a client's key, and what it was used for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from uuid import UUID, uuid4

from application.ports.event_store import KEEP_KEYS, Duplicate, IdempotencyKey, Sending, UsedKey
from domain.aggregate import ClientKey

KEEP_SENDINGS = timedelta(minutes=10)  # after the last moment at which the first may be answered


class IdempotencyKeyReusedError(Exception):
    """The same key came with another request."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The Idempotency-Key {key!r} was used for a different request in the last 24 hours. "
            "Use a new key for a new request."
        )


def hashed(user_id: UUID, key: str) -> str:
    """What a user's key is recorded as: it may be somebody's data, and nobody needs to read it."""
    return sha256(f"{user_id} {key}".encode()).hexdigest()


@dataclass(frozen=True)
class NumberedSending:
    """A request of a client that sends it again by itself: which sending, and with which secret.

    Its secret, an API key, is what all sendings have in common and nobody keeps.
    """

    sending: Sending
    secret: str = field(repr=False)

    @property
    def is_a_repeat(self) -> bool:
        """Whether its client says that it has sent it before."""
        return self.sending.number > 0


@dataclass(frozen=True)
class Idempotency:
    """A client's key, and the fingerprint of the command it parsed to."""

    user_id: UUID
    key: str
    fingerprint: str
    keep: timedelta = KEEP_KEYS
    sending: Sending | None = None

    @classmethod
    def of(cls, user_id: UUID, key: str | None, said: Mapping[str, object]) -> Idempotency | None:
        """Of a command that says this; None where the client sent no key.

        The fingerprint is made with the key: without it nobody can try out what was said.
        """
        if key is None:
            return None
        return cls(user_id, key, _fingerprint(key, said))

    @classmethod
    def of_sending(
        cls,
        user_id: UUID,
        numbered: NumberedSending | None,
        said: Mapping[str, object],
        answered_within: timedelta,
    ) -> Idempotency | None:
        """Of a command without a key, whose client numbers its sendings; None where it does not."""
        if numbered is None:
            return None
        keep = min(answered_within + KEEP_SENDINGS, KEEP_KEYS)
        fingerprint = _fingerprint(numbered.secret, said)
        return cls(user_id, str(uuid4()), fingerprint, keep, numbered.sending)

    @property
    def recorded(self) -> ClientKey:
        """What the events of the command carry of it."""
        return ClientKey(
            key=hashed(self.user_id, self.key),
            fingerprint=self.fingerprint,
            keep_seconds=self.keep.total_seconds(),
            sending=self.sending.number if self.sending else None,
        )

    def for_repeat(self) -> IdempotencyKey:
        """What is recorded when this is taken for what an earlier sending made."""
        return replace(self.for_command(UUID(int=0)), only_a_repeat=True)

    def for_command(self, ref: UUID) -> IdempotencyKey:
        """What is recorded with a command that makes or changes `ref`."""
        return IdempotencyKey(
            self.user_id, self.recorded.key, self.fingerprint, ref, self.keep, self.sending
        )

    def used_for(self, before: UsedKey | Duplicate) -> UUID:
        """What this command made or changed before. Raises IdempotencyKeyReusedError."""
        same = (
            before.same_fingerprint
            if isinstance(before, Duplicate)
            else before.fingerprint == self.fingerprint
        )
        if not same:
            raise IdempotencyKeyReusedError(self.key)
        return before.ref


def _fingerprint(secret: str, said: Mapping[str, object]) -> str:
    return sha256(f"{secret} {json.dumps(said, sort_keys=True)}".encode()).hexdigest()
