"""Bodies of OpenAI's clients: JSON, or a form whose scalars are texts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from application.earlier_pictures import EarlierPicture
from interfaces.openai.errors import ParameterError, param
from interfaces.openai.shapes import NOT_OFFERED, EditRequest, ImageInput, ImageRequest
from interfaces.rest.bodies import LARGE, media_type, pointer
from interfaces.rest.errors import MalformedBodyError, MediaTypeError
from interfaces.rest.fields import MOST_REFERENCES
from interfaces.rest.forms import MOST_DIGITS, read_parts
from interfaces.rest.sentences import sentence
from interfaces.rest.shapes import shortened
from interfaces.rest.strict_json import strict_json

R = TypeVar("R", bound=ImageRequest)

IMAGES = ("image", "image[]", "images", "images[]")
WHOLE_NUMBERS = ("n", "output_compression", "partial_images")
YES_OR_NO = {"true": True, "false": False}
CODES = {"missing": "missing_required_parameter", "extra_forbidden": "unknown_parameter"}
NO_IMAGE = "`image` is missing. Send the picture to edit, or ask /v1/images/generations."


@dataclass(frozen=True)
class Asked:
    """What a body asks for.

    `references` and `mask` are data URLs, the bytes of files, or names of earlier pictures.
    """

    fields: ImageRequest
    references: Sequence[str | bytes] = ()
    mask: str | bytes | None = None


async def read_generation(request: Request) -> Asked:
    """Raises MediaTypeError, MalformedBodyError, ParameterError."""
    if media_type(request) != "application/json":
        raise MediaTypeError("Send JSON (`Content-Type: application/json`).")
    return Asked(_checked(ImageRequest, await _json(request)))


async def read_edit(request: Request) -> Asked:
    """Raises MediaTypeError, MalformedBodyError, ParameterError."""
    content_type = media_type(request)
    if content_type == "multipart/form-data":
        return _of_form(await read_parts(request))
    if content_type != "application/json":
        raise MediaTypeError
    fields = _checked(EditRequest, await _json(request))
    if not fields.images:
        raise ParameterError("images", NO_IMAGE.replace("`image`", "`images`"), code=_MISSING)
    references = [_sent(image, f"images/{i}") for i, image in enumerate(fields.images)]
    mask = _mask(fields.mask) if fields.mask else None
    request.state.sent_as = _names_in_json(fields.images)
    return Asked(fields.model_copy(update={"images": None, "mask": None}), references, mask)


async def _json(request: Request) -> Any:
    body = b"".join([part async for part in request.stream()])
    return await asyncio.to_thread(strict_json, body) if len(body) > LARGE else strict_json(body)


# --- forms ---------------------------------------------------------------------------------------


def _of_form(parts: Sequence[tuple[str, str | bytes]]) -> Asked:
    fields: dict[str, Any] = {}
    references: list[str | bytes] = []
    mask: str | bytes | None = None
    for sent_as, value in parts:
        name = sent_as if sent_as in IMAGES else sent_as.partition("[")[0]
        if name in IMAGES:
            references.append(value)
        elif (name in fields and name not in NOT_OFFERED) or (name == "mask" and mask):
            raise MalformedBodyError("The form holds a name twice.")
        elif name == "mask":
            mask = value or None
        else:
            fields[name] = _as_in_json(name, value)
    asked = _checked(EditRequest, fields)
    if not references:
        raise ParameterError("image", NO_IMAGE, code=_MISSING)
    if len(references) > MOST_REFERENCES:
        raise ParameterError(
            "image", f"`image` is there {len(references)} times; the most is {MOST_REFERENCES}."
        )
    return Asked(asked, references, mask)


def _as_in_json(name: str, value: str | bytes) -> object:
    """An empty text is what SDKs make of null."""
    if isinstance(value, bytes):
        return value  # a file where a text belongs: the shape says so
    if not value:
        return "" if name == "prompt" else None
    if name in WHOLE_NUMBERS and value.isascii() and value.isdigit() and len(value) <= MOST_DIGITS:
        return int(value)
    return YES_OR_NO.get(value, value) if name == "stream" else value


def _names_in_json(images: Sequence[ImageInput]) -> dict[str, str]:
    """What a form calls `image[0]`, and an error would, has another name in JSON."""
    names = {
        f"image[{i}]": f"images[{i}].{'image_url' if image.file_id is None else 'file_id'}"
        for i, image in enumerate(images)
    }
    return {**names, "mask": "mask.image_url"}


def _mask(image: ImageInput) -> str:
    if image.file_id is not None:
        raise ParameterError(
            "mask/file_id",
            "No files are kept here, and no picture of a generation is a mask: send the mask "
            "itself, as a data URL in `image_url`.",
        )
    return _sent(image, "mask")


def _sent(image: ImageInput, where: str) -> str:
    """Pictures come with the request, or are here: nothing is fetched from elsewhere."""
    if image.file_id is not None:
        if EarlierPicture.named(image.file_id) is None:
            raise ParameterError(
                f"{where}/file_id",
                "No files are kept here, but pictures of generations: send `{id}` or "
                "`{id}/{number}` of one of yours, or the picture itself as a data URL in "
                "`image_url`.",
            )
        return image.file_id
    if image.image_url is None:
        detail = "`image_url` is missing. Send it."
        raise ParameterError(f"{where}/image_url", detail, code=_MISSING)
    if image.image_url[:5].lower() != "data:":
        raise ParameterError(
            f"{where}/image_url",
            "`image_url` must be a data URL (data:image/png;base64,...): nothing is fetched from "
            "other addresses. Send the picture itself.",
        )
    return image.image_url


# --- shapes --------------------------------------------------------------------------------------

_MISSING = CODES["missing"]


def _checked(shape: type[R], sent: Any) -> R:
    """What was sent, once it has the right shape. Raises ParameterError of the first mistake."""
    if isinstance(sent, dict):
        sent = _without_what_is_not_offered(sent, shape)
    try:
        asked = shape.model_validate(sent)
    except ValidationError as error:
        raise _parameter_error(error.errors(include_url=False)[0]) from None
    if asked.background == "transparent" and asked.output_format == "jpeg":
        raise ParameterError(
            "background", "A JPEG cannot be transparent. Ask for png or webp as `output_format`."
        )
    return asked


def _without_what_is_not_offered(sent: dict[str, Any], shape: type[R]) -> dict[str, Any]:
    """Raises ParameterError for what OpenAI has and nobody here, and for the first unknown name."""
    for name, value in sent.items():
        if name in NOT_OFFERED and value is not None:
            detail = f"`{name}` is not offered here. Leave it out."
            raise ParameterError(name, detail, code="unsupported_parameter")
        if name not in shape.model_fields and name not in NOT_OFFERED:
            detail = f"There is no field `{shortened(name)}`. Leave it out."
            where = pointer((name,)).removeprefix("#/")
            raise ParameterError(where, detail, code=CODES["extra_forbidden"])
    return {name: value for name, value in sent.items() if name not in NOT_OFFERED}


def _parameter_error(mistake: ErrorDetails) -> ParameterError:
    where = pointer(mistake["loc"]).removeprefix("#/")
    what = f"`{param(where)}`" if where else "The body"
    code = CODES.get(mistake["type"]) or (
        "invalid_type" if mistake["type"].endswith("_type") else "invalid_value"
    )
    return ParameterError(where, sentence(mistake, what), code=code)
