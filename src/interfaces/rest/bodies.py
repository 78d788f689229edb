"""Bodies: a request for pictures, from strict JSON or from a form with files; or small JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import quote

from fastapi import Request
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from interfaces.rest.account_shapes import PreferencesShape
from interfaces.rest.authentication import confirm
from interfaces.rest.errors import BodyTooLargeError, MediaTypeError, Mistake, ShapeError
from interfaces.rest.fields import MOST_METADATA, MOST_REFERENCES
from interfaces.rest.forms import read_form
from interfaces.rest.sentences import NO_SUCH_FIELD, sentence
from interfaces.rest.shapes import GenerationRequest, Shape, shortened
from interfaces.rest.strict_json import strict_json

LARGE = 64 * 1024  # bytes: reading more than this as JSON would hold up the event loop
MOST_SMALL_BYTES = LARGE  # of a body without pictures
MOST_MISTAKES = 20
NOT_LEFT_OUT = "none_required"  # what pydantic says, too, of a wrong value that could be left out
MOST_INSIDE = {"metadata": (MOST_METADATA, "keys"), "referenceImages": (MOST_REFERENCES, "images")}

S = TypeVar("S", bound=Shape)


@dataclass(frozen=True)
class Asked:
    """What a body asks for.

    `references` and `mask` are base64 texts, data URLs or ids, or the bytes of files.
    """

    fields: GenerationRequest
    references: Sequence[str | bytes]
    mask: str | bytes | None = None


async def read_generation_request(request: Request) -> Asked:
    """Raises MediaTypeError, MalformedBodyError, ShapeError."""
    content_type = media_type(request)
    if content_type == "multipart/form-data":
        form = await read_form(request)
        _refuse_the_countless({**form.fields, "referenceImages": form.files})
        return Asked(checked(form.fields), form.files, form.mask)
    if content_type != "application/json":
        raise MediaTypeError
    fields = await _parsed(b"".join([part async for part in request.stream()]))
    return Asked(fields, fields.reference_images, fields.mask)


async def read_json(request: Request, shape: type[S]) -> S:
    """What a small body of somebody's holds who is still let in when it has come.

    Raises what `confirm` raises, MediaTypeError, BodyTooLargeError, MalformedBodyError, ShapeError.
    """
    if media_type(request) != "application/json":
        raise MediaTypeError("Send JSON (`Content-Type: application/json`).")
    body = await read_small(request)
    await confirm(request)
    return _of_shape(shape, strict_json(body))


async def read_small(request: Request) -> bytes:
    """Raises BodyTooLargeError."""
    body = bytearray()
    async with aclosing(request.stream()) as parts:
        async for part in parts:
            body += part
            if len(body) > MOST_SMALL_BYTES:
                raise BodyTooLargeError(MOST_SMALL_BYTES, "Send only what is asked for.")
    return bytes(body)


def media_type(request: Request) -> str:
    """What the body is said to be, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _parsed(body: bytes) -> GenerationRequest:
    return await asyncio.to_thread(parse, body) if len(body) > LARGE else parse(body)


def parse(body: bytes) -> GenerationRequest:
    """Raises MalformedBodyError, ShapeError; neither repeats what was sent."""
    return checked(strict_json(body))


def checked(sent: Any) -> GenerationRequest:
    """What was sent, once it has the right shape. Raises ShapeError."""
    _refuse_the_countless(sent)
    asked = _of_shape(GenerationRequest, sent)
    refuse_two_shapes(asked)
    return asked


def _of_shape(shape: type[S], sent: Any) -> S:
    try:
        return shape.model_validate(sent, by_name=False)
    except ValidationError as error:
        mistakes = _mistakes(error.errors(include_url=False), sent, _names(shape))
        raise ShapeError(tuple(islice(mistakes, MOST_MISTAKES))) from None


def _mistakes(
    errors: Iterable[ErrorDetails], sent: Any, names: Collection[str]
) -> Iterator[Mistake]:
    """Of pydantic's errors, without the values."""
    for error in errors:
        if error["type"] != NOT_LEFT_OUT:
            loc = _within(sent, error)
            yield Mistake(sentence(error, _named(loc, names)), pointer=pointer(loc))


def _within(sent: Any, error: ErrorDetails) -> tuple[int | str, ...]:
    """Where it is in what was sent: further on pydantic names what else it might have been."""
    loc = error["loc"]
    for depth, part in enumerate(loc):
        try:
            sent = sent[part]
        except (LookupError, TypeError):
            is_missing = error["type"] == "missing" and depth == len(loc) - 1
            return loc[: depth + is_missing]
    return loc


def pointer(loc: Iterable[int | str]) -> str:
    """A JSON pointer (RFC 6901) as a URI fragment."""
    parts = (shortened(str(part)).replace("~", "~0").replace("/", "~1") for part in loc)
    return "#" + "".join(f"/{quote(part, safe='~')}" for part in parts if part != "[key]")


def _named(loc: tuple[int | str, ...], names: Collection[str]) -> str:
    """What a sentence begins with: names that are ours, never what was sent."""
    if not loc:
        return "The body"
    return str(loc[0]) if len(loc) == 1 and loc[0] in names else "It"


def _names(shape: type[Shape]) -> frozenset[str]:
    """As JSON has them."""
    return frozenset(field.alias or name for name, field in shape.model_fields.items())


FIELDS = _names(GenerationRequest)


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


def refuse_two_shapes(asked: GenerationRequest | PreferencesShape) -> None:
    """Raises ShapeError."""
    if asked.size is None or asked.aspect_ratio is None:
        return
    detail = "size and aspectRatio both say what shape it has. Send one of them."
    raise ShapeError(tuple(Mistake(detail, pointer=f"#/{n}") for n in ("size", "aspectRatio")))
