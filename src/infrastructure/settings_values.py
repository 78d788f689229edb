"""How a setting's value is read; ValueError says what it must be, after the variable's name."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from pydantic import SecretStr  # slow, and the client commands read no secret

UNLIMITED = "unlimited"
WITH_A_KEY = ("openai", "gemini", "stability")
PROVIDERS = (*WITH_A_KEY, "sketch")
SHORTEST_SECRET = 16  # characters
MOST_RETRIES = 50

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", str(ipaddress.IPv4Address(0)), "::"})

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]+)?")
_DATABASE_NUMBER = re.compile(r"(/[0-9]*)?")
_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,48}[a-z0-9]")
_PAUSE = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_ROUNDING = 1e-9


@dataclass(frozen=True)
class SketchFaults:
    """How likely the built-in provider refuses, fails or hangs: each 0 to 1, at most 1 together."""

    refuse: float = 0.0
    fail: float = 0.0
    hang: float = 0.0

    def __post_init__(self) -> None:
        chances = (self.refuse, self.fail, self.hang)
        if not all(0 <= chance <= 1 for chance in chances) or sum(chances) > 1 + _ROUNDING:
            raise ValueError(f"must be from 0 to 1 each and at most 1 together, not {self}")

    @classmethod
    def read(cls, text: str) -> Self:
        """Read `refuse=0.1,fail=0.2`; raise ValueError when it does not say that."""
        kinds = [field.name for field in fields(cls)]
        faults: dict[str, float] = {}
        for part in _parts(text):
            kind, _, chance = (word.strip() for word in part.partition("="))
            if kind not in kinds or kind in faults or not _is_number(chance):
                raise ValueError(f"must look like refuse=0.1,fail=0.2,hang=0.05, not {text!r}")
            faults[kind] = float(chance)
        return cls(**faults)

    def __str__(self) -> str:
        return f"refuse={self.refuse},fail={self.fail},hang={self.hang}"


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
    if not _has_host_and_port(url) or not _DATABASE_NUMBER.fullmatch(urlsplit(url).path):
        raise ValueError("cannot be read as an address: write redis://:password@host:6379/0")
    if (options := urlsplit(url).query) and not _are_redis_options(url):
        raise ValueError(
            f"has options that the Redis client cannot take ({', '.join(parse_qs(options))}):"
            " correct them or leave them out"
        )
    return url


def _are_redis_options(url: str) -> bool:
    from redis.asyncio import ConnectionPool  # slow, and needed only for options
    from redis.exceptions import RedisError

    try:
        pool = ConnectionPool.from_url(url)
        pool.connection_class(**pool.connection_kwargs)  # as it does to connect
    except (RedisError, TypeError, ValueError, AttributeError):
        return False
    return True


def web_address(url: str) -> str:
    """Return the address of a web site, without a slash at its end."""
    starts_well = url.startswith(("http://", "https://"))
    if not starts_well or not _has_host_and_port(url) or set(url) & set("?#@ "):
        raise ValueError("must be an address such as https://pictures.example.com, and no more")
    return url.rstrip("/")


def origins(text: object) -> object:
    """Return the origins of other sites' pages, as browsers write them."""
    given = tuple(_parts(text)) if isinstance(text, str) else text
    for origin in given if isinstance(given, tuple) else ():
        if not _is_origin(origin):
            raise ValueError(
                f"must be origins such as https://app.example.com, in lower case, without a path,"
                f" and http only for this machine, not {origin!r}"
            )
    return given


def _is_origin(text: str) -> bool:
    if not _ORIGIN.fullmatch(text) or not _has_host_and_port(text):
        return False
    parts = urlsplit(text)
    is_usual = parts.port == {"http": 80, "https": 443}[parts.scheme]  # which browsers leave out
    return not is_usual and (parts.scheme == "https" or parts.hostname in LOOPBACK)


def issuer(url: str) -> str:
    """Return what an identity provider calls itself, as it does: a slash at its end counts."""
    web_address(url)
    if url.startswith("http://") and urlsplit(url).hostname not in LOOPBACK:
        raise ValueError("must begin with https://: who answers in its place could be anybody")
    return url


