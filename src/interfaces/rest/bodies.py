"""Bodies: bounded, strict JSON, and the request it holds."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any, NoReturn
from urllib.parse import quote

from fastapi import Request
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from interfaces.rest.errors import MalformedBodyError, Mistake, NotJsonError, ShapeError
from interfaces.rest.shapes import GenerationRequest, shortened

LARGE = 64 * 1024  # bytes: reading more than this as JSON would hold up the event loop
MOST_MISTAKES = 20


async def read_generation_request(request: Request) -> GenerationRequest:
    """Raises NotJsonError, MalformedBodyError, ShapeError."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise NotJsonError
    body = await request.body()
    if len(body) > LARGE:
        return await asyncio.to_thread(parse, body)
    return parse(body)


def parse(body: bytes) -> GenerationRequest:
    """Raises MalformedBodyError, ShapeError; neither repeats what was sent."""
    try:
        return GenerationRequest.model_validate(strict_json(body), by_name=False)
    except ValidationError as error:
        raise ShapeError(tuple(mistakes(error.errors(include_url=False)))) from None


def strict_json(body: bytes) -> Any:
    """The value, with one meaning only: UTF-8, no name twice. Raises MalformedBodyError."""
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


def mistakes(errors: Iterable[ErrorDetails]) -> Iterable[Mistake]:
    """The first few of pydantic's errors, without the values."""
    for number, error in enumerate(errors):
        if number < MOST_MISTAKES:
            yield Mistake(_sentence(error), pointer=pointer(error["loc"]))


def pointer(loc: Iterable[int | str]) -> str:
    """A JSON pointer (RFC 6901) as a URI fragment."""
    parts = (shortened(str(part)).replace("~", "~0").replace("/", "~1") for part in loc)
    return "#" + "".join(f"/{quote(part, safe='~')}" for part in parts if part != "[key]")


def _sentence(error: ErrorDetails) -> str:
    match error["type"]:
        case "extra_forbidden":
            return "There is no such field. Leave it out."
        case "missing":
            return "This field is required."
        case "string_unicode":
            return "It is no Unicode: it contains a lone surrogate."
        case "value_error":
            return f"It {error['ctx']['error']}."
    return f"{error['msg']}."


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise MalformedBodyError("The body holds a name twice in one object.")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise MalformedBodyError(f"The body is no JSON: {name} is no JSON number.")
