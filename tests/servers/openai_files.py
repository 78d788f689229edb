"""The pictures that come along with a request to OpenAI, checked as the real one checks them."""

from __future__ import annotations

import io
from base64 import b64decode
from binascii import Error as NotBase64Error
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, UnidentifiedImageError
from starlette.datastructures import FormData, UploadFile

from tests.servers.openai_errors import (
    duplicate,
    missing,
    refused,
    unknown_parameter,
    wrong_type,
)

MOST_IMAGES, MOST_IMAGE_BYTES, MOST_MASK_BYTES = 16, 50 * 1024**2, 4 * 1024**2
TYPES = ("image/png", "image/webp", "image/jpeg")
IMAGES, GUIDES = ("image", "image[]"), ("mask", "markup")


@dataclass(frozen=True)
class File:
    """A picture that came along, and the field it came in."""

    field: str
    data: bytes
    content_type: str


async def files_of_form(form: FormData) -> list[File]:
    """Those of a form: one as `image`, several as `image[]`. Raises RefusedError."""
    files = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            files.append(File(name, await value.read(), value.content_type or ""))
    names = [file.field for file in files]
    for name in ("image", "mask", "markup"):
        if names.count(name) > 1:
            raise duplicate(name)
    if "image" in names and "image[]" in names:
        raise duplicate("image")
    return files


def files_of_json(fields: dict[str, Any]) -> list[File]:
    """Take `images` and `mask` out of an object. Raises RefusedError."""
    images = fields.pop("images", None)
    if not isinstance(images, list):
        raise missing("images") if images is None else wrong_type("images", "an array", images)
    files = [_file_of_json("image[]", image) for image in images]
    if (mask := fields.pop("mask", None)) is not None:
        files.append(_file_of_json("mask", mask))
    return files


def _file_of_json(name: str, value: object) -> File:
    if not isinstance(value, dict):
        raise wrong_type(name, "an object", value)
    if unknown := set(value) - {"image_url", "file_id"}:
        raise unknown_parameter(f"{name}.{min(unknown)}")
    if "file_id" in value:
        raise refused(name, f"No such File object: {value['file_id']}", "file_not_found")
    head, _, encoded = str(value.get("image_url", "")).partition(";base64,")
    try:
        return File(name, b64decode(encoded, validate=True), head.removeprefix("data:"))
    except NotBase64Error:
        raise refused(name, "The image is not valid base64.", "invalid_base64") from None


def check_files(files: Sequence[File]) -> None:
    """Raises RefusedError for a file that is too many, too large or no picture."""
    images = [file for file in files if file.field in IMAGES]
    if not images:
        raise missing("image")
    if len(images) > MOST_IMAGES:
        message = f"Invalid 'image': expected at most {MOST_IMAGES}, got {len(images)}."
        raise refused("image", message, "array_above_max_length")
    for file in files:
        most = MOST_MASK_BYTES if file.field == "mask" else MOST_IMAGE_BYTES
        if len(file.data) >= most:
            raise refused(file.field, f"Invalid file '{file.field}': too large.", "file_too_large")
        if file.content_type not in TYPES or _opened(file).get_format_mimetype() not in TYPES:
            message = f"Invalid file '{file.field}': unsupported mimetype ('{file.content_type}')."
            raise refused(file.field, message, "unsupported_file_mimetype")


def _opened(file: File) -> Image.Image:
    try:
        with Image.open(io.BytesIO(file.data)) as image:
            image.load()
            return image
    except (OSError, UnidentifiedImageError):
        raise refused(
            file.field, "Invalid image file or mode, please check your image.", "invalid_image_file"
        ) from None


def check_guides(files: Sequence[File], *, markup: bool) -> None:
    """Raises RefusedError for a mask or a markup that does not fit the first image."""
    guides = [file for file in files if file.field in GUIDES]
    if len(guides) > 1:
        raise refused("markup", "'markup' cannot be combined with 'mask'.")
    first = next(file for file in files if file.field in IMAGES)
    for guide in guides:
        if guide.field == "markup" and not markup:
            raise unknown_parameter("markup")
        image = _opened(guide)
        if image.format != "PNG" or "A" not in image.getbands():
            raise refused(guide.field, f"Invalid '{guide.field}': expected a PNG with alpha.")
        if image.size != _opened(first).size:
            message = "Invalid mask image format - mask size does not match image size."
            raise refused(guide.field, message, "invalid_mask")
