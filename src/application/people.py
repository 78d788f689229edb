"""What is decided about users: by themselves, and by administrators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from uuid import UUID

from application.accounts import ADMINISTRATOR
from application.deciding import decide_once
from application.idempotency import Idempotency
from application.ports.event_store import EventStore
from application.units import limits_given
from domain.quota import UserWindowType
from domain.user import Preferences, Role, User

LoadUser = Callable[[UUID], Awaitable[User | None]]
"""Gives a user as they are now, to decide about; None if there is nobody of this id."""


def loading(store: EventStore) -> LoadUser:
    """Reads all of a user's events each time."""
    return partial(store.get, User)


class UserNotFoundError(Exception):
    """Nobody of this id was ever here."""

    def __init__(self) -> None:
        super().__init__("There is no such user.")


class LockedOutError(Exception):
    """An administrator would lock out themselves, or the one whom the operator configured."""

    def __init__(self) -> None:
        super().__init__(
            "Administrators cannot suspend or demote themselves, nor the one that comes with the "
            "service: nobody might be left who can undo it. Let another administrator do it."
        )


class People:
    """The commands on users. Each says whether the same key had done it before.

    `by` is who decides. Each may raise UserNotFoundError, IdempotencyKeyReusedError,
    ContendedError, StoreUnavailableError.
    """

    def __init__(self, store: EventStore, load: LoadUser | None = None) -> None:
        self._store, self._load = store, load or loading(store)

    async def user(self, user_id: UUID) -> User:
        """As they are now."""
        user = await self._load(user_id)
        if user is None:
            raise UserNotFoundError
        return user

    async def prefer(
        self, user_id: UUID, preferences: Preferences, *, by: UUID, idempotency_key: str | None
    ) -> bool:
        """Let their requests ask for this where they say nothing."""
        return await self._decide(
            user_id,
            lambda user: user.prefer(preferences, by=by),
            Idempotency.of(
                by, idempotency_key, {"user": str(user_id), "prefer": preferences.model_dump()}
            ),
        )

    async def change_standing(
        self,
        user_id: UUID,
        *,
        role: Role | None = None,
        suspended: bool | None = None,
        by: UUID,
        idempotency_key: str | None,
    ) -> bool:
        """Make them an administrator or no longer, suspend or reinstate them; None leaves it so.

        Raises LockedOutError.
        """
        locks_out = role == "user" or suspended
        if locks_out and user_id in (by, ADMINISTRATOR):
            raise LockedOutError

        def decide(user: User) -> None:
            if role is not None:
                user.take_role(role, by=by)
            if suspended is not None:
                (user.suspend if suspended else user.reinstate)(by=by)

        said = {"user": str(user_id), "role": role, "suspended": suspended}
        return await self._decide(user_id, decide, Idempotency.of(by, idempotency_key, said))

    async def limit(
        self,
        user_id: UUID,
        limits: Mapping[UserWindowType, int | None],
        *,
        by: UUID,
        idempotency_key: str | None = None,
    ) -> bool:
        """Give them these limits of their own and no others, for whatever is recorded behind it.

        None is no limit; where a type of window is absent the configured limit holds. Raises
        LimitRefusedError.
        """
        return await self._decide(
            user_id,
            lambda user: user.limit(limits, by=by),
            Idempotency.of(by, idempotency_key, {"user": str(user_id), "limit": dict(limits)}),
        )

    async def end_sessions(
        self,
        user_id: UUID,
        sessions: Collection[UUID] | None,
        *,
        by: UUID,
        idempotency_key: str | None = None,
    ) -> bool:
        """Let these go on no longer, all of them for None."""
        said = {"user": str(user_id), "end": sorted(map(str, sessions or ())) or "all"}
        return await self._decide(
            user_id,
            lambda user: user.end_sessions(user.sessions if sessions is None else sessions, by=by),
            Idempotency.of(by, idempotency_key, said),
        )

    async def _decide(
        self, user_id: UUID, decide: Callable[[User], None], idempotency: Idempotency | None
    ) -> bool:
        before = await decide_once(
            self._store,
            lambda: self.user(user_id),
            decide,
            idempotency=idempotency,
            what="The user is",
            limits=limits_given,
        )
        return before is not None
