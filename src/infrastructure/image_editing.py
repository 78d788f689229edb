"""Pictures made fit: references without what is private, for who takes them; other formats."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from PIL import Image, PngImagePlugin

from application.ports.images import NotAnImageError
from application.ports.providers import Picture, ReferenceRules
from domain.image import CONTENT_TYPES, ContentType, Format
from infrastructure import image_pixels as pixels
from infrastructure.image_parts import (
    content_type_of,
    damaged,
    is_webp_film,
    without_private_parts,
)
from infrastructure.image_threads import ImageThreads
from infrastructure.images import (
    DECODING_ERRORS,
    FORMATS,
    MAX_BYTES,
    MAX_PIXELS,
    says_algorithmic,
    set_up_pillow_warnings,
)

FORMAT_OF: dict[ContentType, Format] = {kind: name for name, kind in CONTENT_TYPES.items()}
MASK_MAX_BYTES = 4 * 1024 * 1024 - 1
BEST = 95
LOSSY_QUALITIES = (85, 70)
HOPELESS = 1.5  # times as many bytes as there may be
MOST_XMP: dict[Format, int] = {"png": MAX_BYTES, "webp": MAX_BYTES, "jpeg": 65_533 - 29}
SHRINK = 0.7  # of the pixels, at most, from one try to the next

T = TypeVar("T")


class PillowEditor:
    """Edits PNG, JPEG and WebP images of at most `max_pixels` pixels.

    `threads` at a time, large ones one after the other.

    Each may raise NotAnImageError.
    """

    def __init__(self, *, max_pixels: int = MAX_PIXELS, threads: int = 2) -> None:
        self._max_pixels = max_pixels
        self._threads = ImageThreads(threads, "edit-image")
        set_up_pillow_warnings()

    async def cleaned(self, data: bytes) -> bytes:
        """Upright, and without what is private; the same bytes where there is nothing to do."""
        return await self._threads.run(data, partial(self._cleaned, data))

    async def prepared(self, picture: Picture, rules: ReferenceRules) -> Picture:
        """As the rules want it, and without what is private."""
        return await self._threads.run(picture.data, partial(self._prepared, picture.data, rules))

    async def prepared_mask(self, mask: Picture, like: Picture) -> Picture:
        """A PNG of the same size as the prepared reference, whose transparency is the mask's."""
        return await self._threads.run(
            mask.data, partial(self._prepared_mask, mask.data, like.data)
        )

    async def converted(self, data: bytes, format_: Format, compression: int | None) -> bytes:
        """The same picture in another format; for JPEG, on white."""
        return await self._threads.run(data, partial(self._converted, data, format_, compression))

    def _cleaned(self, data: bytes) -> bytes:
        is_film = is_webp_film(data)
        if not is_film and without_private_parts(data, manifest=True) == data:
            return data
        if is_film or _orientation(self._opened(data)) in pixels.TURNS:
            data = self._rewritten(data)
        return without_private_parts(data, manifest=False)

    def _rewritten(self, data: bytes) -> bytes:
        """Turned upright; what it came as is let go of before, a large one fills the memory."""
        image = _loaded(self._opened(data))
        quantized = pixels.quantization_of(image)
        image = pixels.upright(image)
        return pixels.rewritten(image, data, FORMAT_OF[content_type_of(data)], quantized)

    def _prepared(self, data: bytes, rules: ReferenceRules) -> Picture:
        stripped = without_private_parts(data, manifest=False)
        image = self._opened(data)
        own = content_type_of(data)
        may_stay = (
            FORMAT_OF[own] in rules.formats
            and not is_webp_film(data)
            and image.mode in pixels.PLAIN
            and pixels.sizes_within(image.size, rules) == (image.size, image.size)
            and (stripped == data or _orientation(image) not in pixels.TURNS)
        )
        if may_stay and len(stripped) <= rules.max_bytes:
            return Picture(stripped, own)
        return _painted_anew(pixels.plain(pixels.upright(_loaded(image))), data, rules)

    def _prepared_mask(self, mask: bytes, like: bytes) -> Picture:
        alpha = pixels.upright(_loaded(self._opened(mask))).convert("RGBA").getchannel("A")
        inner, frame = pixels.sizes_like(alpha.size, self._opened(like).size)
        alpha = pixels.framed(pixels.resized(alpha, inner), frame)
        for shades in (alpha, alpha.point(lambda value: 255 if value >= 128 else 0)):
            image = Image.new("RGBA", frame, "black")
            image.putalpha(shades)
            data = pixels.written(image, "png", BEST)
            if len(data) <= MASK_MAX_BYTES:
                return Picture(data, "image/png")
        raise NotAnImageError("The mask has too many details. Send a simpler one.")

    def _converted(self, data: bytes, format_: Format, compression: int | None) -> bytes:
        original = _loaded(self._opened(data))
        image = pixels.plain(pixels.upright(original))
        if image.mode == "CMYK":
            image = pixels.in_srgb(image)
        quality = BEST if compression is None else compression
        return pixels.written(image, format_, quality, **_kept_along(original, image, format_))

    def _opened(self, data: bytes) -> Image.Image:
        """By its header alone."""
        with _decoding():
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > self._max_pixels:
            raise NotAnImageError(
                f"The image has more than {self._max_pixels} pixels. Send a smaller one."
            )
        return image


