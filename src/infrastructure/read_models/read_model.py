"""What a read model says about itself; a follower does the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from domain.aggregate import Event

E = TypeVar("E", bound=Event)


def _nothing(_: Event) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Statement(Generic[E]):
    """What the events of some classes (subclasses included) do to the tables, a batch at once.

    `sql` takes one parameter, a JSON array of the batch's rows in position order: `id` (the
    stream), `position`, `recorded_at`, and what `row` makes of the event.
    """

    event: type[E] | tuple[type[E], ...]
    sql: str
    row: Callable[[E], Mapping[str, Any]] = _nothing


@dataclass(frozen=True)
class ReadModel:
    """Tables that are made of events alone, and can be dropped and rebuilt at will.

    They lie in a schema of their own for each version, in which `create` and the statements find
    them without naming it; each has a primary key, and no column that a rebuild would fill
    differently. In a batch the statements run in their order here, so they may not depend on how
    the log falls into batches. An event may change only rows that belong to its own stream.
    """

    name: str
    version: int
    create: str
    statements: tuple[Statement[Any], ...]

    @property
    def schema(self) -> str:
        """Where its tables lie."""
        return f"{self.name}_v{self.version}"

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from others in the tables about all of them."""
        return self.name, self.version

    @property
    def tables(self) -> list[str]:
        """The names of the tables that `create` makes."""
        return re.findall(r"\bCREATE TABLE (\w+)", self.create)

    @property
    def beside(self) -> ReadModel:
        """The same, to be built beside the one that is followed into."""
        return replace(self, name=f"{self.name}_beside")

    @property
    def old(self) -> ReadModel:
        """The same, after another one took its place."""
        return replace(self, name=f"{self.name}_old")

    @property
    def aside(self) -> ReadModel:
        """The same, while its tables are made anew."""
        return replace(self, name=f"{self.name}_aside")
