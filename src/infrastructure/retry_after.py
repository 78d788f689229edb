"""How long somebody asks to be left alone, as the header Retry-After says it (RFC 9110)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST_WISH = timedelta(hours=1)


def wait_of(headers: Mapping[str, str]) -> timedelta | None:
    """Of seconds or a date, at most an hour; None is also what asks for no wait at all."""
    text = headers.get("retry-after")
    seconds = seconds_of(text) or _until(text)
    return timedelta(seconds=min(seconds, LONGEST_WISH.total_seconds())) if seconds else None


def seconds_of(text: str | None, unit: float = 1.0) -> float | None:
    """A number of such units, at most an hour; None of what is no number, or none to wait for."""
    try:
        seconds = float(text or "") * unit
    except ValueError:
        return None
    return min(seconds, LONGEST_WISH.total_seconds()) if 0 <= seconds < math.inf else None


def _until(text: str | None) -> float | None:
    try:
        then = parsedate_to_datetime(text or "")
    except (ValueError, OverflowError):  # a year, or an offset, that no date can have
        return None
    then = then.replace(tzinfo=then.tzinfo or UTC)
    return max(0.0, (then - datetime.now(UTC)).total_seconds())
