"""The keys of a service: the operator's, or those that `up` makes and keeps in the data folder."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from infrastructure.client_settings import KEY_FILE
from infrastructure.settings import Settings, variable
from infrastructure.settings_values import secret

SECRET_FILE = "secret-key"  # noqa: S105  # its name, not what is in it


class UpError(Exception):
    """The service cannot start; the message is a sentence with the remedy."""


@dataclass(frozen=True)
class OwnKey:
    """A key; `path` is the file that keeps it, unless the operator does."""

    value: str
    path: Path | None = None
    is_new: bool = False


@dataclass(frozen=True)
class _Place:
    """Which setting it is, what people call it, where it is kept, and how a new one begins."""

    setting: str
    called: str
    file: str
    begins: str = ""


ADMIN = _Place("admin_key", "The administrator's key", KEY_FILE, "dk_admin_")
SECRET = _Place("secret_key", "The secret key", SECRET_FILE)


def admin_key(settings: Settings) -> OwnKey:
    """The administrator's API key: set, else kept, else a new one. Raises UpError."""
    return _own(settings, ADMIN)


def known_admin_key(settings: Settings) -> OwnKey | None:
    """The administrator's API key, where it is set or was kept. Raises UpError."""
    return _known(settings, ADMIN)


def secret_key(settings: Settings) -> OwnKey:
    """What secrets are made of: set, else kept, else a new one. Raises UpError."""
    return _own(settings, SECRET)


def _own(settings: Settings, place: _Place) -> OwnKey:
    if known := _known(settings, place):
        return known
    path = settings.data_dir / place.file
    with _kept_in(path, place):
        return _new_key(path, place.begins)


def _known(settings: Settings, place: _Place) -> OwnKey | None:
    given: SecretStr | None = getattr(settings, place.setting)
    if given is not None:
        return OwnKey(given.get_secret_value())
    path = settings.data_dir / place.file
    with _kept_in(path, place):
        kept = path.read_text("utf-8", "replace").strip() if path.exists() else ""
    return OwnKey(_checked(kept, place.called, path), path) if kept else None


@contextlib.contextmanager
def _kept_in(path: Path, place: _Place) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UpError(
            f"{place.called} cannot be kept in {path} ({error.strerror}): make that file yours, or"
            f" set {variable(place.setting)}."
        ) from error


def _checked(key: str, called: str, path: Path) -> str:
    try:
        return secret(SecretStr(key)).get_secret_value()
    except ValueError as error:
        raise UpError(
            f"{called} in {path} {error}, or remove the file to have one made."
        ) from error


def _new_key(path: Path, begins: str) -> OwnKey:
    key = OwnKey(f"{begins}{secrets.token_urlsafe(32)}", path, is_new=True)
    file, unfinished = tempfile.mkstemp(prefix=f"{path.name}-", dir=path.parent)  # mode 0600
    with open(file, "w") as text:
        text.write(f"{key.value}\n")
        text.flush()
        os.fsync(file)
    Path(unfinished).replace(path)
    return key
