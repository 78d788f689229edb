"""Pictures as cameras, telephones and programs leave them, with all that they say beside pixels."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from PIL import ExifTags, Image, ImageChops, ImageCms, ImageStat, PngImagePlugin

from domain.image import Format

SECRET = b"Geheimnis"  # stands in everything that has to go
XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    + SECRET
    + b'</x:xmpmeta><?xpacket end="w"?>'
)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PRIVATE = (SECRET, b"Exif\0\0", b"eXIf", b"EXIF", b"GPS", b"xpacket", b"xmpmeta", b"ns.adobe.com")
PRIVATE += (b"8BIM", b"Photoshop", b"tEXt", b"zTXt", b"iTXt", b"tIME", b"MPF\0", b"JFXX", b"XMP ")


def scene(size: tuple[int, int] = (48, 32), mode: str = "RGB") -> Image.Image:
    """Smooth, and different in every corner, so that every turn shows."""
    across = Image.linear_gradient("L").rotate(90).resize(size)
    down = Image.linear_gradient("L").resize(size)
    corner = Image.new("L", size, 40)
    corner.paste(220, (0, 0, size[0] // 3, size[1] // 3))
    return Image.merge("RGB", (across, down, corner)).convert(mode)


def exif(orientation: int = 1) -> Image.Exif:
    """What a telephone says: who, with what, when, where; a thumbnail."""
    said = Image.Exif()
    said[ExifTags.Base.Orientation] = orientation
    said[ExifTags.Base.Make] = SECRET.decode()
    said[ExifTags.Base.Artist] = SECRET.decode()
    where = said.get_ifd(ExifTags.IFD.GPSInfo)
    where[ExifTags.GPS.GPSLatitudeRef] = "N"
    where[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    where[ExifTags.GPS.GPSAreaInformation] = SECRET
    detail = said.get_ifd(ExifTags.IFD.Exif)
    detail[ExifTags.Base.UserComment] = SECRET
    return said


def written(image: Image.Image, format_: Format, **more: Any) -> bytes:
    """As a file."""
    out = io.BytesIO()
    image.save(out, format_, **more)
    return out.getvalue()


def photograph(
    format_: Format, orientation: int = 1, image: Image.Image | None = None, **more: Any
) -> bytes:
    """A file with everything that gives somebody away."""
    image = image or scene()
    if format_ == "png":
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Author", SECRET.decode())
        texts.add_text("Comment", SECRET.decode(), zip=True)
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
        texts.add(b"tIME", b"\x07\xe9\x01\x02\x03\x04\x05")
        texts.add(b"prVt", SECRET, after_idat=True)
        more = {"pnginfo": texts, **more}
    if format_ == "jpeg":
        more = {"comment": SECRET, "xmp": XMP, "quality": 90, **more}
    if format_ == "webp":
        more = {"xmp": XMP, **more}
    data = written(image, format_, exif=exif(orientation), **more)
    return with_segments(data) if format_ == "jpeg" else data + SECRET


def with_segments(jpeg: bytes) -> bytes:
    """IPTC, a thumbnail, a vendor's own, rubbish between parts, another picture after the end."""
    iptc = b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x0e\x1c\x02\x50\0\x09" + SECRET
    extra = segment(0xED, iptc) + segment(0xE0, b"JFXX\0\x13" + SECRET) + segment(0xE5, SECRET)
    return jpeg[:2] + extra + SECRET + jpeg[2:] + SECRET + jpeg


def segment(marker: int, payload: bytes) -> bytes:
    """Of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def chunk(name: bytes, payload: bytes) -> bytes:
    """Of a PNG."""
    checked = name + payload
    return struct.pack(">I", len(payload)) + checked + struct.pack(">I", zlib.crc32(checked))


def with_manifest(data: bytes, format_: Format) -> bytes:
    """With content credentials (C2PA)."""
    if format_ == "png":
        return data[:33] + chunk(b"caBX", b"jumb") + data[33:]
    if format_ == "jpeg":
        jumbf = b"JP\x00\x01\x00\x00\x00\x01\x00\x00\x00\x10jumbc2pa"
        return data[:2] + segment(0xEB, jumbf) + data[2:]
    end = 8 + int.from_bytes(data[4:8], "little")
    body = data[8:end] + b"C2PA" + struct.pack("<I", 4) + b"jumb"
    return b"RIFF" + struct.pack("<I", len(body)) + body + data[end:]


def opened(data: bytes) -> Image.Image:
    """All of it."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def difference(one: Image.Image, other: Image.Image) -> float:
    """How far apart the pixels are, on an average, of 255."""
    assert one.size == other.size
    apart = ImageChops.difference(one.convert("RGB"), other.convert("RGB"))
    return sum(ImageStat.Stat(apart).mean) / 3


def says_nothing_private(data: bytes) -> None:
    """Neither to who searches the bytes, nor to who reads the file as a viewer does."""
    assert [mark for mark in PRIVATE if mark in data] == []
    image = opened(data)
    known: Mapping[Any, Any] = image.info
    assert not {"exif", "xmp", "comment", "photoshop", "XML:com.adobe.xmp"} & known.keys()
    assert not dict(image.getexif())
