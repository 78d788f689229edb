"""What is wrong with a field, and what would be right, without the value that was sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from typing import Any, cast

from pydantic_core import ErrorDetails

NO_SUCH_FIELD = "There is no such field. Leave it out."
NO_SUCH_PARAMETER = "There is no such parameter. Leave it out."
KINDS = {
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "string_unicode": "is no Unicode: it contains a lone surrogate",
    "missing": "is missing. Send it",
    "datetime_parsing": "must be a time such as 2026-11-24T08:30:00Z",
    "datetime_from_date_parsing": "must be a time such as 2026-11-24T08:30:00Z",
}
LOOKS_LIKE = {"size": "1024x1024", "aspectRatio": "16:9"}


def sentence(error: ErrorDetails, what: str, *, unknown: str = NO_SUCH_FIELD) -> str:
    """Of one of pydantic's errors; it begins with `what`."""
    if error["type"] == "extra_forbidden":
        return unknown
    if tell := _MEASURED.get(error["type"]):
        return f"{what} {tell(error, error.get('ctx', {}))}."
    if error["type"] in KINDS:
        return f"{what} {KINDS[error['type']]}."
    return f"{error['msg']}."


def _too_long(error: ErrorDetails, ctx: Mapping[str, Any]) -> str:
    return f"has {len(cast(Sized, error['input']))} characters; the most is {ctx['max_length']}"


def _too_short(_: ErrorDetails, ctx: Mapping[str, Any]) -> str:
    return f"is too short; the least is {ctx['min_length']} character"


def _pattern(error: ErrorDetails, _: Mapping[str, Any]) -> str:
    return f"is not as it must be: it must look like {LOOKS_LIKE[str(error['loc'][-1])]}"


_MEASURED: Mapping[str, Callable[[ErrorDetails, Mapping[str, Any]], str]] = {
    "too_long": _too_long,
    "too_short": _too_short,
    "string_too_long": _too_long,
    "string_too_short": _too_short,
    "string_pattern_mismatch": _pattern,
    "greater_than_equal": lambda _, ctx: f"must be {ctx['ge']} or more",
    "less_than_equal": lambda _, ctx: f"must be {ctx['le']} or less",
    "less_than": lambda _, ctx: f"must be less than {ctx['lt']}",
    "literal_error": lambda _, ctx: f"must be {ctx['expected']}",
    "value_error": lambda _, ctx: f"{ctx['error']}",
}
