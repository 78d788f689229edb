"""Which part of a picture the headers Range and If-Range ask for."""

from __future__ import annotations

import re

from fastapi import Request

from interfaces.rest.errors import RangeNotSatisfiableError

_RANGE = re.compile(r"bytes=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})", re.IGNORECASE)


def part_of(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """The first and the last byte of the one part that is asked for, in the one way we understand.

    Other ways are ignored. Raises RangeNotSatisfiableError.
    """
    match = _RANGE.fullmatch(request.headers.get("range", ""))
    if request.method != "GET" or match is None or request.headers.get("if-range", etag) != etag:
        return None
    first, last = match["first"], match["last"]
    if not first + last or (first and last and int(first) > int(last)):
        return None
    if int(first or 0) >= size or (not first and not int(last)):
        raise RangeNotSatisfiableError(size)
    if not first:
        return max(0, size - int(last)), size - 1
    return int(first), min(int(last or size), size - 1)
