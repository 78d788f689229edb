"""Users and their keys, recorded as the service records them."""

from __future__ import annotations

import secrets
from uuid import uuid4

from application.access import session_token, token_hash
from application.accounts import ADMINISTRATOR
from application.ports.event_store import Accepted, Command, EventStore
from domain.aggregate import Aggregate
from domain.api_key import BEGINS, ApiKey, Scope
from domain.user import Profile, Role, User
from tests.generations import HOUR

ISSUER = "https://people.example"


async def record(store: EventStore, aggregate: Aggregate) -> None:
    assert isinstance(await store.append(Command(events=aggregate.collect_events())), Accepted)


async def new_user(store: EventStore, *, role: Role = "user") -> User:
    user = User.register(issuer=ISSUER, role=role, profile=Profile(subject=uuid4().hex))
    await record(store, user)
    return user


async def new_key(store: EventStore, user: User, *scopes: Scope) -> str:
    key = BEGINS + secrets.token_urlsafe(32)
    await record(
        store,
        ApiKey.issue(
            key, user_id=user.id, name="test", scopes=scopes, expires_at=None, by=ADMINISTRATOR
        ),
    )
    return key


async def new_session(store: EventStore, user: User) -> str:
    """What the browser keeps in its cookie."""
    secret = secrets.token_urlsafe(32)
    user.log_in(session=uuid4(), token_hash=token_hash(secret), now=store.now(), lasts=24 * HOUR)
    await record(store, user)
    return session_token(user.id, secret)


def shown(key: str) -> dict[str, str]:
    """The header that shows a key."""
    return {"Authorization": f"Bearer {key}"}
