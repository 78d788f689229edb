"""Logins: who comes in by whose word, for how long, and which of their sessions go on."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from application.access import session_token, token_hash
from application.accounts import ADMINISTRATOR, new_administrator
from application.deciding import decide_once
from application.last_uses import LastUses
from application.login_links import LoginLinks
from application.people import LoadUser, loading
from application.ports.event_store import EventStore
from application.ports.identity import GOOGLE, Identity
from domain.aggregate import caused_by, current_metadata
from domain.user import Profile, User, user_id

NO_ORGANISATIONS = "gmail.com"  # Google's own domain for people on their own


class LoginNotConfiguredError(Exception):
    """There is no provider to log in with."""

    def __init__(self) -> None:
        super().__init__(
            "No login provider is configured here. Whoever runs the service logs in by a link that"
            " `darkroom login-link` makes, or sets OIDC_CLIENT_ID."
        )


class EmailNotVerifiedError(Exception):
    """The provider does not vouch for the email address, which could be anybody's."""

    def __init__(self) -> None:
        super().__init__(
            "The login provider does not say that your email address is verified. Verify it there,"
            " then log in again."
        )


class DomainNotAllowedError(Exception):
    """The operator lets in people of some domains only."""

    def __init__(self) -> None:
        super().__init__(
            "Accounts of your domain may not log in here. Log in with another account, or ask"
            " whoever runs the service."
        )


class SessionNotFoundError(Exception):
    """There is no such session of theirs, or it is over."""

    def __init__(self) -> None:
        super().__init__("There is no such session, or it is over.")


@dataclass(frozen=True)
class LoggedIn:
    """Who logged in, and the token that their browser is to keep for `lasts`."""

    user_id: UUID
    token: str = field(repr=False)
    lasts: timedelta


@dataclass(frozen=True)
class GoingOn:
    """A session that is not over; what other processes know of its last use may be newer."""

    id: UUID
    began_at: datetime
    last_used_at: datetime
    ends_at: datetime


class Logins:
    """The commands that begin sessions, and a look at those that go on.

    A session lasts for `lasts`, and ends when it was not used for `idle`. With `domains`, people of
    other email domains are refused. Each method may raise StoreUnavailableError, those that begin a
    session ContendedError and SuspendedError.
    """

    def __init__(
        self,
        store: EventStore,
        uses: LastUses,
        *,
        load: LoadUser | None = None,
        links: LoginLinks,
        lasts: timedelta,
        idle: timedelta,
        domains: Collection[str] = (),
    ) -> None:
        self._store, self._load = store, load or loading(store)
        self._uses, self._links = uses, links
        self._lasts, self._idle, self._domains = lasts, idle, frozenset(domains)

    async def by_identity(self, identity: Identity, *, instead_of: UUID | None = None) -> LoggedIn:
        """Log in whom a provider vouches for; who was never here is registered.

        `instead_of` is the session that the browser had: it ends, if it is their own. Raises
        EmailNotVerifiedError, DomainNotAllowedError.
        """
        profile = self._profile(identity)
        return await self._log_in(
            user_id(identity.issuer, identity.subject),
            lambda: User.register(issuer=identity.issuer, role="user", profile=profile),
            profile=profile,
            instead_of=instead_of,
        )

    async def by_link(self, token: str, *, instead_of: UUID | None = None) -> LoggedIn:
        """Log in the administrator who comes with the service, once by each link.

        Raises LinkRefusedError, LinkUsedError.
        """
        link = self._links.id_of(token, self._store.now())
        return await self._log_in(
            ADMINISTRATOR, new_administrator, link=link, instead_of=instead_of
        )

    async def going_on(self, user_id: UUID) -> Sequence[GoingOn]:
        """Their sessions that are not over, the newest first."""
        user = await self._load(user_id)
        sessions = user.sessions if user else {}
        used = await self._uses.last(sessions.keys())
        now = self._store.now()
        rows = [
            GoingOn(one.id, one.began_at, used.get(one.id, one.began_at), one.ends_at)
            for one in sessions.values()
            if not one.is_over(now, used_at=used.get(one.id, one.began_at), idle=self._idle)
        ]
        return rows[::-1]

    def _profile(self, identity: Identity) -> Profile:
        """What is recorded of them: an email address only where it is theirs."""
        if identity.email is not None and identity.email_is_verified is False:
            raise EmailNotVerifiedError
        email = identity.email if identity.email_is_verified else None
        if self._domains:
            self._refuse_other_domains(identity, email)
        return Profile(
            subject=identity.subject,
            email=email,
            name=identity.name,
            picture_url=identity.picture_url,
        )

    def _refuse_other_domains(self, identity: Identity, email: str | None) -> None:
        if email is None:
            raise EmailNotVerifiedError
        domain = email.rpartition("@")[2].lower()
        if domain not in self._domains:
            raise DomainNotAllowedError
        # A private Google account can bear an organisation's address, even long after leaving it.
        is_managed = identity.issuer == GOOGLE and domain != NO_ORGANISATIONS
        if is_managed and (identity.hosted_domain or "").lower() not in self._domains:
            raise DomainNotAllowedError

    async def _log_in(
        self,
        id_: UUID,
        register: Callable[[], User],
        *,
        profile: Profile | None = None,
        instead_of: UUID | None,
        link: str | None = None,
    ) -> LoggedIn:
        secret = secrets.token_urlsafe(32)

        async def load() -> User:
            return await self._load(id_) or register()

        def decide(user: User) -> None:
            user.log_in(
                session=uuid4(),
                token_hash=token_hash(secret),
                now=self._store.now(),
                lasts=self._lasts,
                profile=profile,
                instead_of=instead_of,
                link=link,
            )

        with caused_by(actor=f"user:{id_}", correlation_id=current_metadata().correlation_id):
            await decide_once(self._store, load, decide, idempotency=None, what="The user is")
        return LoggedIn(id_, session_token(id_, secret), self._lasts)
