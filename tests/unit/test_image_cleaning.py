"""References as they are kept: upright, all their pixels, and nothing that gives anybody away."""

from __future__ import annotations

import io
import itertools
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from application.ports.images import NotAnImageError
from domain.image import Format
from infrastructure.image_editing import PillowEditor
from infrastructure.images import PillowInspector
from tests.photographs import (
    PROFILE,
    SECRET,
    chunk,
    difference,
    exif,
    opened,
    photograph,
    says_nothing_private,
    scene,
    segment,
    with_manifest,
    written,
)

FORMATS: list[Format] = ["png", "jpeg", "webp"]
MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]


async def clean(data: bytes) -> bytes:
    return await PillowEditor().cleaned(data)


def sixteen_bits() -> Image.Image:
    return Image.linear_gradient("L").resize((48, 32)).convert("I;16").point(lambda v: v * 257)


def of_mode(mode: str) -> Image.Image:
    return sixteen_bits() if mode == "I;16" else scene(mode=mode)


@pytest.mark.parametrize("format_", FORMATS)
async def test_what_says_nothing_stays_byte_for_byte(format_: Format) -> None:
    for data in (written(scene(), format_), written(scene(), format_, icc_profile=PROFILE)):
        assert await clean(data) == data
        credited = with_manifest(data, format_)
        assert await clean(credited) == credited


@pytest.mark.parametrize(("format_", "orientation"), [*itertools.product(FORMATS, range(1, 9))])
async def test_a_photograph_is_upright_and_says_nothing(format_: Format, orientation: int) -> None:
    photo = photograph(format_, orientation, icc_profile=PROFILE)
    assert SECRET in photo

    cleaned = await clean(photo)

    says_nothing_private(cleaned)
    seen = opened(cleaned)
    assert difference(ImageOps.exif_transpose(opened(photo)), seen) < (
        2 if format_ != "png" else 0.01
    )
    assert seen.info["icc_profile"] == PROFILE
    assert (await PillowInspector().inspect(cleaned)).width == (48 if orientation < 5 else 32)
    assert await clean(cleaned) == cleaned


@pytest.mark.parametrize("orientation", range(2, 9))
async def test_turning_a_jpeg_that_was_saved_coarsely_makes_it_no_worse(orientation: int) -> None:
    """Where its blocks lie as before, all of them can be written as they were."""
    coarse = {"image": scene((64, 64)), "quality": 20, "subsampling": 0}
    photo = photograph("jpeg", orientation, **coarse)

    cleaned = await clean(photo)

    assert difference(ImageOps.exif_transpose(opened(photo)), opened(cleaned)) < 0.1
    assert len(cleaned) < 1.05 * len(await clean(photograph("jpeg", 1, **coarse)))


@pytest.mark.parametrize("format_", FORMATS)
async def test_what_stands_upright_keeps_every_pixel(format_: Format) -> None:
    photo = photograph(format_)
    assert opened(await clean(photo)).tobytes() == opened(photo).tobytes()


@pytest.mark.parametrize(("mode", "orientation"), [*itertools.product(MODES, (1, 3, 6))])
async def test_pixels_of_every_kind_stay_of_their_kind(mode: str, orientation: int) -> None:
    photo = photograph("png", orientation, of_mode(mode))

    cleaned = await clean(photo)

    says_nothing_private(cleaned)
    seen, wanted = opened(cleaned), ImageOps.exif_transpose(opened(photo))
    assert (seen.mode, seen.tobytes()) == (wanted.mode, wanted.tobytes())


@pytest.mark.parametrize("orientation", [1, 6])
async def test_a_palette_with_a_transparent_colour_stays_one(orientation: int) -> None:
    image = scene(mode="P")
    photo = photograph("png", orientation, image, transparency=3)
    cleaned = opened(await clean(photo))
    assert (cleaned.mode, cleaned.info["transparency"]) == ("P", 3)


@pytest.mark.parametrize("orientation", [1, 8])
async def test_ink_stays_ink(orientation: int) -> None:
    photo = photograph("jpeg", orientation, scene(mode="CMYK"))
    cleaned = await clean(photo)
    says_nothing_private(cleaned)
    assert opened(cleaned).mode == "CMYK"
    assert difference(ImageOps.exif_transpose(opened(photo)), opened(cleaned)) < 1


@pytest.mark.parametrize("orientation", [1, 6])
async def test_of_a_photograph_with_another_in_it_the_first_stays(orientation: int) -> None:
    out = io.BytesIO()
    scene().save(out, "MPO", save_all=True, append_images=[scene(mode="L")], exif=exif(orientation))
    cleaned = await clean(out.getvalue())
    says_nothing_private(cleaned)
    assert opened(cleaned).format == "JPEG"
    assert cleaned.count(b"\xff\xd8\xff") == 1


