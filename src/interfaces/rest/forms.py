"""Forms with files (multipart/form-data, RFC 7578), read as they arrive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from pydantic.alias_generators import to_camel
from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from interfaces.rest.errors import (
    MalformedBodyError,
    Mistake,
    NoRoomForUploadError,
    ShapeError,
)
from interfaces.rest.strict_json import strict_json

FILES = "referenceImages"
MASK = "mask"
WHOLE_NUMBERS = {to_camel(name) for name in ("count", "seed", "compression", "deadline_seconds")}
MOST_PARTS = 1000
MOST_DIGITS = 20


@dataclass
class Form:
    """The text parts as the fields of JSON would be, the images apart, in their order."""

    fields: dict[str, Any] = field(default_factory=dict)
    files: list[str | bytes] = field(default_factory=list)
    mask: str | bytes | None = None


async def read_form(request: Request) -> Form:
    """Raises MalformedBodyError, NoRoomForUploadError."""
    form = Form()
    for name, value in await read_parts(request):
        if name == FILES:
            form.files.append(value)
        elif name in form.fields or (name == MASK and form.mask is not None):
            raise MalformedBodyError("The form holds a name twice.")
        elif name == MASK:
            form.mask = value
        else:
            form.fields[name] = _as_in_json(name, value)
    return form


async def read_parts(request: Request) -> list[tuple[str, str | bytes]]:
    """The parts by name, in their order: texts, and the bytes of files.

    Files go to disk while they arrive; the body's bounds hold. Raises MalformedBodyError,
    NoRoomForUploadError.
    """
    parser = _Parser(
        _read_as_bytes(request.headers["content-type"]),
        request.stream(),
        max_files=MOST_PARTS,
        max_fields=MOST_PARTS,
        max_part_size=2**30,  # the body's own limit is far below
    )
    try:
        data = await parser.parse()
    except MultiPartException as error:
        raise MalformedBodyError(f"The form cannot be read: {error.message}") from None
    except OSError as error:
        raise NoRoomForUploadError from error
    try:
        if not parser.is_whole:
            raise MalformedBodyError("The form ends before its last boundary. Send all of it.")
        return [
            (_text(name), await part.read() if isinstance(part, UploadFile) else _text(part))
            for name, part in data.multi_items()
        ]
    finally:
        await data.close()


class _Parser(MultiPartParser):
    """Starlette's, which does not say whether it has seen the end."""

    is_whole = False

    def on_end(self) -> None:
        self.is_whole = True


def _read_as_bytes(content_type: str) -> Headers:
    """Let the parser make one character of each byte: its own decoding hides what is no UTF-8."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"").decode("latin-1")
    if not boundary:
        raise MalformedBodyError("The form's Content-Type names no boundary. Let a library set it.")
    return Headers({"content-type": f'multipart/form-data; boundary="{boundary}"; charset=latin-1'})


def _text(sent: str) -> str:
    try:
        return sent.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise MalformedBodyError("A text of the form is no UTF-8.") from None


def _as_in_json(name: str, value: str | bytes) -> object:
    if isinstance(value, bytes):
        return value  # a file where a text belongs: the shape says so
    if name in WHOLE_NUMBERS and value.isascii() and value.isdigit() and len(value) <= MOST_DIGITS:
        return int(value)
    if name == "metadata":
        return _metadata(value)
    return value


def _metadata(value: str) -> Any:
    try:
        return strict_json(value.encode())
    except MalformedBodyError:
        detail = 'metadata must be a JSON object such as {"order": "4711"}.'
        raise ShapeError((Mistake(detail, pointer="#/metadata"),)) from None
