"""The headers RateLimit and RateLimit-Policy, of draft-ietf-httpapi-ratelimit-headers-11."""

from __future__ import annotations

from collections.abc import Mapping

Parameters = Mapping[str, int | str]


def parameterized(members: Mapping[str, Parameters]) -> str:
    """A structured field (RFC 9651): a list of strings, each with its parameters."""
    return ", ".join(
        ";".join((_item(name), *(f"{key}={_item(value)}" for key, value in parameters.items())))
        for name, parameters in members.items()
    )


def _item(value: int | str) -> str:
    """A number, or a string of printable ASCII."""
    if isinstance(value, int):
        return f"{value}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
