"""Images by their content: what Pillow finds in bytes, and what the API takes as a reference."""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import struct
import warnings
import zlib
from binascii import a2b_base64
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from application.ports.images import ImageFacts, NotAnImageError
from domain.image import ContentType

MAX_BYTES = 64 * 1024 * 1024
MAX_PIXELS = 64_000_000
MAX_REFERENCE_BYTES = 20 * 1024 * 1024
MAX_REFERENCE_PIXELS = 40_000_000
MAX_PIXELS_TOGETHER = 100_000_000
MAX_SCANS = 64  # encoders make about ten; each costs a pass over all pixels, however few its bytes

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_END_OF_IMAGE, JPEG_START_OF_SCAN, JPEG_APP11 = 0xD9, 0xDA, 0xEB
# Those that have a length, and the end; libjpeg passes over all other bytes in search of them.
JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")

# What Pillow's decoders raise when bytes are not what they claim to be.
DECODING_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError),
    *(OverflowError, MemoryError, AttributeError, ZeroDivisionError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)


class PillowInspector:
    """Looks into PNG, JPEG and WebP images of at most `max_bytes` bytes and `max_pixels` pixels.

    Images that belong together have at most `max_pixels_together`. At most `threads` images are
    decoded at once, outside the event loop.
    """

    def __init__(
        self,
        *,
        max_bytes: int = MAX_BYTES,
        max_pixels: int = MAX_PIXELS,
        max_pixels_together: int = MAX_PIXELS_TOGETHER,
        threads: int = 2,
    ) -> None:
        if Image.MAX_IMAGE_PIXELS is not None and max_pixels > Image.MAX_IMAGE_PIXELS:
            raise ValueError(
                f"max_pixels is {max_pixels}, but Pillow takes more than "
                f"{Image.MAX_IMAGE_PIXELS} pixels for an attack. Choose a smaller number."
            )
        self._max_bytes, self._max_pixels = max_bytes, max_pixels
        self._max_pixels_together = max_pixels_together
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="inspect-image")
        _set_up_pillow_warnings()

    async def inspect(self, data: bytes) -> ImageFacts:
        """Decode all of it. Raises NotAnImageError."""
        return await self._inspect_within(self._max_pixels, data)

    async def inspect_all(self, images: Sequence[bytes]) -> list[ImageFacts | NotAnImageError]:
        """Decode images that belong together; why not, in the place of each that is refused.

        One after the other, so that nobody's images keep all threads busy.
        """
        found: list[ImageFacts | NotAnImageError] = []
        pixels_left = self._max_pixels_together
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
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._inspect, pixels_left, data)

    def _inspect(self, pixels_left: int, data: bytes) -> ImageFacts:
        if len(data) > self._max_bytes:
            raise NotAnImageError(
                f"The image has {len(data)} bytes, at most {self._max_bytes} are taken. "
                "Send a smaller one."
            )
        content_type = _content_type(data)
        marks = READERS[content_type](data)
        width, height = self._decode(pixels_left, data)
        return ImageFacts(content_type, width, height, hashlib.sha256(data).hexdigest(), marks)

    def _decode(self, pixels_left: int, data: bytes) -> tuple[int, int]:
        try:
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
                self._refuse_by_header(pixels_left, image)
                image.load()
                return image.size
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise self._too_many_pixels() from error
        except DECODING_ERRORS as error:
            raise _damaged() from error

    def _refuse_by_header(self, pixels_left: int, image: Image.Image) -> None:
        pixels = image.width * image.height
        if pixels > self._max_pixels:
            raise self._too_many_pixels()
        if pixels > pixels_left:
            raise NotAnImageError(
                f"The images have more than {self._max_pixels_together} pixels together. "
                "Send fewer or smaller ones."
            )
        # A JPEG with several pictures (MPO) is a photograph with its preview or depth, not a film.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            raise NotAnImageError("The image is animated. Send a single still picture.")

    def _too_many_pixels(self) -> NotAnImageError:
        return NotAnImageError(
            f"The image has more than {self._max_pixels} pixels. Send a smaller one."
        )


