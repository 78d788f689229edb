"""Images by their content: what is taken, what is refused, and with which sentence."""

import base64
import io
import random
import struct
import time
import zlib
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from application.ports.images import ImageFacts, NotAnImageError
from domain.image import CONTENT_TYPES, Format
from infrastructure.images import PillowInspector, decode_reference

FORMATS: list[Format] = ["png", "jpeg", "webp"]


def picture(kind: str, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert(mode).save(out, kind)
    return out.getvalue()


def film(kind: str) -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green", "blue")]
    frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    return out.getvalue()


def chunk(name: bytes, payload: bytes) -> bytes:
    return (
        struct.pack(">I", len(payload))
        + name
        + payload
        + struct.pack(">I", zlib.crc32(name + payload))
    )


def png_of(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b"")


def with_c2pa(kind: Format) -> bytes:
    data = picture(kind)
    if kind == "png":
        return data[:33] + chunk(b"caBX", b"jumb") + data[33:]
    if kind == "jpeg":
        segment = b"JP\x00\x01\x00\x00\x00\x01\x00\x00\x00\x10jumbc2pa"
        return data[:2] + b"\xff\xeb" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    body = data[8:] + b"C2PA" + struct.pack("<I", 4) + b"jumb"
    return b"RIFF" + struct.pack("<I", len(body)) + body


async def refusal(data: bytes, **bounds: int) -> str:
    with pytest.raises(NotAnImageError) as refused:
        await PillowInspector(**bounds).inspect(data)
    return str(refused.value)


@pytest.mark.parametrize("kind", FORMATS)
async def test_the_facts_of_an_image_are_its_content(kind: Format) -> None:
    data = picture(kind)
    facts = await PillowInspector().inspect(data)
    assert (facts.content_type, facts.width, facts.height) == (CONTENT_TYPES[kind], 40, 30)
    assert facts.sha256 == sha256(data).hexdigest()
    assert facts.provenance == ()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
async def test_pixels_of_every_kind_are_taken(mode: str) -> None:
    assert (await PillowInspector().inspect(picture("png", mode=mode))).width == 40


@pytest.mark.parametrize("kind", FORMATS)
async def test_content_credentials_are_named(kind: Format) -> None:
    facts = await PillowInspector().inspect(with_c2pa(kind))
    assert facts.provenance == ("c2pa",)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "word", ["trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia"]
)
async def test_xmp_that_says_that_an_algorithm_made_it_is_named(kind: Format, word: str) -> None:
    said = {"xmp": word.encode()}
    if kind == "png":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", word, zip=True)
        said = {"pnginfo": texts}
    out = io.BytesIO()
    Image.new("RGB", (16, 16)).save(out, kind, **said)
    assert (await PillowInspector().inspect(out.getvalue())).provenance == ("iptc",)


@pytest.mark.parametrize(
    ("mode", "alpha"), [("RGB", False), ("L", False), ("RGBA", True), ("LA", True), ("P", False)]
)
async def test_it_is_known_whether_pixels_can_be_transparent(mode: str, alpha: bool) -> None:
    assert (await PillowInspector().inspect(picture("png", mode=mode))).alpha is alpha


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG",
        b"<!doctype html><title>cat.png</title>",
        b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>',
        picture("gif"),
        picture("bmp"),
        picture("tiff"),
        b"%PDF-1.7",
        b"RIFF\x04\x00\x00\x00WAVE",
    ],
    ids=["nothing", "few bytes", "html", "svg", "gif", "bmp", "tiff", "pdf", "wave"],
)
async def test_what_is_no_png_jpeg_or_webp_is_refused_by_its_content(data: bytes) -> None:
    assert "no PNG, JPEG or WebP image" in await refusal(data)


@pytest.mark.parametrize("side", [1, 8, 64])
@pytest.mark.parametrize("kind", FORMATS)
async def test_an_image_cut_off_anywhere_is_refused(kind: Format, side: int) -> None:
    data = picture(kind, (side, side))
    inspector = PillowInspector()
    for end in {len(data) - 1, len(data) - 2, len(data) - 13, *range(16, len(data), 41)}:
        with pytest.raises(NotAnImageError):
            await inspector.inspect(data[:end])


async def test_a_jpeg_without_its_end_is_refused() -> None:
    out = io.BytesIO()
    noise = random.Random(8).randbytes(192)  # one of few that Pillow takes without their end
    Image.frombytes("RGB", (8, 8), noise).save(out, "JPEG")
    assert "incomplete" in await refusal(out.getvalue()[:-2])


async def test_a_file_that_claims_more_bytes_than_it_has_is_refused() -> None:
    data = picture("webp")
    assert "incomplete" in await refusal(data[:4] + b"\xff\xff\xff\xff" + data[8:])


@pytest.mark.parametrize("kind", ["png", "webp"])
async def test_an_animated_image_is_refused(kind: str) -> None:
    assert "animated" in await refusal(film(kind))


async def test_a_photograph_with_a_preview_in_it_is_a_jpeg() -> None:
    assert (await PillowInspector().inspect(film("mpo"))).content_type == "image/jpeg"


