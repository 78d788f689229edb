"""API keys: issued, shown once, revoked."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from application.access import scopes_of
from application.deciding import decide_once
from application.idempotency import Idempotency
from application.people import LoadUser, UserNotFoundError, loading
from application.ports.event_store import EventStore
from domain.api_key import BEGINS, ApiKey, Scope, key_id

LAST_EXPIRY = datetime(2200, 1, 1, tzinfo=UTC)


class ApiKeyNotFoundError(Exception):
    """There is no such key, or it is somebody else's: nobody is told which."""

    def __init__(self) -> None:
        super().__init__("There is no such API key, or it is not yours.")


class ScopeNotGivenError(Exception):
    """A key cannot have a scope that its owner's role does not give."""

    def __init__(self, scopes: Collection[Scope]) -> None:
        names = ", ".join(sorted(scopes))
        super().__init__(
            f"Its owner's role does not give the scope {names}. Leave it out, or have an "
            "administrator change the role first."
        )


class ExpiryPassedError(Exception):
    """A key that has expired when it is issued is of no use."""

    def __init__(self, now: datetime) -> None:
        super().__init__(f"It would have expired already: it is {now.isoformat()}. Choose a later.")


class ExpiryTooFarError(Exception):
    """No key is good for that long; and not every clock and calendar can tell of it."""

    def __init__(self) -> None:
        super().__init__(
            f"A key expires before {LAST_EXPIRY.year}, or never: choose an earlier time, or none."
        )


@dataclass(frozen=True)
class IssuedKey:
    """A key's record, and the key itself, which is known this once: not when it is `repeated`."""

    record: ApiKey
    key: str | None

    @property
    def repeated(self) -> bool:
        """Whether the same command had issued it before."""
        return self.key is None


class ApiKeys:
    """The commands on keys. Each may raise StoreUnavailableError, ContendedError."""

    def __init__(self, store: EventStore, load_user: LoadUser | None = None) -> None:
        self._store, self._load_user = store, load_user or loading(store)

    async def issue(
        self,
        *,
        user_id: UUID,
        name: str,
        scopes: tuple[Scope, ...],
        expires_at: datetime | None,
        by: UUID,
        idempotency_key: str | None = None,
    ) -> IssuedKey:
        """A new key of this user's.

        Raises UserNotFoundError, ScopeNotGivenError, ExpiryPassedError, ExpiryTooFarError,
        IdempotencyKeyReusedError.
        """
        user = await self._load_user(user_id)
        if user is None:
            raise UserNotFoundError
        if too_many := set(scopes) - scopes_of(user.role):
            raise ScopeNotGivenError(too_many)
        expires_at = self._foreseeable(expires_at)
        said = {
            "key of": str(user_id),
            "name": name,
            "scopes": sorted(scopes),
            "expires_at": expires_at.isoformat() if expires_at else None,
        }
        key = BEGINS + secrets.token_urlsafe(32)

        async def issued() -> ApiKey:
            return ApiKey.issue(
                key, user_id=user_id, name=name, scopes=scopes, expires_at=expires_at, by=by
            )

        before = await decide_once(
            self._store,
            issued,
            lambda _: None,
            idempotency=Idempotency.of(by, idempotency_key, said),
            what="The API key is",
        )
        id_ = before or key_id(key)
        record = await self._store.get(ApiKey, id_)
        if record is None:
            raise ApiKeyNotFoundError
        return IssuedKey(record, None if before else key)

    def _foreseeable(self, expires_at: datetime | None) -> datetime | None:
        if expires_at is None:
            return None
        if expires_at >= LAST_EXPIRY:
            raise ExpiryTooFarError
        if expires_at <= (now := self._store.now()):
            raise ExpiryPassedError(now)
        return expires_at.astimezone(UTC)

    async def revoke(
        self,
        *,
        id: UUID,  # noqa: A002  # as the domain has it
        by: UUID,
        of: UUID | None = None,
        idempotency_key: str | None = None,
    ) -> bool:
        """Let it be good for nothing; it is `of` this user, or of anybody. Whether it was before.

        Raises ApiKeyNotFoundError, IdempotencyKeyReusedError.
        """

        async def load() -> ApiKey:
            key = await self._store.get(ApiKey, id)
            if key is None or of not in (None, key.user_id):
                raise ApiKeyNotFoundError
            return key

        before = await decide_once(
            self._store,
            load,
            lambda key: key.revoke(by=by),
            idempotency=Idempotency.of(by, idempotency_key, {"revoke": str(id)}),
            what="The API key is",
        )
        return before is not None
