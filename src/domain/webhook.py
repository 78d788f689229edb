"""Webhooks: where a user wants to be told of what ends, and with which secrets it is signed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, get_args
from uuid import UUID, uuid5

from eventsourcing.domain import event

from domain.aggregate import Aggregate, Created, Value
from domain.aggregate import Event as DomainEvent

EventType = Literal[
    "image.generation.completed", "image.generation.failed", "image.generation.cancelled"
]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)
WhyDisabled = Literal["asked", "gone", "failing"]

MOST_ENDPOINTS = 20
MOST_DECISIONS = 5000  # of a user: all of them are read for every try
OLD_SECRET_LASTS = timedelta(hours=24)


class Address(Value):
    """Where an endpoint is: personal data, for a path may name or admit somebody."""

    url: str


class EndpointNotFoundError(Exception):
    """There is no such endpoint, or it is somebody else's: nobody is told which."""

    def __init__(self) -> None:
        super().__init__("There is no such webhook, or it is not yours.")


class TooManyEndpointsError(Exception):
    """A user has as many endpoints as anybody may have."""

    def __init__(self) -> None:
        super().__init__(f"You have {MOST_ENDPOINTS} webhooks, the most there can be. Remove one.")


class TooManyDecisionsError(Exception):
    """A user changed their webhooks as often as anybody may."""

    def __init__(self) -> None:
        super().__init__(
            f"You changed your webhooks {MOST_DECISIONS} times, the most there can be. They stay as"
            " they are; from now on you can disable and remove them."
        )


class EndpointDisabledError(Exception):
    """Nothing is sent to an endpoint that is disabled."""

    def __init__(self) -> None:
        super().__init__("This webhook is disabled. Enable it, then send again.")


@dataclass(frozen=True)
class Secret:
    """Which secret is valid: its number, and until when the one before it is valid too."""

    number: int = 1
    old_until: datetime | None = None

    def numbers_at(self, now: datetime) -> tuple[int, ...]:
        """Those that are valid now, the newest first."""
        old_is_valid = self.old_until is not None and now < self.old_until
        return (self.number, self.number - 1) if old_is_valid else (self.number,)


@dataclass(frozen=True)
class Endpoint:
    """Where deliveries go, and which; `since` is when it was registered or last enabled."""

    id: UUID
    url: str
    events: tuple[EventType, ...]
    registered_at: datetime | None
    since: datetime | None
    secret: Secret = Secret()
    disabled: WhyDisabled | None = None

    def wants(self, type_: EventType, at: datetime) -> bool:
        """Whether it is told of what happened then: not of what was before it was there."""
        is_there = self.disabled is None and self.since is not None and self.since <= at
        return is_there and type_ in self.events


def webhooks_id(user_id: UUID) -> UUID:
    """The stream of all webhooks of a user."""
    return uuid5(user_id, "webhooks")


