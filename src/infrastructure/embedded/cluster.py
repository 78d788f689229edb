"""PostgreSQL's data folder and the password to it: made as a whole, or not at all."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from infrastructure.embedded.binaries import POSTGRES_MAJOR
from infrastructure.embedded.errors import EmbeddedServerError
from infrastructure.embedded.folder import clean_environment, quoted
from infrastructure.embedded.run_as import RunAs

USER = "darkroom"

_UNFINISHED = "unfinished-"
_LONGEST_PATH = 900  # bytes; PostgreSQL's own limit is 1,023 with the names of its files


class Cluster:
    """The `cluster` folder: `data`, which is PostgreSQL's, and `password`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._whole = folder / "cluster"
        self.data = self._whole / "data"

    @property
    def password(self) -> str:
        """The password of PostgreSQL's one user."""
        return (self._whole / "password").read_text()

    def create_unless_there(self, initdb: Path, run_as: RunAs, *, durable: bool) -> None:
        """Make the data folder, and remove what an interrupted attempt to make it has left."""
        for unfinished in self._folder.glob(f"{_UNFINISHED}*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        if self._whole.exists():
            self._refuse_another_version()
        else:
            self._refuse_a_path_too_long()
            self._create(initdb, run_as, durable=durable)

    def _create(self, initdb: Path, run_as: RunAs, *, durable: bool) -> None:
        # In a new folder each time: an interrupted attempt may still be writing to its own.
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._folder))
        password = unfinished / "password"
        password.touch(0o600)
        password.write_text(secrets.token_urlsafe(24))
        run_as.give(unfinished)
        _run_initdb(initdb, run_as, unfinished, durable=durable)
        unfinished.rename(self._whole)
        if durable:
            _sync(self._whole)
            _sync(self._folder)

    def _refuse_another_version(self) -> None:
        version = (self.data / "PG_VERSION").read_text().strip()
        if version != str(POSTGRES_MAJOR):
            raise EmbeddedServerError(
                f"{self.data} was written by PostgreSQL {version}, and this Darkroom brings"
                f" PostgreSQL {POSTGRES_MAJOR}: set DARKROOM_DATA_DIR to another folder, or set"
                " DATABASE_URL and REDIS_URL to servers of yours."
            )

    def _refuse_a_path_too_long(self) -> None:
        length = len(os.fsencode(self.data))
        if length > _LONGEST_PATH:
            raise EmbeddedServerError(
                f"The data folder's path is too long for PostgreSQL ({length} bytes, at most"
                f" {_LONGEST_PATH}): set DARKROOM_DATA_DIR to a shorter one."
            )


def _run_initdb(initdb: Path, run_as: RunAs, folder: Path, *, durable: bool) -> None:
    command = [
        str(initdb),
        f"--pgdata={folder / 'data'}",
        f"--pwfile={folder / 'password'}",
        f"--username={USER}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--no-instructions",
    ]
    if not durable:
        command.append("--no-sync")
    done = subprocess.run(  # noqa: S603 - our own words, no shell reads them
        run_as.command(command, signal.SIGKILL),
        env=clean_environment(),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        check=False,
        timeout=120,
    )
    if done.returncode != 0:
        said = quoted(done.stdout.decode(errors="replace"))
        raise EmbeddedServerError(f"PostgreSQL cannot make its data in {folder.parent}:\n{said}")


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
