"""The administrator's API key: the operator's, or one that `up` makes and keeps."""

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
from infrastructure.settings import Settings
from infrastructure.settings_values import secret


class UpError(Exception):
    """The service cannot start; the message is a sentence with the remedy."""


@dataclass(frozen=True)
class AdminKey:
    """The administrator's API key; `path` is the file that keeps it, unless the operator does."""

    value: str
    path: Path | None = None
    is_new: bool = False


def admin_key(settings: Settings) -> AdminKey:
    """What is set, else what was kept, else a new one. Raises UpError."""
    if known := known_admin_key(settings):
        return known
    path = settings.data_dir / KEY_FILE
    with _kept_in(path):
        return _new_admin_key(path)


def known_admin_key(settings: Settings) -> AdminKey | None:
    """What is set, else what was kept. Raises UpError."""
    if settings.admin_key is not None:
        return AdminKey(settings.admin_key.get_secret_value())
    path = settings.data_dir / KEY_FILE
    with _kept_in(path):
        kept = path.read_text("utf-8", "replace").strip() if path.exists() else ""
    return AdminKey(_checked(kept, path), path) if kept else None


@contextlib.contextmanager
def _kept_in(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UpError(
            f"The administrator's key cannot be kept in {path} ({error.strerror}): make that file"
            " yours, or set DARKROOM_ADMIN_KEY."
        ) from error


def _checked(key: str, path: Path) -> str:
    try:
        return secret(SecretStr(key)).get_secret_value()
    except ValueError as error:
        raise UpError(
            f"The administrator's key in {path} {error}, or remove the file to have one made."
        ) from error


def _new_admin_key(path: Path) -> AdminKey:
    key = AdminKey(f"dk_admin_{secrets.token_urlsafe(32)}", path, is_new=True)
    file, unfinished = tempfile.mkstemp(prefix=f"{KEY_FILE}-", dir=path.parent)  # mode 0600
    with open(file, "w") as text:
        text.write(f"{key.value}\n")
        text.flush()
        os.fsync(file)
    Path(unfinished).replace(path)
    return key
