"""How a setting's value is read; ValueError says what it must be, after the variable's name."""

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr

UNLIMITED = "unlimited"
PROVIDERS = ("sketch",)
LATER_PROVIDERS = ("openai", "gemini", "stability")
SHORTEST_SECRET = 16  # characters

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_ROUNDING = 1e-9


class SketchFaults(BaseModel):
    """How likely the built-in provider refuses, fails or hangs: each 0 to 1, at most 1 together."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    refuse: float = 0.0
    fail: float = 0.0
    hang: float = 0.0

    @classmethod
    def read(cls, text: str) -> Self:
        """Read `refuse=0.1,fail=0.2`; raise ValueError when it does not say that."""
        faults: dict[str, float] = {}
        for part in _parts(text):
            kind, _, chance = (word.strip() for word in part.partition("="))
            if kind not in cls.model_fields or kind in faults or not _is_chance(chance):
                raise ValueError(
                    f"must look like refuse=0.1,fail=0.2,hang=0.05, each from 0 to 1, not {text!r}"
                )
            faults[kind] = float(chance)
        if sum(faults.values()) > 1 + _ROUNDING:
            raise ValueError(f"must add up to at most 1, not to {sum(faults.values()):g}")
        return cls(**faults)

    def __str__(self) -> str:
        return f"refuse={self.refuse},fail={self.fail},hang={self.hang}"


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _is_chance(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def postgres_url(url: str) -> str:
    """Return the address of a PostgreSQL database."""
    import psycopg  # slow, and needed only with a server of one's own

    if not url.startswith("postgresql://"):
        raise ValueError(
            "must start with postgresql://, as in postgresql://user:password@host/name"
        )
    try:
        for port in str(psycopg.conninfo.conninfo_to_dict(url).get("port", "0")).split(","):
            int(port or 0)
    except (psycopg.ProgrammingError, ValueError):  # their messages would repeat a password
        raise ValueError(
            "cannot be read as an address: write postgresql://user:password@host:5432/name, with"
            " special characters in the password percent-encoded"
        ) from None
    return url


def redis_url(url: str) -> str:
    """Return the address of a Redis server."""
    if not url.startswith(("redis://", "rediss://")):
        raise ValueError(
            "must start with redis:// or rediss://, as in redis://:password@host:6379/0"
        )
    if not _has_host_and_port(url):
        raise ValueError("cannot be read as an address: write redis://:password@host:6379/0")
    return url


def web_address(url: str) -> str:
    """Return the address of a web site, without a slash at its end."""
    starts_well = url.startswith(("http://", "https://"))
    if not starts_well or not _has_host_and_port(url) or set(url) & set("?#@ "):
        raise ValueError("must be an address such as https://pictures.example.com, and no more")
    return url.rstrip("/")


def _has_host_and_port(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def host(host: str) -> str:
    """Return a host's name or address."""
    if not (_is_ip_address(host) or _HOST_NAME.fullmatch(host)):
        raise ValueError(
            f"must be a host name or an address such as 127.0.0.1, without port, not {host!r}"
        )
    return host


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def own_address(known: Mapping[str, Any]) -> str:
    """Return the web address of the host and port that are known."""
    host = known["host"]
    if _is_ip_address(host) and ipaddress.ip_address(host).is_unspecified:
        host = "127.0.0.1"  # where it listens on every address, nobody can be sent to
    return f"http://[{host}]:{known['port']}" if ":" in host else f"http://{host}:{known['port']}"


def writable_folder(path: Path) -> Path:
    """Return the absolute path of a folder that can be written to, or created."""
    folder = path.expanduser().absolute()
    nearest = next(place for place in (folder, *folder.parents) if os.path.exists(place))
    if not nearest.is_dir():
        raise ValueError(f"is to be a folder, but {nearest} is a file: choose another folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        cannot = "written to" if nearest == folder else f"created, for {nearest} is not yours"
        raise ValueError(f"is {folder}, which cannot be {cannot}: choose a folder that is yours")
    return folder


def secret(secret: SecretStr) -> SecretStr:
    """Return a secret that is hard to guess and fits into a header."""
    text = secret.get_secret_value()
    if len(text) < SHORTEST_SECRET or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(
            f"must have at least {SHORTEST_SECRET} letters, digits or signs, without spaces: make"
            " one with `openssl rand -hex 32`"
        )
    return secret


def providers(text: object) -> object:
    """Return the providers' names, in order of preference."""
    names = tuple(_parts(text)) if isinstance(text, str) else text
    for name in names if isinstance(names, tuple) else ():
        if name in LATER_PROVIDERS:
            raise ValueError(f"names {name}, which this release cannot use yet: use sketch")
        if name not in PROVIDERS:
            raise ValueError(f"names {name!r}, which is no provider: use sketch")
    if not names:
        raise ValueError("names no provider: use sketch")
    return tuple(dict.fromkeys(names)) if isinstance(names, tuple) else names


def image_store(name: object) -> object:
    """Return the name of an image store."""
    if name == "supabase":
        raise ValueError("is supabase, which this release cannot use yet: use filesystem")
    return name


def units(text: object) -> object:
    """Return a quota in images, None for no limit."""
    if isinstance(text, str):
        if text.lower() == UNLIMITED:
            return None
        if not text.isdecimal():
            raise ValueError(f"must be a number of images, 0 or more, or {UNLIMITED}, not {text!r}")
    return text


def faults(text: object) -> object:
    """Return the faults of the built-in provider."""
    return SketchFaults.read(text) if isinstance(text, str) else text
