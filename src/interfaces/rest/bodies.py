"""Bodies: bounded, strict JSON, and the request it holds."""

from __future__ import annotations

import asyncio
import json
from codecs import BOM_UTF8
from collections.abc import Iterable
from itertools import islice
from typing import Any, NoReturn
from urllib.parse import quote

from fastapi import Request
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from interfaces.rest.errors import MalformedBodyError, Mistake, NotJsonError, ShapeError
from interfaces.rest.sentences import NO_SUCH_FIELD, sentence
from interfaces.rest.shapes import MOST_METADATA, MOST_REFERENCES, GenerationRequest, shortened

LARGE = 64 * 1024  # bytes: reading more than this as JSON would hold up the event loop
MOST_SEPARATORS = 100_000  # more than in the longest texts that are taken, if they were all commas
MOST_MISTAKES = 20
FIELDS = {field.alias for field in GenerationRequest.model_fields.values()}
MOST_INSIDE = {"metadata": (MOST_METADATA, "keys"), "referenceImages": (MOST_REFERENCES, "images")}


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
    sent = strict_json(body)
    _refuse_the_countless(sent)
    try:
        asked = GenerationRequest.model_validate(sent, by_name=False)
    except ValidationError as error:
        raise ShapeError(tuple(mistakes(error.errors(include_url=False)))) from None
    _refuse_two_shapes(asked)
    return asked


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


def mistakes(errors: Iterable[ErrorDetails]) -> Iterable[Mistake]:
    """The first few of pydantic's errors, without the values."""
    for number, error in enumerate(errors):
        if number < MOST_MISTAKES:
            yield Mistake(sentence(error, _named(error["loc"])), pointer=pointer(error["loc"]))


def pointer(loc: Iterable[int | str]) -> str:
    """A JSON pointer (RFC 6901) as a URI fragment."""
    parts = (shortened(str(part)).replace("~", "~0").replace("/", "~1") for part in loc)
    return "#" + "".join(f"/{quote(part, safe='~')}" for part in parts if part != "[key]")


def _named(loc: tuple[int | str, ...]) -> str:
    """What a sentence begins with: names that are ours, never what was sent."""
    if not loc:
        return "The body"
    return str(loc[0]) if len(loc) == 1 and loc[0] in FIELDS else "It"


def _refuse_the_countless(sent: Any) -> None:
    """Before pydantic looks: it makes an error of each unknown field and each wrong entry."""
    if not isinstance(sent, dict):
        return
    if len(sent) > len(FIELDS):
        unknown = islice((name for name in sent if name not in FIELDS), MOST_MISTAKES)
        raise ShapeError(tuple(Mistake(NO_SUCH_FIELD, pointer=pointer((n,))) for n in unknown))
    for name, (most, unit) in MOST_INSIDE.items():
        inside = sent.get(name)
        if isinstance(inside, dict | list) and len(inside) > most:
            detail = f"{name} has {len(inside)} {unit}; the most is {most}."
            raise ShapeError((Mistake(detail, pointer=pointer((name,))),))


def _refuse_two_shapes(asked: GenerationRequest) -> None:
    if asked.size is None or asked.aspect_ratio is None:
        return
    detail = "size and aspectRatio both say what shape it has. Send one of them."
    raise ShapeError(tuple(Mistake(detail, pointer=f"#/{n}") for n in ("size", "aspectRatio")))


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise MalformedBodyError("The body holds a name twice in one object.")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise MalformedBodyError(f"The body is no JSON: {name} is no JSON number.")
