"""What is done to pixels: turned upright, made plain, fitted to a size, written as a file."""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

from PIL import Image, ImageCms, JpegImagePlugin

from application.ports.images import NotAnImageError
from application.ports.providers import ReferenceRules
from domain.image import Format
from infrastructure.image_parts import PNG_COLOURS, png_chunks
from infrastructure.images import DECODING_ERRORS

ORIENTATION = 0x0112  # EXIF's tag
TURNS: Final[Mapping[int, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
LIES_DOWN = (5, 6, 7, 8)
PLAIN = ("L", "LA", "RGB", "RGBA")
BARE = ("transparency",)  # all of Pillow's `info` that pixels need; the rest would be written, too
LONGEST_SIDE: Final[Mapping[Format, int]] = {"png": 2**31 - 1, "jpeg": 65_500, "webp": 16_383}
Options = Mapping[str, Any]
SRGB = ImageCms.createProfile("sRGB")
NEARLY = 1e-6


def orientation_of(image: Image.Image) -> int:
    """As EXIF counts it, 1 is upright; what cannot be read says nothing."""
    try:
        said = image.getexif().get(ORIENTATION, 1)
    except (SyntaxError, ValueError, TypeError, KeyError, struct.error, EOFError):
        return 1
    return said if said in TURNS else 1


def upright(image: Image.Image) -> Image.Image:
    """The pixels as they are to be seen, and nothing else of the file but its profile."""
    orientation = orientation_of(image)
    turned = image.transpose(TURNS[orientation]) if orientation in TURNS else image.copy()
    turned.info = {name: image.info[name] for name in (*BARE, "icc_profile") if name in image.info}
    return turned


def plain(image: Image.Image) -> Image.Image:
    """Eight bits, grey or RGB, with transparency only where some of it shows; CMYK stays."""
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() == (255, 255):
            image = image.convert("RGB")
    elif image.mode.startswith("I"):
        image = image.point(lambda value: value * (1 / 256)).convert("L")
    elif image.mode not in (*PLAIN, "CMYK"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    image.info = {"icc_profile": profile} if profile else {}
    return image


def in_srgb(image: Image.Image) -> Image.Image:
    """The colours that its profile means, for whoever does not look at profiles."""
    profile = image.info.get("icc_profile")
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    flat = image.convert(image.mode[:-1]) if alpha else image
    if profile:
        flat = _by_profile(flat, profile)
    if flat.mode == "CMYK":
        flat = flat.convert("RGB")
    if alpha:
        flat = flat.convert("RGB")
        flat.putalpha(alpha)
    flat.info = {}
    return flat


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """A profile that is none, or is for another kind of pixels, is passed over."""
    try:
        converted = ImageCms.profileToProfile(
            image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), SRGB, outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return converted or image


def on_white(image: Image.Image) -> Image.Image:
    """Without transparency."""
    if image.mode not in ("LA", "RGBA"):
        return image
    ground = Image.new("RGBA", image.size, "white")
    ground.alpha_composite(image.convert("RGBA"))
    opaque = ground.convert("RGB")
    opaque.info = dict(image.info)
    return opaque


# --- sizes -----------------------------------------------------------------------------------


def sizes_within(
    size: tuple[int, int], rules: ReferenceRules
) -> tuple[tuple[int, int], tuple[int, int]]:
    """How large a picture has to be, and the frame around it where it is too narrow even so."""
    width, height = size
    most = min(rules.longest_side / max(size), math.sqrt(rules.max_pixels / (width * height)))
    scale = min(max(1.0, rules.shortest_side / min(size)), most)
    inner = _scaled(size, scale)
    return inner, (max(inner[0], rules.shortest_side), max(inner[1], rules.shortest_side))


def sizes_like(
    size: tuple[int, int], frame: tuple[int, int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """The same, told from the frame: the longer side of the picture fills it."""
    longer = 0 if size[0] >= size[1] else 1
    scaled = _scaled(size, frame[longer] / size[longer])
    return (_nearly(scaled[0], frame[0]), _nearly(scaled[1], frame[1])), frame


def _nearly(side: int, frame: int) -> int:
    """Where only rounding makes a difference there is no frame."""
    return frame if side >= frame - 1 else side


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, int(size[0] * scale + NEARLY)), max(1, int(size[1] * scale + NEARLY))


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture in that size; its profile stays."""
    if image.size == size:
        return image
    smaller = image.resize(size, Image.Resampling.LANCZOS)
    smaller.info = dict(image.info)
    return smaller


def framed(image: Image.Image, frame: tuple[int, int]) -> Image.Image:
    """In the middle of the frame; around it is nothing, or white."""
    if image.size == frame:
        return image
    ground = Image.new(image.mode, frame, (255, 255, 255, 0) if image.mode == "RGBA" else "white")
    ground.paste(image, ((frame[0] - image.width) // 2, (frame[1] - image.height) // 2))
    return ground


# --- files -----------------------------------------------------------------------------------


def written(image: Image.Image, format_: Format, quality: int, **more: Any) -> bytes:
    """As a file; `quality` from 0 to 100 is for JPEG, which knows no transparency, and WebP."""
    if max(image.size) > LONGEST_SIDE[format_]:
        raise NotAnImageError(
            f"A side of the image is longer than the {LONGEST_SIDE[format_]} pixels that"
            f" {format_} allows. Send a smaller one."
        )
    options: dict[Format, dict[str, Any]] = {
        "png": {},
        "jpeg": {"quality": max(quality, 1), "subsampling": 0 if quality >= 90 else 2},
        "webp": {"quality": quality, "method": 4},
    }
    return _saved(on_white(image) if format_ == "jpeg" else image, format_, options[format_] | more)


def rewritten(image: Image.Image, data: bytes, format_: Format, quantized: Options) -> bytes:
    """A file of the same kind as `data` was, its pixels as alike as the format allows."""
    if format_ == "jpeg":
        return _saved(image, "jpeg", {**quantized, **_profile(image)})
    if format_ == "webp":
        lossless = b"VP8L" in data[:64]
        how = {"quality": 95, "lossless": False, "exact": True}
        if lossless:  # the slower ways take seconds and hundreds of megabytes more
            how |= {"quality": 80, "lossless": True, "method": 0}
        return _saved(image, "webp", how | _profile(image))
    image.info.pop("icc_profile", None)
    colours = [bytes(chunk) for name, chunk in png_chunks(data) if name in PNG_COLOURS]
    painted = _saved(image, "png", {})
    after_header = 8 + 25
    return painted[:after_header] + b"".join(colours) + painted[after_header:]


def _profile(image: Image.Image) -> dict[str, Any]:
    profile = image.info.get("icc_profile")
    return {"icc_profile": profile} if profile else {}


def quantization_of(original: Image.Image) -> Options:
    """How to write a JPEG as finely quantized as it was: next to nothing is lost by turning it."""
    if original.format not in ("JPEG", "MPO"):
        return {}
    tables: dict[int, Sequence[int]] = getattr(original, "quantization", {})
    sampling = JpegImagePlugin.get_sampling(original)
    lies_down = orientation_of(original) in LIES_DOWN
    is_usual = (
        original.mode in ("L", "RGB")
        and original.info.get("adobe_transform") != 0
        and list(tables) == list(range(len(tables)))
        and all(max(table) < 256 for table in tables.values())
    )
    if not (tables and is_usual):
        return {"quality": 95, "subsampling": 0}
    turned = [_transposed(table) if lies_down else list(table) for table in tables.values()]
    halved_across = 1
    return {
        "qtables": turned,
        "subsampling": 0 if sampling < 0 or (lies_down and sampling == halved_across) else sampling,
        "progressive": bool(original.info.get("progressive")),
    }


def _transposed(table: Sequence[int]) -> list[int]:
    return [table[8 * (k % 8) + k // 8] for k in range(64)]


def _saved(image: Image.Image, format_: Format, options: Options) -> bytes:
    out = io.BytesIO()
    try:
        image.save(out, format_, **options)
    except DECODING_ERRORS as error:
        raise NotAnImageError(
            f"The image cannot be written as {format_}. Send it in another format."
        ) from error
    return out.getvalue()
