"""Who asks, and what they may: keys, sessions and users, as every process sees them in a second."""

from __future__ import annotations

import asyncio
import re
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from hmac import compare_digest
from uuid import UUID

from application.accounts import ADMINISTRATOR
from application.fresh import Fresh
from application.last_uses import LastUses
from application.ports.event_store import EventStore, StoreUnavailableError, UnknownEventError
from application.tasks import end
from domain.api_key import BEGINS, ApiKey, Scope, key_id
from domain.user import Preferences, Role, Session, SuspendedError, User

LONGEST_KEY = 200  # characters
SESSION_TOKEN = re.compile(r"([0-9a-f]{32})\.([A-Za-z0-9_-]{43})")

EVERYTHING: frozenset[Scope] = frozenset({"generate", "read", "events", "admin"})
BOOTSTRAP_KEY = "admin"  # the id of the key that the operator configures


@dataclass(frozen=True)
class Caller:
    """Who asks, as what, by which key or in which session, and which scopes that gives them."""

    user_id: UUID
    role: Role
    scopes: frozenset[Scope]
    api_key_id: str | None = None
    session_id: UUID | None = None

    @property
    def is_in_person(self) -> bool:
        """Whether it is they themselves, logged in, or whoever may do everything here."""
        return self.session_id is not None or "admin" in self.scopes


class KeyRefusedError(Exception):
    """The key that was shown is good for nothing."""

    def __init__(self, why: str = "is not valid") -> None:
        super().__init__(f"This API key {why}.")


class SessionOverError(Exception):
    """The session that was shown is unknown, or over."""

    def __init__(self) -> None:
        super().__init__("You are not logged in (any more). Log in again.")


def session_token(user_id: UUID, secret: str) -> str:
    """What a browser keeps; of `secret`, a `secrets.token_urlsafe(32)`, a hash is recorded."""
    return f"{user_id.hex}.{secret}"


def token_hash(secret: str) -> str:
    """What is recorded of a session's secret."""
    return sha256(secret.encode()).hexdigest()