def decode_reference(text: str, *, max_bytes: int = MAX_REFERENCE_BYTES) -> bytes:
    """The bytes of a reference image sent as base64 or as a data URL.

    They are not looked into yet. Raises NotAnImageError, before decoding more than `max_bytes`.
    """
    encoded = _payload_of_data_url(text) if text[:5].lower() == "data:" else text
    if not encoded:
        raise NotAnImageError("The reference image is empty. Send the bytes of an image.")
    if len(encoded) // 4 * 3 - encoded[-2:].count("=") > max_bytes:
        raise NotAnImageError(
            f"The reference image has more than {max_bytes} bytes. Send a smaller one."
        )
    return _decoded(encoded)


def _decoded(encoded: str) -> bytes:
    try:
        if len(encoded) % 4:  # some versions of Python overlook padding too much
            raise ValueError(encoded[-4:])
        return a2b_base64(encoded, strict_mode=True)
    except ValueError as error:
        raise NotAnImageError(
            "The reference image is not base64. Send standard base64 with its padding and "
            "without line breaks, or a data URL (data:image/png;base64,...)."
        ) from error


def _payload_of_data_url(text: str) -> str:
    head, _, payload = text.partition(",")
    if not (head.lower().startswith("data:image/") and head.lower().endswith(";base64")):
        raise NotAnImageError(
            "The reference image is a data URL of another kind. "
            "Send one that begins like data:image/png;base64, followed by the bytes in base64."
        )
    return payload


def _set_up_pillow_warnings() -> None:
    warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
    # Pillow's other warnings are about EXIF data and the like: the picture itself is whole.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def _content_type(data: bytes) -> ContentType:
    if data.startswith(PNG_SIGNATURE):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise NotAnImageError(
        "The bytes are no PNG, JPEG or WebP image, whatever their name says. "
        "Convert the image to one of these."
    )


def _damaged() -> NotAnImageError:
    return NotAnImageError("The image is damaged or incomplete. Send the whole file again.")


# --- files by their parts: whether they are whole, and which provenance marks they carry ------


def _png_marks(data: bytes) -> tuple[str, ...]:
    names = list(_png_chunks(data))
    if not names or names[-1] != b"IEND":
        raise _damaged()
    return ("c2pa",) if b"caBX" in names else ()


def _png_chunks(data: bytes) -> Iterator[bytes]:
    """The names of the chunks up to the end, those that matter to the picture being unharmed."""
    at = len(PNG_SIGNATURE)
    name = b""
    while name != b"IEND" and at + 12 <= len(data):
        (length,), name = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        checked, at = memoryview(data)[at + 4 : at + 8 + length], at + 12 + length
        if at > len(data):
            return
        if name[:1].isupper() and zlib.crc32(checked) != struct.unpack_from(">I", data, at - 4)[0]:
            raise _damaged()
        yield name


def _jpeg_marks(data: bytes) -> tuple[str, ...]:
    marker, scans, marked = 0, 0, False
    for marker, payload in _jpeg_segments(data):
        scans += marker == JPEG_START_OF_SCAN
        marked = marked or (marker == JPEG_APP11 and payload[:2] == b"JP" and b"jumb" in payload)
        if scans > MAX_SCANS:
            raise NotAnImageError(
                f"The JPEG has more than {MAX_SCANS} scans, which only slow its decoding down. "
                "Save it again as an ordinary JPEG."
            )
    if marker != JPEG_END_OF_IMAGE or not scans:
        raise _damaged()
    return ("c2pa",) if marked else ()


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each marker and what it holds, up to the end of the first picture, as libjpeg reads."""
    at = 2
    while found := JPEG_MARKER.search(data, at):
        marker, at = found[0][1], found.end()
        length = int.from_bytes(data[at : at + 2], "big")
        yield marker, data[at + 2 : at + length]
        if marker == JPEG_END_OF_IMAGE:
            return
        at += max(2, length)


def _webp_marks(data: bytes) -> tuple[str, ...]:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise _damaged()
    at, names = 12, []
    while at + 8 <= end:
        names.append(data[at : at + 4])
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    return ("c2pa",) if b"C2PA" in names else ()


READERS: dict[ContentType, Callable[[bytes], tuple[str, ...]]] = {
    "image/png": _png_marks,
    "image/jpeg": _jpeg_marks,
    "image/webp": _webp_marks,
}
