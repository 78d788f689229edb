"""What the headers Prefer (RFC 7240), Idempotency-Key, Accept and If-None-Match say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from interfaces.rest.errors import MalformedIdempotencyKeyError

LONGEST_KEY = 255

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105  # RFC 9110's word for it
_PREFERENCE = re.compile(
    rf'(?P<name>{_TOKEN})\s*(?:=\s*(?P<value>{_TOKEN}|"(?:[^"\\]|\\.)*")\s*)?(?:;.*)?'
)
_UNTIL_COMMA = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(r"[!#-+\--\[\]-~]+")


@dataclass(frozen=True)
class Patience:
    """How long a client waits for the end, in seconds; `asked` for a wait, or `respond_async`."""

    seconds: float
    asked: bool
    respond_async: bool

    def applied(self, *, ended: bool) -> str | None:
        """The value of Preference-Applied, once the answer is known."""
        applied = [f"wait={self.seconds:g}"] if self.asked else []
        if self.respond_async and not ended:
            applied.insert(0, "respond-async")
        return ", ".join(applied) or None


def patience(values: Sequence[str], *, longest: float) -> Patience:
    """What Prefer asks for, at most `longest` seconds.

    `wait=10` waits ten seconds, `respond-async` not at all, both together ten seconds. What cannot
    be understood is ignored, as the RFC has it.
    """
    preferences = _preferences(values)
    respond_async = "respond-async" in preferences
    wait = preferences.get("wait", "")
    if wait.isascii() and wait.isdigit():
        return Patience(min(float(wait[:9]), longest), asked=True, respond_async=respond_async)
    return Patience(0.0 if respond_async else longest, asked=False, respond_async=respond_async)


def _preferences(values: Sequence[str]) -> dict[str, str]:
    """By name in lower case; the first of a name counts."""
    found: dict[str, str] = {}
    for part in _UNTIL_COMMA.findall(",".join(values)):
        match = _PREFERENCE.fullmatch(part.strip())
        if match:
            found.setdefault(match["name"].lower(), (match["value"] or "").strip('"'))
    return found


def idempotency_key(values: Sequence[str]) -> str | None:
    """The key, sent as a structured string (`"8e03"`) or bare.

    Raises MalformedIdempotencyKeyError.
    """
    if not values:
        return None
    text = values[0].strip(" \t")
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    well_formed = quoted is not None or _BARE.fullmatch(text) is not None
    if len(values) > 1 or not well_formed or not 1 <= len(key) <= LONGEST_KEY:
        raise MalformedIdempotencyKeyError
    return key


def names_etag(if_none_match: Sequence[str], etag: str) -> bool:
    """Whether the client has it: weak comparison, as RFC 9110 has it for GET."""
    sent = [tag.strip().removeprefix("W/") for tag in ",".join(if_none_match).split(",")]
    return etag in sent or "*" in sent


def accepts(media_type: str, accept: Sequence[str]) -> bool:
    """Whether the client names this media type, and not with a weight of nothing."""
    for choice in ",".join(accept).split(","):
        name, *parameters = (part.strip().lower() for part in choice.split(";"))
        if name == media_type:
            return not any(re.fullmatch(r"q=0(\.0{0,3})?", part) for part in parameters)
    return False