class Access:
    """Lets callers in. What was decided in other processes is seen within a second.

    `admin_key` is the bootstrap administrator's; a session ends when it was not used for `idle`.
    While `keep` runs, nobody waits for a look at what is in use. Each method may raise
    StoreUnavailableError and UnknownEventError.
    """

    def __init__(
        self, store: EventStore, uses: LastUses, *, admin_key: str | None, idle: timedelta
    ) -> None:
        self._store, self._uses, self._idle = store, uses, idle
        self._admin_key = sha256(admin_key.encode()).digest() if admin_key else None
        self._fresh = Fresh(store)

    async def by_key(self, key: str) -> Caller:
        """Who may use this key. Raises KeyRefusedError, SuspendedError."""
        if self._is_admin_key(key):
            return Caller(ADMINISTRATOR, "administrator", EVERYTHING, api_key_id=BOOTSTRAP_KEY)
        if not key.startswith(BEGINS) or len(key) > LONGEST_KEY:
            raise KeyRefusedError
        shown = await self._fresh.get(ApiKey, key_id(key))
        if shown is None or not shown.is_this(key):
            raise KeyRefusedError
        caller = await self._owner(shown)
        self._uses.use(shown.id, self._store.now())
        return caller

    def knows_key(self, key: str) -> bool:
        """Whether it is the operator's, or somebody's that is known here without a look."""
        if self._is_admin_key(key):
            return True
        known = self._fresh.known(ApiKey, key_id(key))
        return known is not None and known.is_this(key)

    async def by_session(self, token: str) -> Caller:
        """Who keeps this `session_token`. Raises SessionOverError, SuspendedError."""
        match = SESSION_TOKEN.fullmatch(token)
        if match is None:
            raise SessionOverError
        user_id, hashed = UUID(match[1]), token_hash(match[2])
        user, session = await self._session(user_id, hashed, as_of_now=False)
        if session is None:  # it may have begun a moment ago, in another process
            user, session = await self._session(user_id, hashed, as_of_now=True)
        caller = await self._of_session(user, session)
        if session is not None:
            self._uses.use(session.id, self._store.now())
        return caller

    async def is_still_in(self, caller: Caller) -> bool:
        """Whether who was let in before would be let in now: for what goes on for long.

        While the store is away nobody is taken for somebody who is not.
        """
        try:
            await self.let_in_again(caller)
        except (KeyRefusedError, SessionOverError, SuspendedError):
            return False
        except (StoreUnavailableError, UnknownEventError):
            return True
        return True

    async def let_in_again(self, caller: Caller) -> None:
        """Raises KeyRefusedError, SessionOverError, SuspendedError if they would not be let in."""
        if caller.session_id is not None:
            user = await self._fresh.get(User, caller.user_id)
            session = user.sessions.get(caller.session_id) if user else None
            await self._of_session(user, session)
        elif caller.api_key_id != BOOTSTRAP_KEY:
            shown = await self._fresh.get(ApiKey, UUID(caller.api_key_id))
            if shown is None:
                raise KeyRefusedError
            await self._owner(shown)

    async def user(self, user_id: UUID) -> User | None:
        """As they are now, to decide about: only what is new is read."""
        user = await self._fresh.get(User, user_id, as_of_now=True)
        return deepcopy(user)

    async def preferences(self, user_id: UUID) -> Preferences:
        """What this user's requests ask for where they say nothing."""
        user = await self._fresh.get(User, user_id)
        return user.preferences if user else Preferences()

    def look_again(self, stream: UUID) -> None:
        """Something was decided here, and is seen here at once."""
        self._fresh.look_again(stream)

    def knows_session(self, token: str) -> bool:
        """Whether it is, or was, one that is known here without a look."""
        match = SESSION_TOKEN.fullmatch(token)
        if match is None:
            return False
        user, hashed = self._fresh.known(User, UUID(match[1])), token_hash(match[2])
        return user is not None and (hashed in user.over or _session_of(user, hashed) is not None)

    async def keep(self) -> None:
        """Look again at what is in use, and note that it is, for ever."""
        keeping = asyncio.create_task(self._fresh.keep())
        try:
            await self._uses.keep()
        finally:
            await end(keeping)

    def _is_admin_key(self, key: str) -> bool:
        given = self._admin_key
        return given is not None and compare_digest(sha256(key.encode()).digest(), given)

    async def _owner(self, shown: ApiKey) -> Caller:
        if shown.is_revoked:
            raise KeyRefusedError("was revoked")
        if shown.expires_at is not None and shown.expires_at <= self._store.now():
            raise KeyRefusedError(f"expired at {shown.expires_at.isoformat()}")
        user = await self._fresh.get(User, shown.user_id)
        if user is None:
            raise KeyRefusedError
        if user.is_suspended:
            raise SuspendedError
        scopes = scopes_of(user.role) & set(shown.scopes)
        return Caller(user.id, user.role, scopes, api_key_id=str(shown.id))

    async def _of_session(self, user: User | None, session: Session | None) -> Caller:
        if user is not None and user.is_suspended:
            raise SuspendedError
        if user is None or session is None or await self._is_over(session):
            raise SessionOverError
        return Caller(user.id, user.role, scopes_of(user.role), session_id=session.id)

    async def _session(
        self, user_id: UUID, hashed: str, *, as_of_now: bool
    ) -> tuple[User | None, Session | None]:
        user = await self._fresh.get(User, user_id, as_of_now=as_of_now)
        return user, _session_of(user, hashed)

    async def _is_over(self, session: Session) -> bool:
        now = self._store.now()
        used = self._uses.here(session.id) or session.began_at
        if now - used > self._idle / 2:  # another process may know of a later use
            used = max(used, (await self._uses.last((session.id,))).get(session.id, used))
        return session.is_over(now, used_at=used, idle=self._idle)


def scopes_of(role: Role) -> frozenset[Scope]:
    """What whoever has this role may do, and their keys at most."""
    return EVERYTHING if role == "administrator" else EVERYTHING - {"admin"}


def _session_of(user: User | None, hashed: str) -> Session | None:
    theirs = user.sessions.values() if user else ()
    found = [one for one in theirs if compare_digest(one.token_hash, hashed)]
    return found[0] if found else None
