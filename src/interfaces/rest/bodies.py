"""Bodies: a request for pictures, from strict JSON or from a form with files."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote

from fastapi import Request
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from interfaces.rest.errors import MediaTypeError, Mistake, ShapeError
from interfaces.rest.fields import MOST_METADATA, MOST_REFERENCES
from interfaces.rest.forms import read_form
from interfaces.rest.sentences import NO_SUCH_FIELD, sentence
from interfaces.rest.shapes import GenerationRequest, shortened
from interfaces.rest.strict_json import strict_json

LARGE = 64 * 1024  # bytes: reading more than this as JSON would hold up the event loop
MOST_MISTAKES = 20
FIELDS = {field.alias for field in GenerationRequest.model_fields.values()}
MOST_INSIDE = {"metadata": (MOST_METADATA, "keys"), "referenceImages": (MOST_REFERENCES, "images")}


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
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        form = await read_form(request)
        _refuse_the_countless({**form.fields, "referenceImages": form.files})
        return Asked(checked(form.fields), form.files, form.mask)
    if content_type != "application/json":
        raise MediaTypeError
    fields = await _parsed(b"".join([part async for part in request.stream()]))
    return Asked(fields, fields.reference_images, fields.mask)


async def _parsed(body: bytes) -> GenerationRequest:
    return await asyncio.to_thread(parse, body) if len(body) > LARGE else parse(body)


def parse(body: bytes) -> GenerationRequest:
    """Raises MalformedBodyError, ShapeError; neither repeats what was sent."""
    return checked(strict_json(body))


def checked(sent: Any) -> GenerationRequest:
    """What was sent, once it has the right shape. Raises ShapeError."""
    _refuse_the_countless(sent)
    try:
        asked = GenerationRequest.model_validate(sent, by_name=False)
    except ValidationError as error:
        raise ShapeError(tuple(mistakes(error.errors(include_url=False)))) from None
    _refuse_two_shapes(asked)
    return asked


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
