"""The providers as administrators want them: which may be asked, and which are asked first."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.domain import event

from domain.aggregate import Aggregate, Created
from domain.aggregate import Event as DomainEvent

PROVIDERS = uuid5(NAMESPACE_URL, "darkroom providers")
"""The one stream of all decisions about providers."""


class Providers(Aggregate):
    """Which providers are switched off, and in which order the others are asked.

    What nobody decided is as it is configured; `by` is the administrator who decided.
    """

    class Event(DomainEvent):
        """A decision about providers."""

    class Listed(Event, Created):
        """What was configured, in its order, when somebody decided for the first time."""

        topic = "provider.listed"
        version = 1

        names: tuple[str, ...]
        by: UUID

    class Enabled(Event):
        topic = "provider.enabled"
        version = 1

        name: str
        by: UUID

    class Disabled(Event):
        topic = "provider.disabled"
        version = 1

        name: str
        by: UUID

    class Reordered(Event):
        """`name` came to `place` (from 1); `order` is that of all who were configured."""

        topic = "provider.reordered"
        version = 1

        name: str
        place: int
        order: tuple[str, ...]
        by: UUID

    @classmethod
    def list(cls, names: Sequence[str], *, by: UUID) -> Providers:
        """Nobody decided anything yet."""
        return cls._create(cls.Listed, id=PROVIDERS, names=tuple(names), by=by)

    @event(Listed)
    def __init__(self) -> None:
        self.switched_off: frozenset[str] = frozenset()
        self.preferred: tuple[str, ...] = ()

    def arranged(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those that are configured, on or off: as preferred, then as configured."""
        preferred = [name for name in self.preferred if name in names]
        return (*preferred, *(name for name in names if name not in preferred))

    def enable(self, name: str, *, by: UUID) -> None:
        """Let it be asked (again)."""
        if name in self.switched_off:
            self._enabled(name, by=by)

    @event(Enabled)
    def _enabled(self, name: str, by: UUID) -> None:
        self.switched_off -= {name}

    def disable(self, name: str, *, by: UUID) -> None:
        """Let no call to it begin; those under way go on."""
        if name not in self.switched_off:
            self._disabled(name, by=by)

    @event(Disabled)
    def _disabled(self, name: str, by: UUID) -> None:
        self.switched_off |= {name}

    def move(self, name: str, *, to: int, among: Sequence[str], by: UUID) -> None:
        """Let it be asked as the first, second, ... of those configured; too far is the last."""
        before = self.arranged(among)
        order = [other for other in before if other != name]
        order.insert(to - 1, name)
        if tuple(order) != before:
            self._reordered(name, place=order.index(name) + 1, order=tuple(order), by=by)

    @event(Reordered)
    def _reordered(self, name: str, place: int, order: tuple[str, ...], by: UUID) -> None:
        self.preferred = order