async def test_an_animation_of_one_frame_becomes_a_picture() -> None:
    simple = written(scene(), "webp", lossless=True)
    frame = (
        bytes(6) + struct.pack("<I", 47)[:3] + struct.pack("<I", 31)[:3] + bytes(4) + simple[12:]
    )
    size = struct.pack("<I", 47)[:3] + struct.pack("<I", 31)[:3]
    frame += b"EXIF" + struct.pack("<I", len(SECRET) + 1) + SECRET + b"!"
    parts = [(b"VP8X", b"\x02\0\0\0" + size), (b"ANIM", bytes(6)), (b"ANMF", frame)]
    body = b"WEBP" + b"".join(
        n + struct.pack("<I", len(p)) + p + bytes(len(p) % 2) for n, p in parts
    )
    film = b"RIFF" + struct.pack("<I", len(body)) + body

    cleaned = await clean(film)

    says_nothing_private(cleaned)
    assert b"ANMF" not in cleaned
    assert difference(opened(cleaned), scene()) < 2


@pytest.mark.parametrize("format_", FORMATS)
async def test_content_credentials_go_with_what_has_to_go(format_: Format) -> None:
    photo = with_manifest(photograph(format_), format_)
    assert b"jumb" in photo
    assert b"jumb" not in await clean(photo)


async def test_a_thumbnail_inside_the_head_of_a_jpeg_goes() -> None:
    data = written(scene(), "jpeg")
    head = b"JFIF\0\x01\x01\0\0\x01\0\x01\x02\x02" + b"thumbnails!!"
    photo = data[:2] + segment(0xE0, head) + data[20:]
    assert opened(photo).size == (48, 32)

    cleaned = await clean(photo)

    assert b"thumbnail" not in cleaned
    assert cleaned == data[:2] + segment(0xE0, head[:12] + b"\0\0") + data[20:]


@pytest.mark.parametrize(
    ("name", "right"),
    [
        *((b"sBIT", bytes(3)), (b"pHYs", bytes(9)), (b"cICP", b"\1\r\0\1"), (b"bKGD", bytes(6))),
        *((b"gAMA", b"\0\0\xb1\x8f"), (b"sRGB", b"\0"), (b"cHRM", bytes(32))),
        *((b"mDCV", bytes(24)), (b"cLLI", bytes(8))),
    ],
)
async def test_what_hides_in_a_part_behind_what_it_is_for_goes(name: bytes, right: bytes) -> None:
    plain = written(scene(), "png")
    head, rest = plain[:33], plain[33:]
    fair = head + chunk(name, right) + rest
    assert await clean(fair) == fair
    assert await clean(head + chunk(name, right + SECRET) + rest) == plain


async def test_nothing_hides_in_the_end_or_the_canvas_of_a_file() -> None:
    plain = written(scene(), "png")
    assert await clean(plain[:-12] + chunk(b"IEND", SECRET)) == plain
    for name in (b"IHDR", b"PLTE"):
        hidden = plain[16:29] + bytes(755) + SECRET
        with pytest.raises(NotAnImageError, match="damaged"):
            await clean(plain[:8] + chunk(name, hidden) + plain[33:])
    jpeg = written(scene(), "jpeg")
    assert SECRET not in await clean(jpeg[:2] + segment(0xDC, b"\0\0" + SECRET) + jpeg[2:])
    webp = written(scene(), "webp", icc_profile=PROFILE)
    secret = SECRET + bytes(len(SECRET) % 2)
    longer = webp[:16] + struct.pack("<I", 10 + len(secret)) + webp[20:30] + secret + webp[30:]
    with pytest.raises(NotAnImageError, match="damaged"):
        await clean(longer[:4] + struct.pack("<I", len(longer) - 8) + longer[8:])


@pytest.mark.parametrize("said", [0, 9, 255, 65_535])
async def test_an_orientation_that_is_none_turns_nothing(said: int) -> None:
    photo = photograph("png", said)
    assert opened(await clean(photo)).tobytes() == scene().tobytes()


async def test_private_data_that_nobody_can_read_goes_as_well() -> None:
    data = written(scene(), "jpeg")
    broken = data[:2] + segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff" + SECRET) + data[2:]
    assert await clean(broken) == data


async def test_more_pixels_than_are_taken_are_refused_by_the_header() -> None:
    with pytest.raises(NotAnImageError, match="more than 1000 pixels"):
        await PillowEditor(max_pixels=1000).cleaned(photograph("png", 6))


@pytest.mark.parametrize("format_", FORMATS)
async def test_what_is_damaged_is_refused_or_left_out(format_: Format) -> None:
    photo = photograph(format_, 6)
    with pytest.raises(NotAnImageError):
        await clean(photo[:80])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    format_=st.sampled_from(FORMATS),
    orientation=st.integers(1, 8),
    cut=st.integers(0, 3000),
    junk=st.binary(max_size=8),
)
async def test_whatever_is_done_to_a_photograph_it_ends_as_a_whole_image_or_a_refusal(
    format_: Format, orientation: int, cut: int, junk: bytes
) -> None:
    photo = photograph(format_, orientation)
    harmed = photo[:cut] + junk + photo[cut:]
    try:
        cleaned = await clean(harmed)
        await PillowInspector().inspect(cleaned)
    except NotAnImageError:
        return
    says_nothing_private(cleaned)
