"""As whom PostgreSQL runs: it refuses to be root, and to be a user whom nobody has named."""

import os
import pwd
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infrastructure.embedded.errors import EmbeddedServerError
from infrastructure.leash import leashed

NOBODY = 65534
ROOT = 0

_CAN_WORK_HERE = 'test -w "$1" && test -x "$1" && exec "$2" --version'


@dataclass(frozen=True)
class RunAs:
    """One way to run PostgreSQL's programs: a command put before them, a user to become."""

    before: tuple[str, ...] = ()
    user: int | None = None
    owner: int | None = None  # of PostgreSQL's files; None: whoever makes them

    def command(self, command: Sequence[str], at_parents_death: signal.Signals) -> list[str]:
        """Return the leashed command that runs this way."""
        return [*self.before, *leashed(command, at_parents_death, user=self.user)]

    def give(self, path: Path) -> None:
        """Make PostgreSQL the owner of a file, or of a folder and all that is in it."""
        if self.owner is None or os.geteuid() != ROOT or path.stat().st_uid == self.owner:
            return
        for inner in path.rglob("*"):
            os.chown(inner, self.owner, self.owner, follow_symlinks=False)
        os.chown(path, self.owner, self.owner)  # last: it tells that all of it was given

    def can_work(self, folder: Path, postgres: Path) -> bool:
        """Tell whether PostgreSQL, run this way, can be started and can write to the folder."""
        probe = ["/bin/sh", "-c", _CAN_WORK_HERE, "sh", str(folder), str(postgres)]
        try:
            done = subprocess.run(  # noqa: S603 - our own words, no shell reads the paths
                self.command(probe, signal.SIGKILL), capture_output=True, timeout=20, check=False
            )
        except (FileNotFoundError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0


THIS_USER = RunAs()
# Seen from outside it is still the same user, who may go anywhere; inside it is an ordinary one.
IN_A_NAMESPACE = RunAs(
    before=("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}", "--"), owner=ROOT
)
AS_NOBODY = RunAs(user=NOBODY, owner=NOBODY)


def who_runs(postgres: Path, folder: Path) -> RunAs:
    """Choose how PostgreSQL is run on this folder, and give the folder to whom that needs."""
    user = os.geteuid()
    if user != ROOT and _has_a_name(user):
        return THIS_USER
    for way in (IN_A_NAMESPACE, AS_NOBODY) if user == ROOT else (IN_A_NAMESPACE,):
        way.give(folder)
        if way.can_work(folder, postgres):
            return way
    myself = "root" if user == ROOT else f"user {user}, who has no name here"
    raise EmbeddedServerError(
        f"PostgreSQL refuses to run as {myself}, this machine forbids user namespaces, and the user"
        f" nobody cannot get to {folder}: start Darkroom as an ordinary user, set DARKROOM_DATA_DIR"
        " to a folder that everybody may pass through, or set DATABASE_URL and REDIS_URL."
    )


def _has_a_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True
