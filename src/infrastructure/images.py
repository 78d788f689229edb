"""Images by their content: what Pillow finds in bytes, and what the API takes as a reference."""

from __future__ import annotations

import hashlib
import io
import re
import struct
import warnings
import zlib
from binascii import a2b_base64
from collections.abc import Sequence
from functools import partial

from PIL import Image

from application.ports.images import (
    MOST_PIXELS_TOGETHER,
    ImageFacts,
    NotAnImageError,
    TooMuchTogetherError,
)
from infrastructure.image_parts import content_type_of, damaged, has_manifest
from infrastructure.image_threads import ImageThreads

MAX_BYTES = 64 * 1024 * 1024
MAX_PIXELS = 64_000_000
MAX_REFERENCE_BYTES = 20 * 1024 * 1024
MAX_REFERENCE_PIXELS = 40_000_000
FORMATS = ("PNG", "JPEG", "WEBP")

ALGORITHMIC = re.compile(rb"[tT]rainedAlgorithmicMedia")  # IPTC's DigitalSourceType, in XMP

# What Pillow's decoders raise when bytes are not what they claim to be.
DECODING_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError),
    *(OverflowError, MemoryError, AttributeError, ZeroDivisionError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)


class PillowInspector:
    """Looks into PNG, JPEG and WebP images of at most `max_bytes` bytes and `max_pixels` pixels.

    Images that belong together have at most `max_pixels_together`. At most `threads` images are
    decoded at once, outside the event loop, large ones
    one after the other.
    """

    def __init__(
        self,
        *,
        max_bytes: int = MAX_BYTES,
        max_pixels: int = MAX_PIXELS,
        max_pixels_together: int = MOST_PIXELS_TOGETHER,
        threads: int = 2,
    ) -> None:
        if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
            raise ValueError(
                f"max_pixels is {max_pixels}, but Pillow takes more than "
                f"{Image.MAX_IMAGE_PIXELS} pixels for an attack. Choose a smaller number."
            )
        self._max_bytes, self._max_pixels = max_bytes, max_pixels
        self._max_pixels_together = max_pixels_together
        self._threads = ImageThreads(threads, "inspect-image")
        set_up_pillow_warnings()

    async def inspect(self, data: bytes) -> ImageFacts:
        """Decode all of it. Raises NotAnImageError."""
        return await self._inspect_within(self._max_pixels, data)

    async def inspect_all(
        self, images: Sequence[bytes], *, besides: int = 0
    ) -> list[ImageFacts | NotAnImageError]:
        """Decode images that belong together; why not, in the place of each that is refused.

        One after the other, so that nobody's images keep all threads busy.
        """
        found: list[ImageFacts | NotAnImageError] = []
        pixels_left = self._max_pixels_together - besides
        for data in images:
            try:
                facts = await self._inspect_within(pixels_left, data)
            except NotAnImageError as error:
                found.append(error)
            else:
                found.append(facts)
                pixels_left -= facts.width * facts.height
        return found

    async def _inspect_within(self, pixels_left: int, data: bytes) -> ImageFacts:
        return await self._threads.run(data, partial(self._inspect, pixels_left, data))

    def _inspect(self, pixels_left: int, data: bytes) -> ImageFacts:
        if len(data) > self._max_bytes:
            raise NotAnImageError(
                f"The image has {len(data)} bytes, at most {self._max_bytes} are taken. "
                "Send a smaller one."
            )
        content_type = content_type_of(data)
        credentials = ("c2pa",) if has_manifest(data) else ()
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                self._refuse_by_header(pixels_left, image)
                image.load()
                return ImageFacts(
                    content_type,
                    image.width,
                    image.height,
                    sha256=hashlib.sha256(data).hexdigest(),
                    provenance=(*credentials, *(("iptc",) if says_algorithmic(image) else ())),
                    alpha=image.has_transparency_data,
                )
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise self._too_many_pixels() from error
        except DECODING_ERRORS as error:
            raise damaged() from error

    def _refuse_by_header(self, pixels_left: int, image: Image.Image) -> None:
        pixels = image.width * image.height
        if pixels > self._max_pixels:
            raise self._too_many_pixels()
        if pixels > pixels_left:
            raise TooMuchTogetherError(self._max_pixels_together)
        # A JPEG with several pictures (MPO) is a photograph with its preview or depth, not a film.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            raise NotAnImageError("The image is animated. Send a single still picture.")

    def _too_many_pixels(self) -> NotAnImageError:
        return NotAnImageError(
            f"The image has more than {self._max_pixels} pixels. Send a smaller one."
        )


def says_algorithmic(image: Image.Image) -> bool:
    """Whether its XMP says, in IPTC's words, that an algorithm made it."""
    return ALGORITHMIC.search(image.info.get("xmp") or b"") is not None


def decode_reference(text: str, *, max_bytes: int = MAX_REFERENCE_BYTES) -> bytes:
    """The bytes of a reference image sent as base64 or as a data URL.

    They are not looked into yet. Raises NotAnImageError, before decoding more than `max_bytes`.
    """
    encoded = _payload_of_data_url(text) if text[:5].lower() == "data:" else text
    if not encoded:
        raise NotAnImageError("The image is empty. Send the bytes of an image.")
    if len(encoded) // 4 * 3 - encoded[-2:].count("=") > max_bytes:
        raise NotAnImageError(f"The image has more than {max_bytes} bytes. Send a smaller one.")
    return _decoded(encoded)


def _decoded(encoded: str) -> bytes:
    try:
        if len(encoded) % 4:  # some versions of Python overlook padding too much
            raise ValueError(encoded[-4:])
        return a2b_base64(encoded, strict_mode=True)
    except ValueError as error:
        raise NotAnImageError(
            "The image is not base64. Send standard base64 with its padding and "
            "without line breaks, or a data URL (data:image/png;base64,...)."
        ) from error


def _payload_of_data_url(text: str) -> str:
    head, _, payload = text.partition(",")
    if not (head.lower().startswith("data:image/") and head.lower().endswith(";base64")):
        raise NotAnImageError(
            "The image is a data URL of another kind. "
            "Send one that begins like data:image/png;base64, followed by the bytes in base64."
        )
    return payload


def set_up_pillow_warnings() -> None:
    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
    # Pillow's other warnings are about EXIF data and the like: the picture itself is whole.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
