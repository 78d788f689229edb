"""The keys of a service: the operator's, or those that `up` makes and keeps in the data folder."""

from __future__ import annotations

import os
import secrets
import tempfile
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


def admin_key(settings: Settings) -> OwnKey:
    """The administrator's API key: set, else kept, else a new one. Raises UpError."""
    return _own(settings, "admin_key", "The administrator's key", KEY_FILE, "dk_admin_")


def secret_key(settings: Settings) -> OwnKey:
    """What secrets are made of: set, else kept, else a new one. Raises UpError."""
    return _own(settings, "secret_key", "The secret key", SECRET_FILE, "")


def _own(settings: Settings, name: str, called: str, file: str, begins: str) -> OwnKey:
    given: SecretStr | None = getattr(settings, name)
    if given is not None:
        return OwnKey(given.get_secret_value())
    path = settings.data_dir / file
    try:
        kept = path.read_text("utf-8", "replace").strip() if path.exists() else ""
        return OwnKey(_checked(kept, called, path), path) if kept else _new_key(path, begins)
    except OSError as error:
        raise UpError(
            f"{called} cannot be kept in {path} ({error.strerror}): make that file yours, or set"
            f" {variable(name)}."
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