def word(text: str) -> str:
    """Return somebody else's name for us."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be one word of printable ASCII characters")
    return text


def domains(text: object) -> object:
    """Return domains of email addresses, in lower case."""
    if not isinstance(text, str):
        return text
    named = tuple(part.lower().removeprefix("@") for part in _parts(text))
    for domain in named:
        if not _DOMAIN.fullmatch(domain):
            raise ValueError(f"must be domains such as example.com,example.org, not {domain!r}")
    return tuple(dict.fromkeys(named))


def addresses(text: object) -> object:
    """Return addresses and networks."""
    return tuple(map(_address, _parts(text))) if isinstance(text, str) else text


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text) if "/" in text else ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(
            f"must be addresses or networks such as 10.0.0.5,10.1.0.0/16, not {text!r}"
        ) from None


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
    if _is_ip_address(host) and _is_unspecified(host):
        host = "127.0.0.1"  # where it listens on every address, nobody can be sent to
    return f"http://[{host}]:{known['port']}" if ":" in host else f"http://{host}:{known['port']}"


def leads_here(url: str, known: Mapping[str, Any]) -> bool:
    """Whether an address is that of the service, as it listens or as others know it."""
    host, port = _host_and_port(url)
    if port == known.get("port") and host in _names(str(known.get("host", ""))):
        return True
    own = str(known.get("public_url", ""))
    within = f"{urlsplit(url).path}/".startswith(f"{urlsplit(own).path}/")
    return within and (host, port) == _host_and_port(own)


def _host_and_port(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    return parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _names(host: str) -> frozenset[str]:
    """By which a host that is listened on is known on its own machine."""
    listens_here = host in LOOPBACK or (_is_ip_address(host) and _is_unspecified(host))
    return LOOPBACK | {host} if listens_here else frozenset({host.lower()})


def _is_unspecified(address: str) -> bool:
    return ipaddress.ip_address(address).is_unspecified


def writable_folder(path: Path) -> Path:
    """Return the absolute path of a folder that can be written to, or created."""
    folder = _absolute(path)
    nearest = next(place for place in (folder, *folder.parents) if os.path.exists(place))
    if not nearest.is_dir():
        raise ValueError(f"is to be a folder, but {nearest} is a file: choose another folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        cannot = "written to" if nearest == folder else f"created, for {nearest} is not yours"
        raise ValueError(f"is {folder}, which cannot be {cannot}: choose a folder that is yours")
    return folder


def _absolute(path: Path) -> Path:
    try:
        folder = path.expanduser().absolute()
    except RuntimeError:
        raise ValueError(
            f"begins with {path.parts[0]}, whose home is not known: write the whole path"
        ) from None
    except OSError:
        raise ValueError("begins in a folder that was removed: write the whole path") from None
    try:
        folder.lstat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # whether it can be created is asked next
    except OSError as error:
        raise ValueError(f"cannot be used ({error.strerror}): choose another folder") from None
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


def provider_key(secret: SecretStr) -> SecretStr:
    """Return somebody else's key, which has to fit into a header."""
    text = secret.get_secret_value()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("is no key: it holds a space or what is no ASCII character")
    return secret


def providers(text: object) -> object:
    """Return the providers' names, in order of preference."""
    names = tuple(_parts(text)) if isinstance(text, str) else text
    there_are = ", ".join(PROVIDERS)
    for name in names if isinstance(names, tuple) else ():
        if name not in PROVIDERS:
            raise ValueError(f"names {name!r}, which is no provider: there are {there_are}")
    if not names:
        raise ValueError(f"names no provider: there are {there_are}")
    return tuple(dict.fromkeys(names)) if isinstance(names, tuple) else names


def providers_with_a_key(known: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the providers whose keys are set, the built-in one without any."""
    return tuple(name for name in WITH_A_KEY if known.get(f"{name}_api_key")) or ("sketch",)


def bucket(name: str) -> str:
    """Return the name of a bucket."""
    if not _BUCKET.fullmatch(name):
        raise ValueError("must be 3 to 50 lower-case letters, digits and hyphens")
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


def networks(text: object) -> object:
    """Return networks as they are usually written."""
    if not isinstance(text, str):
        return text
    try:
        return tuple(str(ipaddress.ip_network(part)) for part in _parts(text))
    except ValueError:
        raise ValueError(f"must be networks such as 10.0.0.0/8,fd00::/8, not {text!r}") from None


def retries(text: object) -> object:
    """Return the pauses before the tries of a delivery."""
    from domain.retries import Retries  # the client commands load no part of the service

    if not isinstance(text, str):
        return text
    parts = _parts(text)
    pauses = tuple(float(part) for part in parts if _PAUSE.fullmatch(part))
    if len(pauses) != len(parts) or pauses[:1] != (0.0,) or len(pauses) > MOST_RETRIES:
        raise ValueError(
            f"must be pauses in seconds before each try, of which there are at most {MOST_RETRIES},"
            f" the first of them 0, such as 0,5,300, not {text!r}"
        )
    return Retries(pauses)