async def test_any_changed_byte_of_a_png_is_noticed() -> None:
    data = picture("png")
    inspector = PillowInspector()
    for at in range(len(data)):
        with pytest.raises(NotAnImageError):
            await inspector.inspect(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def with_scans(number: int, side: int = 64) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    out = io.BytesIO()
    Image.new("RGB", (side, side), "teal").save(out, "JPEG", progressive=True)
    data = out.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * (number - data.count(b"\xff\xda")) + data[-2:]


async def test_a_jpeg_has_at_most_64_scans() -> None:
    assert (await PillowInspector().inspect(with_scans(64))).width == 64
    assert "more than 64 scans" in await refusal(with_scans(65))


async def test_a_jpeg_of_thousands_of_scans_is_refused_before_decoding() -> None:
    bomb = with_scans(6000, side=4000)
    began = time.process_time()
    assert "more than 64 scans" in await refusal(bomb)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("hiding", [b"\xff\x00", b"\xff\x02\xff\xff", b"\xff\xd0\xff\xff"])
async def test_scans_do_not_hide_behind_what_libjpeg_passes_over(hiding: bytes) -> None:
    data = with_scans(65)
    for at in (2, data.index(b"\xff\xda") + 14):
        assert "more than 64 scans" in await refusal(data[:at] + hiding + data[at:])


async def test_what_follows_the_picture_or_lies_in_a_segment_is_no_scan_of_it() -> None:
    data, scans = picture("jpeg"), b"\xff\xda\x00\x08" * 100
    comment = b"\xff\xfe" + struct.pack(">H", len(scans) + 2) + scans
    assert (await PillowInspector().inspect(data[:2] + comment + data[2:] + scans)).width == 40


async def test_damaged_exif_does_not_harm_the_picture() -> None:
    data = picture("jpeg")
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x09\x01\x1a\x00\x05\xff\xff"
    start = data.index(b"\xff\xe0") + 2 + struct.unpack(">H", data[4:6])[0]
    damaged = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[start:]
    assert (await PillowInspector().inspect(damaged)).width == 40


@pytest.mark.parametrize("side", [8_100, 10_000, 20_000, 65_535])
async def test_too_many_pixels_are_refused_before_decoding(side: int) -> None:
    assert "more than 64000000 pixels" in await refusal(png_of(side, side))


async def test_the_bounds_can_be_set() -> None:
    assert "more than 1199 pixels" in await refusal(picture("webp"), max_pixels=1199)
    assert (await PillowInspector(max_pixels=1200).inspect(picture("webp"))).width == 40
    assert "at most 50 are taken" in await refusal(picture("png"), max_bytes=50)


async def test_images_that_belong_together_are_bounded_together() -> None:
    images = [picture("png"), b"none", picture("webp", (40, 31)), picture("jpeg"), picture("png")]
    inspector = PillowInspector(max_pixels_together=2430)
    first, no_image, too_large, last, one_more = await inspector.inspect_all(images)
    assert isinstance(first, ImageFacts)
    assert isinstance(last, ImageFacts)
    assert "no PNG" in str(no_image)
    for refused in (too_large, one_more):
        assert str(refused).startswith("The images have more than 2430 pixels together.")


def test_a_bound_beyond_pillows_own_is_refused() -> None:
    with pytest.raises(ValueError, match="Choose a smaller number"):
        PillowInspector(max_pixels=10**9)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
async def test_no_bytes_raise_anything_but_the_refusal(kind: Format, data: st.DataObject) -> None:
    image = bytearray(picture(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    try:
        await PillowInspector().inspect(bytes(image))
    except NotAnImageError as refused:
        assert str(refused).endswith(".")  # noqa: PT017  # being taken is right, too


# --- reference images in a request -----------------------------------------------------------


@pytest.mark.parametrize("data", [b"a", b"ab", b"abc", bytes(range(256))])
def test_base64_and_data_urls_give_the_bytes(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    assert decode_reference(text) == data
    assert decode_reference(f"data:image/png;base64,{text}") == data
    assert decode_reference(f"DATA:image/webp;name=a.webp;BASE64,{text}") == data


@pytest.mark.parametrize(
    "text",
    ["YWJ", "YW Jj", "YWJj\n", "YWJj=", "====", "YW-_", "ÄÖÜ", "https://example.com/cat.png", "\0"],
)
def test_what_is_not_strict_base64_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(NotAnImageError, match="Send standard base64"):
        decode_reference(text)


@pytest.mark.parametrize("text", ["", "data:image/png;base64,"])
def test_an_empty_reference_is_refused(text: str) -> None:
    with pytest.raises(NotAnImageError, match="empty"):
        decode_reference(text)


@pytest.mark.parametrize(
    "text", ["data:image/svg+xml,<svg/>", "data:text/html;base64,YWJj", "data:,YWJj", "data:"]
)
def test_a_data_url_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(NotAnImageError, match="data URL of another kind"):
        decode_reference(text)


def test_a_reference_is_bounded_before_it_is_decoded() -> None:
    fitting = base64.b64encode(bytes(100)).decode()
    assert decode_reference(fitting, max_bytes=100) == bytes(100)
    with pytest.raises(NotAnImageError, match="more than 100 bytes"):
        decode_reference("?" * 140, max_bytes=100)
