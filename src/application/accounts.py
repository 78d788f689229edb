"""Who there is: for now, the administrator whose key the operator configures."""

from __future__ import annotations

from application.ports.event_store import Command, Conflict, EventStore
from domain.user import Profile, User, user_id

ISSUER = "darkroom"
ADMINISTRATOR = user_id(ISSUER, "admin")


def new_administrator() -> User:
    """The bootstrap user, who is not recorded yet."""
    profile = Profile(subject="admin", name="Administrator")
    return User.register(issuer=ISSUER, role="administrator", profile=profile)


class Accounts:
    """The commands on users."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def register_administrator(self) -> None:
        """See to it that the bootstrap user is recorded, once, from however many processes.

        Raises StoreUnavailableError.
        """
        if await self._store.history(ADMINISTRATOR, after=0, limit=1):
            return
        command = Command(events=new_administrator().collect_events())
        outcome = await self._store.append(command)
        if isinstance(outcome, Conflict):  # another process was first
            return
