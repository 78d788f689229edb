"""Users, their keys and preferences as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field

from domain.api_key import Scope
from domain.image import Format
from domain.quota import MOST_UNITS
from domain.user import Role
from interfaces.rest.fields import ONE_SHAPE, AspectRatio, Name, Size, Text, whole
from interfaces.rest.shapes import Shape
from interfaces.rest.times import rfc_3339

Scopes = Annotated[tuple[Scope, ...], Field(min_length=1, max_length=4)]


class KeyRequest(Shape):
    """A key to be issued."""

    model_config = ConfigDict(strict=True, extra="forbid", validate_by_name=False)

    name: Annotated[Text, Field(min_length=1, max_length=100)] = Field(
        description="What you call it, to know it again.", examples=["web shop"]
    )
    scopes: Annotated[Scopes, Field(strict=False)] = Field(
        ("generate", "read"),
        description="generate: ask for pictures and act on them; read: look at what is yours; "
        "events: follow it, and webhooks; admin: what administrators may.",
    )
    expires_at: Annotated[AwareDatetime, rfc_3339, Field(strict=False)] | None = Field(
        None,
        description="When it is good for nothing any more, before 2200; never, without.",
    )


class KeyShape(Shape):
    """An API key, without the key itself."""

    id: UUID
    name: str
    prefix: str = Field(description="What the key begins with.", examples=["dk_3vQxY7a"])
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="Some seconds late; null for never.")


class IssuedKeyShape(KeyShape):
    """A key that was just issued."""

    key: str | None = Field(
        description="The key itself. It is shown this once: a repeat with the same Idempotency-Key "
        "shows null; revoke it then, and have another one issued."
    )


class KeyList(Shape):
    """The newest first."""

    items: tuple[KeyShape, ...]
    next_cursor: str | None


class PreferencesShape(Shape):
    """What your requests ask for where they say nothing; null is no preference."""

    model_config = ConfigDict(
        strict=True, extra="forbid", validate_by_name=False, json_schema_extra=ONE_SHAPE
    )

    provider: Name | None = Field(None, description="One of those that are offered here.")
    model: Name | None = Field(None, description="One of the provider's models.")
    size: Size | None = Field(None, examples=["1024x1024"])
    aspect_ratio: AspectRatio | None = Field(None, examples=["16:9"])
    quality: Name | None = None
    format: Format | None = None


class UserShape(Shape):
    """Somebody who uses the service."""

    id: UUID
    email: str | None
    name: str | None
    picture_url: str | None
    role: Role
    suspended: bool


class ListedUserShape(UserShape):
    """Somebody in the list of users."""

    created_at: datetime
    last_login_at: datetime | None


class UserList(Shape):
    """The newest first."""

    items: tuple[ListedUserShape, ...]
    next_cursor: str | None


class MeShape(UserShape):
    """You, and what you showed."""

    preferences: PreferencesShape
    scopes: tuple[Scope, ...] = Field(description="What your key or login lets you do here.")
    api_key_id: str | None = Field(description="Of the key that was shown.")
    session_id: UUID | None = Field(description="Of the login that was shown.")


Limit = Annotated[int, Field(ge=0, le=MOST_UNITS), BeforeValidator(whole)]


class LimitsShape(Shape):
    """Limits of a user's own: null is no limit, and what is left out is as configured."""

    model_config = ConfigDict(strict=True, extra="forbid", validate_by_name=False)

    daily: Limit | None = Field(None, description="Units in a day, in UTC.")
    monthly: Limit | None = Field(None, description="Units in a calendar month, in UTC.")


class UserChange(Shape):
    """What is decided about a user; what is left out stays as it is."""

    model_config = ConfigDict(strict=True, extra="forbid", validate_by_name=False)

    role: Role | None = None
    suspended: bool | None = Field(None, description="Let them do nothing, or let them in again.")
