"""Where a client command finds the service, and the API key that it sends."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from infrastructure import settings_values as values
from infrastructure.beside_up import NotRunningError, addresses_left

KEY_FILE = "admin-key"
HERE = ("localhost", "127.0.0.1", "::1")

_KEY = re.compile(r"[!-~]{1,500}")  # what fits into a header


class ClientSettingsError(Exception):
    """A variable does not say what it must; the message is a sentence with the remedy."""


class NoApiKeyError(Exception):
    """There is no API key to send; the message is a sentence with the remedy."""


@dataclass(frozen=True)
class ClientSettings:
    """The service's address, without a slash at its end, and a key to it."""

    url: str
    api_key: str = field(repr=False)


def load_client_settings(environ: Mapping[str, str] | None = None) -> ClientSettings:
    """Read them from environment variables. Raises ClientSettingsError, NoApiKeyError."""
    given = os.environ if environ is None else environ
    texts = {name: text.strip() for name, text in given.items() if text.strip()}
    own = _own_address(texts)
    url = _url(texts) or own
    return ClientSettings(url, _api_key(texts, url, own))


def data_folder(texts: Mapping[str, str]) -> Path:
    """Where `darkroom up` keeps its data."""
    return Path(texts.get("DARKROOM_DATA_DIR", ".darkroom")).expanduser()


def _url(texts: Mapping[str, str]) -> str | None:
    try:
        return values.web_address(texts["DARKROOM_URL"]) if "DARKROOM_URL" in texts else None
    except ValueError as error:
        raise ClientSettingsError(f"DARKROOM_URL {error}.") from None


def _own_address(texts: Mapping[str, str]) -> str:
    """Of the service on this machine: as it was told to listen, or as `darkroom up` says."""
    if "DARKROOM_HOST" not in texts and "DARKROOM_PORT" not in texts:
        with contextlib.suppress(NotRunningError):
            if url := addresses_left(data_folder(texts)).get("DARKROOM_URL"):
                return url
    port = texts.get("DARKROOM_PORT", "8000")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ClientSettingsError(f"DARKROOM_PORT must be a number from 1 to 65535, not {port!r}.")
    try:
        host = values.host(texts.get("DARKROOM_HOST", "127.0.0.1"))
    except ValueError as error:
        raise ClientSettingsError(f"DARKROOM_HOST {error}.") from None
    return values.own_address({"host": host, "port": int(port)})


def _api_key(texts: Mapping[str, str], url: str, own: str) -> str:
    """The administrator's key goes to the service on this machine, and nowhere else."""
    if "DARKROOM_API_KEY" in texts:
        return _checked(texts["DARKROOM_API_KEY"], "DARKROOM_API_KEY")
    host = urlsplit(url).hostname
    if host not in HERE and host != urlsplit(own).hostname:
        raise NoApiKeyError(f"DARKROOM_API_KEY is not set: set it to an API key for {url}.")
    if "DARKROOM_ADMIN_KEY" in texts:
        return _checked(texts["DARKROOM_ADMIN_KEY"], "DARKROOM_ADMIN_KEY")
    return _kept_key(data_folder(texts) / KEY_FILE)


def _kept_key(path: Path) -> str:
    try:
        return _checked(path.read_text("utf-8", "replace").strip(), f"The key in {path}")
    except FileNotFoundError:
        reason = f"`darkroom up` has left none in {path}"
    except OSError as error:
        reason = f"{path} cannot be read ({error.strerror})"
    raise NoApiKeyError(
        f"There is no API key: DARKROOM_API_KEY is not set, and {reason}. Set DARKROOM_API_KEY, or"
        " start `darkroom up`."
    )


def _checked(key: str, name: str) -> str:
    if not _KEY.fullmatch(key):
        raise ClientSettingsError(f"{name} must be one word of printable ASCII characters.")
    return key