class Webhooks(Aggregate):
    """All endpoints of one user, and the secret of the addresses that single requests name.

    Secrets are known by their numbers; `by` is the user who decided. There are so many decisions
    and no more, but for those that end: each endpoint can be disabled and removed all the same.
    """

    class Event(DomainEvent):
        """A decision about one user's webhooks."""

    class Opened(Event, Created):
        """Somebody decided about their webhooks for the first time."""

        topic = "webhook.opened"
        version = 1

        user_id: UUID

    class EndpointRegistered(Event):
        topic = "webhook.endpoint_registered"
        version = 1

        endpoint: UUID
        events: tuple[EventType, ...]
        by: UUID
        personal: Address

    class EndpointChanged(Event):
        topic = "webhook.endpoint_changed"
        version = 1

        endpoint: UUID
        events: tuple[EventType, ...]
        by: UUID
        personal: Address

    class SecretRotated(Event):
        """The one before `number` is valid until `old_until`; without an endpoint the user's."""

        topic = "webhook.secret_rotated"
        version = 1

        endpoint: UUID | None
        number: int
        old_until: datetime
        by: UUID

    class EndpointDisabled(Event):
        """It answered 410 (gone), or nothing for days (failing), or somebody asked for it."""

        topic = "webhook.endpoint_disabled"
        version = 1

        endpoint: UUID
        why: WhyDisabled
        by: UUID | None

    class EndpointEnabled(Event):
        topic = "webhook.endpoint_enabled"
        version = 1

        endpoint: UUID
        by: UUID

    class EndpointRemoved(Event):
        topic = "webhook.endpoint_removed"
        version = 1

        endpoint: UUID
        by: UUID

    @classmethod
    def open(cls, user_id: UUID) -> Webhooks:
        """Nothing was decided yet."""
        return cls._create(cls.Opened, id=webhooks_id(user_id), user_id=user_id)

    @event(Opened)
    def __init__(self, user_id: UUID) -> None:
        self.user_id = user_id
        self.endpoints: dict[UUID, Endpoint] = {}
        self.secret = Secret()

    # --- decisions -------------------------------------------------------------------------------

    def endpoint(self, id_: UUID) -> Endpoint:
        """Raises EndpointNotFoundError."""
        if id_ not in self.endpoints:
            raise EndpointNotFoundError
        return self.endpoints[id_]

    def register(self, id_: UUID, *, url: str, events: Collection[EventType], by: UUID) -> None:
        """Tell this address too; who is there already stays.

        Raises TooManyEndpointsError, TooManyDecisionsError.
        """
        if id_ in self.endpoints:
            return
        if len(self.endpoints) >= MOST_ENDPOINTS:
            raise TooManyEndpointsError
        self._refuse_too_many_decisions()
        self._registered(id_, in_order(events), by, Address(url=url))

    def change(
        self,
        id_: UUID,
        *,
        by: UUID,
        url: str | None = None,
        events: Collection[EventType] | None = None,
    ) -> None:
        """Tell it elsewhere, or of other events; None stays.

        Raises EndpointNotFoundError, TooManyDecisionsError.
        """
        before = self.endpoint(id_)
        after = replace(
            before,
            url=before.url if url is None else url,
            events=before.events if events is None else in_order(events),
        )
        if after != before:
            self._refuse_too_many_decisions()
            self._changed(id_, after.events, by, Address(url=after.url))

    def rotate_secret(self, id_: UUID | None, *, now: datetime, by: UUID) -> None:
        """Make a new one, of an endpoint or the user's own; the old one stays valid for a while.

        Raises EndpointNotFoundError, TooManyDecisionsError.
        """
        before = self.secret if id_ is None else self.endpoint(id_).secret
        self._refuse_too_many_decisions()
        self._secret_rotated(id_, before.number + 1, now + OLD_SECRET_LASTS, by)

    def enable(self, id_: UUID, *, by: UUID) -> None:
        """Let it be told (again) of what happens from now on.

        Raises EndpointNotFoundError, TooManyDecisionsError.
        """
        if self.endpoint(id_).disabled:
            self._refuse_too_many_decisions()
            self._enabled(id_, by)

    def disable(self, id_: UUID, *, by: UUID) -> None:
        """Let it be told of nothing until it is enabled. Raises EndpointNotFoundError."""
        if not self.endpoint(id_).disabled:
            self._disabled(id_, "asked", by)

    def give_up(self, id_: UUID, why: WhyDisabled, *, since: datetime) -> None:
        """Disable it for how it answered what was begun then; who was enabled later stays so."""
        known = self.endpoints.get(id_)
        if known and not known.disabled and known.since is not None and known.since <= since:
            self._disabled(id_, why, None)

    def remove(self, id_: UUID, *, by: UUID) -> None:
        """Forget it. Raises EndpointNotFoundError."""
        self._removed(self.endpoint(id_).id, by)

    def wanting(self, type_: EventType, at: datetime) -> tuple[Endpoint, ...]:
        """Those that are told of what happened then."""
        return tuple(one for one in self.endpoints.values() if one.wants(type_, at))

    def _refuse_too_many_decisions(self) -> None:
        if self.version >= MOST_DECISIONS:
            raise TooManyDecisionsError

    # --- applying --------------------------------------------------------------------------------

    def _put(self, endpoint: Endpoint) -> None:
        self.endpoints = {**self.endpoints, endpoint.id: endpoint}

    @event(EndpointRegistered)
    def _registered(
        self,
        endpoint: UUID,
        events: tuple[EventType, ...],
        by: UUID,
        personal: Address,
        timestamp: datetime | None = None,
    ) -> None:
        self._put(Endpoint(endpoint, personal.url, events, timestamp, timestamp))

    @event(EndpointChanged)
    def _changed(
        self, endpoint: UUID, events: tuple[EventType, ...], by: UUID, personal: Address
    ) -> None:
        self._put(replace(self.endpoints[endpoint], events=events, url=personal.url))

    @event(SecretRotated)
    def _secret_rotated(
        self, endpoint: UUID | None, number: int, old_until: datetime, by: UUID
    ) -> None:
        if endpoint is None:
            self.secret = Secret(number, old_until)
        else:
            self._put(replace(self.endpoints[endpoint], secret=Secret(number, old_until)))

    @event(EndpointDisabled)
    def _disabled(self, endpoint: UUID, why: WhyDisabled, by: UUID | None) -> None:
        self._put(replace(self.endpoints[endpoint], disabled=why))

    @event(EndpointEnabled)
    def _enabled(self, endpoint: UUID, by: UUID, timestamp: datetime | None = None) -> None:
        self._put(replace(self.endpoints[endpoint], disabled=None, since=timestamp))

    @event(EndpointRemoved)
    def _removed(self, endpoint: UUID, by: UUID) -> None:
        self.endpoints = {id_: one for id_, one in self.endpoints.items() if id_ != endpoint}


def in_order(events: Collection[EventType]) -> tuple[EventType, ...]:
    """Each once, in the order in which they are told everywhere."""
    return tuple(type_ for type_ in EVENT_TYPES if type_ in events)
