"""What the schema is made of, and how one knows which build made a database."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

MIGRATIONS = Path(__file__).parent / "migrations"
FIRST_SCRIPTS = ("schema.sql", "append.sql", "in_flight.sql", "work.sql", "check.sql")
EARLIER_BUILD = "It was made by an earlier build of an unreleased version."
MAKE_A_NEW_ONE = (
    "Make a new database with a DARKROOM_DATA_DIR of its own, because pictures belong to the"
    " database that knows them, or let `darkroom up` do it in another DARKROOM_DATA_DIR: nothing"
    " leads from the one to the other."
)
# As JSON, because a database of an earlier build has no such column.
MADE_OF = "SELECT to_jsonb(l) ->> 'made_of' FROM log l"


@cache
def newest_revision() -> str:
    """The number that the name of the last migration begins with."""
    return max(path.name for path in MIGRATIONS.glob("versions/*.py")).split("_")[0]


def first_scripts() -> list[str]:
    """What the first migration runs. It may be edited until the first release, not after."""
    folder = files("infrastructure.event_store")
    return [folder.joinpath(name).read_text() for name in FIRST_SCRIPTS]


@cache
def made_of() -> str:
    """A hash of these scripts, which the first migration leaves in the database."""
    return hashlib.sha256("\n".join(first_scripts()).encode()).hexdigest()


def is_of_an_earlier_build(revision: str, its_made_of: str | None) -> bool:
    """Whether a schema whose number this build knows began as another one all the same."""
    return "" < revision <= newest_revision() and its_made_of != made_of()
