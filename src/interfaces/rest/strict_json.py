"""JSON with one meaning only."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import Any, NoReturn

from interfaces.rest.errors import MalformedBodyError

MOST_SEPARATORS = 100_000  # more than in the longest texts that are taken, if they were all commas


def strict_json(body: bytes) -> Any:
    """The value, with one meaning only: UTF-8, no name twice. Raises MalformedBodyError."""
    if body.startswith(BOM_UTF8):
        raise MalformedBodyError("The body begins with a byte order mark. Send it without one.")
    if sum(map(body.count, (b",", b"[", b"{"))) > MOST_SEPARATORS:
        raise MalformedBodyError("The body holds more values than any request needs. Send fewer.")
    try:
        return json.loads(
            body.decode(), object_pairs_hook=_no_name_twice, parse_constant=_no_constant
        )
    except UnicodeDecodeError as error:
        raise MalformedBodyError(f"The body is no UTF-8 from byte {error.start} on.") from None
    except json.JSONDecodeError as error:
        raise MalformedBodyError(
            f"The body is no JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from None
    except RecursionError:
        raise MalformedBodyError("The body is nested too deeply.") from None
    except ValueError:  # a number of thousands of digits
        raise MalformedBodyError("The body holds a number that is too long.") from None


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise MalformedBodyError("The body holds a name twice in one object.")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise MalformedBodyError(f"The body is no JSON: {name} is no JSON number.")