@contextmanager
def _decoding() -> Iterator[None]:
    try:
        yield
    except DECODING_ERRORS as error:
        raise damaged() from error


def _loaded(image: Image.Image) -> Image.Image:
    with _decoding():
        image.load()
    return image


def _orientation(image: Image.Image) -> int:
    with _decoding():  # a PNG may say it behind its pixels
        return pixels.orientation_of(image)


def _painted_anew(image: Image.Image, data: bytes, rules: ReferenceRules) -> Picture:
    """In an accepted format and size, and ever smaller until it has few enough bytes."""
    own, budget = FORMAT_OF[content_type_of(data)], rules
    bytes_a_pixel = len(data) / (image.width * image.height)
    while budget.max_pixels >= rules.shortest_side**2:
        inner, frame = pixels.sizes_within(image.size, budget)
        area = inner[0] * inner[1]
        fitted = pixels.framed(pixels.in_srgb(pixels.resized(image, inner)), frame)
        ways = _ways(own, rules.formats, transparent=fitted.mode == "RGBA")
        if area * bytes_a_pixel > HOPELESS * rules.max_bytes:
            ways = ways[1:] or ways
        for format_, quality in ways:
            made = pixels.written(fitted, format_, quality)
            if len(made) <= rules.max_bytes:
                return Picture(without_private_parts(made, manifest=False), CONTENT_TYPES[format_])
        smaller = min(SHRINK, 0.9 * rules.max_bytes / len(made))
        budget = replace(rules, max_pixels=int(area * smaller))
    raise NotAnImageError(f"The image cannot be made as small as {rules.max_bytes} bytes.")


def _ways(
    own: Format, accepted: Sequence[Format], *, transparent: bool
) -> list[tuple[Format, int]]:
    """Formats and qualities to try, the most faithful first."""
    faithful: tuple[Format, ...] = ("png", "webp", "jpeg")
    if not transparent and own != "png":
        faithful = (own, "jpeg", "webp", "png")
    lossy: tuple[Format, ...] = ("webp", "jpeg") if transparent else ("jpeg", "webp")
    smaller = [one for one in lossy if one in accepted][:1]
    return [
        (next(one for one in faithful if one in accepted), BEST),
        *((one, quality) for one in smaller for quality in LOSSY_QUALITIES),
    ]


def _kept_along(original: Image.Image, image: Image.Image, format_: Format) -> dict[str, Any]:
    """The colours' profile, and XMP that says that an algorithm made it: a mark to be kept."""
    kept = {name: image.info[name] for name in ("icc_profile",) if name in image.info}
    if not says_algorithmic(original) or len(original.info["xmp"]) > MOST_XMP[format_]:
        return kept
    if format_ != "png":
        return kept | {"xmp": original.info["xmp"]}
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", original.info["xmp"].decode("utf-8", "replace"))
    return kept | {"pnginfo": texts}
