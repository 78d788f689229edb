"""Repeats of a command are one: a client's key, and what it was used for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from uuid import UUID

from application.ports import Duplicate, IdempotencyKey, UsedKey


class IdempotencyKeyReusedError(Exception):
    """The same key came with another request."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"The Idempotency-Key {key!r} was used for a different request in the last 24 hours. "
            "Use a new key for a new request."
        )


@dataclass(frozen=True)
class Idempotency:
    """A client's key, and the fingerprint of the command it parsed to."""

    key: str
    fingerprint: str

    @classmethod
    def of(cls, key: str | None, said: Mapping[str, object]) -> Idempotency | None:
        """Of a command that says this; None where the client sent no key."""
        if key is None:
            return None
        return cls(key, sha256(json.dumps(said, sort_keys=True).encode()).hexdigest())

    def for_command(self, user_id: UUID, ref: UUID) -> IdempotencyKey:
        """What is recorded with a command that makes or changes `ref`."""
        return IdempotencyKey(user_id, self.key, self.fingerprint, ref)

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
