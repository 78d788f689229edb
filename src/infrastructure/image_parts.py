"""PNG, JPEG and WebP files by their parts: whether they are whole, and all but what is private."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from application.ports.images import NotAnImageError
from domain.image import ContentType

MAX_SCANS = 64  # encoders make about ten; each costs a pass over all pixels, however few its bytes

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_COLOURS = (b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI")
PNG_KEPT = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"sBIT", b"bKGD", b"pHYs", *PNG_COLOURS}
PNG_LONGEST = {  # bytes; what has more hides something behind what it says
    b"IHDR": 13,
    b"PLTE": 768,
    b"tRNS": 256,
    b"IEND": 0,
    b"sBIT": 4,
    b"bKGD": 6,
    b"pHYs": 9,
    b"gAMA": 4,
    b"cHRM": 32,
    b"sRGB": 1,
    b"cICP": 4,
    b"mDCV": 24,
    b"cLLI": 8,
}
PNG_NEEDED = (b"IHDR", b"PLTE", b"tRNS")
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
PNG_MANIFEST = b"caBX"

END_OF_IMAGE, START_OF_SCAN, JFIF, PROFILE, MANIFEST, ADOBE = 0xD9, 0xDA, 0xE0, 0xE2, 0xEB, 0xEE
NUMBER_OF_LINES = 0xDC
TABLES_AND_FRAMES = {*range(0xC0, 0xD0), *range(0xDA, 0xE0)}
# Those that have a length, and the end; libjpeg passes over all other bytes in search of them.
JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")

WEBP_KEPT = {b"VP8X", b"ICCP", b"ALPH", b"VP8 ", b"VP8L"}
WEBP_MANIFEST = b"C2PA"
WEBP_EXIF_AND_XMP = 0x08 | 0x04  # of the flags in VP8X

Bytes = bytes | memoryview


@dataclass(frozen=True)
class Segment:
    """A marker of a JPEG, what it holds, and of a scan the pixels behind it."""

    marker: int
    payload: bytes
    scan: memoryview


def content_type_of(data: bytes) -> ContentType:
    """By its first bytes, whatever its name says. Raises NotAnImageError."""
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


def has_manifest(data: bytes) -> bool:
    """Whether it carries content credentials (C2PA). Raises NotAnImageError unless it is whole."""
    return HAS_MANIFEST[content_type_of(data)](data)


def without_private_parts(data: bytes, *, manifest: bool) -> bytes:
    """The same pixels and colours, and nothing else that a file can carry but its `manifest`.

    What is left out: EXIF, XMP, IPTC, comments, texts, thumbnails, further pictures, unknown parts,
    whatever stands between parts or after the end, or in a part behind what it is for. A colour
    profile (ICC) stays as it is, with the texts in it: it may name a device, or who made it.
    Raises NotAnImageError.
    """
    return WITHOUT_PRIVATE_PARTS[content_type_of(data)](data, manifest)


def damaged() -> NotAnImageError:
    """Why a file that breaks off or contradicts itself is refused."""
    return NotAnImageError("The image is damaged or incomplete. Send the whole file again.")


# --- PNG -------------------------------------------------------------------------------------


def png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """The chunks up to the end, by name: those that matter to the picture being unharmed."""
    view, at, name = memoryview(data), len(PNG_SIGNATURE), b""
    while name != b"IEND" and at + 12 <= len(data):
        (length,), name = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        chunk = view[at : at + 12 + length]
        at += 12 + length
        if at > len(data):
            return
        if name[:1].isupper() and zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise damaged()
        yield name, chunk


def _png_has_manifest(data: bytes) -> bool:
    names = [name for name, _ in png_chunks(data)]
    if not names or names[-1] != b"IEND":
        raise damaged()
    return PNG_MANIFEST in names


def _png_without_private_parts(data: bytes, manifest: bool) -> bytes:
    kept = PNG_KEPT | {PNG_MANIFEST} if manifest else PNG_KEPT
    chunks = [c for name, c in png_chunks(data) if name in kept and _is_plain_png(name, c)]
    return b"".join((PNG_SIGNATURE, *chunks, PNG_END))


def _is_plain_png(name: bytes, chunk: memoryview) -> bool:
    """Whether a chunk holds what it is for and no more. Raises NotAnImageError."""
    is_plain = len(chunk) - 12 <= PNG_LONGEST.get(name, len(chunk))
    if not is_plain and name in PNG_NEEDED:
        raise damaged()
    return is_plain and name != b"IEND"


# --- JPEG ------------------------------------------------------------------------------------


def jpeg_segments(data: bytes) -> Iterator[Segment]:
    """Its segments up to the end of the first picture, as libjpeg reads."""
    view, found = memoryview(data), JPEG_MARKER.search(data, 2)
    while found:
        marker, at = found[0][1], found.end()
        if marker == END_OF_IMAGE:
            yield Segment(marker, b"", view[:0])
            return
        end = at + max(2, int.from_bytes(data[at : at + 2], "big"))
        found = JPEG_MARKER.search(data, end)
        until = found.start() if found and marker == START_OF_SCAN else end
        yield Segment(marker, data[at + 2 : end], view[end:until])


def _jpeg_has_manifest(data: bytes) -> bool:
    marker, scans, marked = 0, 0, False
    for segment in jpeg_segments(data):
        marker = segment.marker
        scans += marker == START_OF_SCAN
        marked = marked or _is_manifest(segment)
        if scans > MAX_SCANS:
            raise NotAnImageError(
                f"The JPEG has more than {MAX_SCANS} scans, which only slow its decoding down. "
                "Save it again as an ordinary JPEG."
            )
    if marker != END_OF_IMAGE or not scans:
        raise damaged()
    return marked


def _is_manifest(segment: Segment) -> bool:
    return (
        segment.marker == MANIFEST and segment.payload[:2] == b"JP" and b"jumb" in segment.payload
    )


def _jpeg_without_private_parts(data: bytes, manifest: bool) -> bytes:
    parts: list[Bytes] = [data[:2]]
    for segment in jpeg_segments(data):
        if segment.marker == END_OF_IMAGE:
            parts.append(b"\xff\xd9")
            continue
        kept = _kept_of(segment)
        if kept is None and manifest and _is_manifest(segment):
            kept = segment.payload
        if kept is not None:
            head = struct.pack(">BBH", 0xFF, segment.marker, len(kept) + 2)
            parts += [head, kept, segment.scan]
    return b"".join(parts)


def _kept_of(segment: Segment) -> bytes | None:
    payload = segment.payload
    if segment.marker == NUMBER_OF_LINES:
        return payload[:2]  # decoders pass over it, however long it is
    if segment.marker in TABLES_AND_FRAMES:
        return payload
    if segment.marker == JFIF and payload[:5] == b"JFIF\0":
        return payload[:12] + b"\0\0"  # width and height of a thumbnail
    if segment.marker == PROFILE and payload[:12] == b"ICC_PROFILE\0":
        return payload
    if segment.marker == ADOBE and payload[:5] == b"Adobe":
        return payload[:12]
    return None


# --- WebP ------------------------------------------------------------------------------------


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Its chunks, by name."""
    view, at, end = memoryview(data), 12, 8 + int.from_bytes(data[4:8], "little")
    while at + 8 <= end:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        yield data[at : at + 4], view[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def is_webp_film(data: bytes) -> bool:
    """Whether its pixels lie in the frames of an animation, be it one of a single frame."""
    return content_type_of(data) == "image/webp" and any(n == b"ANMF" for n, _ in webp_chunks(data))


def _webp_has_manifest(data: bytes) -> bool:
    if 8 + int.from_bytes(data[4:8], "little") > len(data):
        raise damaged()
    return any(name == WEBP_MANIFEST for name, _ in webp_chunks(data))


def _webp_without_private_parts(data: bytes, manifest: bool) -> bytes:
    kept = WEBP_KEPT | {WEBP_MANIFEST} if manifest else WEBP_KEPT
    parts: list[Bytes] = [b"WEBP"]
    for name, payload in webp_chunks(data):
        if name in kept:
            held = _without_flags(payload) if name == b"VP8X" else payload
            parts += [name, struct.pack("<I", len(held)), held, bytes(len(held) % 2)]
    body = b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _without_flags(extended: memoryview) -> bytes:
    flags = bytes(extended)
    return bytes([flags[0] & ~WEBP_EXIF_AND_XMP]) + flags[1:10] if flags else flags


HAS_MANIFEST: dict[ContentType, Callable[[bytes], bool]] = {
    "image/png": _png_has_manifest,
    "image/jpeg": _jpeg_has_manifest,
    "image/webp": _webp_has_manifest,
}
WITHOUT_PRIVATE_PARTS: dict[ContentType, Callable[[bytes, bool], bytes]] = {
    "image/png": _png_without_private_parts,
    "image/jpeg": _jpeg_without_private_parts,
    "image/webp": _webp_without_private_parts,
}
