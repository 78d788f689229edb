"""References and masks as a model takes them: by format, bytes, pixels and sides."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from PIL import Image, ImageCms, ImageOps

from application.ports.images import NotAnImageError
from application.ports.providers import Picture, ReferenceRules
from application.preparing import Enclosed, Preparing, share
from domain.image import CONTENT_TYPES, Format
from infrastructure.image_editing import MASK_MAX_BYTES, PillowEditor
from tests.photographs import (
    PROFILE,
    difference,
    opened,
    photograph,
    says_nothing_private,
    scene,
    with_manifest,
    written,
)

FORMATS: list[Format] = ["png", "jpeg", "webp"]
MEGABYTE = 1024 * 1024


def rules(**bounds: Any) -> ReferenceRules:
    return ReferenceRules(most=16, **bounds)


def picture(format_: Format, data: bytes) -> Picture:
    return Picture(data, CONTENT_TYPES[format_])


async def prepared(format_: Format, data: bytes, **bounds: Any) -> Picture:
    made = await PillowEditor().prepared(picture(format_, data), rules(**bounds))
    says_nothing_private(made.data)
    assert Image.MIME[opened(made.data).format or ""] == made.content_type
    return made


def noise(size: tuple[int, int] = (600, 400), mode: str = "RGB") -> Image.Image:
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, size, random.Random(7).randbytes(size[0] * size[1] * bands))


@pytest.mark.parametrize("format_", FORMATS)
async def test_what_a_model_takes_goes_as_it_is(format_: Format) -> None:
    data = written(scene(), format_, icc_profile=PROFILE)
    assert await prepared(format_, data) == picture(format_, data)


@pytest.mark.parametrize("format_", FORMATS)
async def test_content_credentials_are_nobodys_business(format_: Format) -> None:
    data = written(scene(), format_)
    assert (await prepared(format_, with_manifest(data, format_))).data == data


@pytest.mark.parametrize(("format_", "orientation"), [*itertools.product(FORMATS, range(1, 9))])
async def test_photographs_that_were_never_cleaned_are_upright_and_say_nothing(
    format_: Format, orientation: int
) -> None:
    photo = photograph(format_, orientation)
    made = await prepared(format_, photo)
    assert difference(ImageOps.exif_transpose(opened(photo)), opened(made.data)) < 2


@pytest.mark.parametrize(
    ("format_", "accepted"), [(own, other) for own in FORMATS for other in FORMATS if own != other]
)
async def test_another_format_is_converted(format_: Format, accepted: Format) -> None:
    made = await prepared(format_, written(scene(), format_), formats=(accepted,))
    assert made.content_type == CONTENT_TYPES[accepted]
    assert difference(scene(), opened(made.data)) < 4


async def test_transparency_is_kept_where_a_format_can_and_else_becomes_white() -> None:
    clear = Image.new("RGBA", (64, 64), (200, 0, 0, 0))
    as_webp = await prepared("png", written(clear, "png"), formats=("jpeg", "webp"))
    assert opened(as_webp.data).getpixel((5, 5))[3] == 0
    as_jpeg = await prepared("png", written(clear, "png"), formats=("jpeg",))
    assert opened(as_jpeg.data).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
async def test_unusual_pixels_become_usual(mode: str) -> None:
    bright = 255 if mode != "I;16" else 65_535
    image = Image.new(mode, (40, 30)) if mode != "I;16" else Image.new("I;16", (40, 30), bright)
    made = opened((await prepared("png", written(image, "png"))).data)
    assert made.mode in ("L", "LA", "RGB", "RGBA")
    if mode == "I;16":
        assert made.getpixel((3, 3)) == 255


async def test_ink_becomes_light_by_its_profile() -> None:
    made = opened((await prepared("jpeg", written(scene(mode="CMYK"), "jpeg"))).data)
    assert made.mode == "RGB"
    assert difference(scene(), made) < 4


async def test_colours_are_meant_as_their_profile_says_for_whoever_does_not_look_at_it() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()  # not for RGB
    odd = await prepared("png", written(scene(), "png", icc_profile=lab), formats=("webp",))
    broken = await prepared("png", written(scene(), "png", icc_profile=b"none"), formats=("webp",))
    usual = await prepared("png", written(scene(), "png", icc_profile=PROFILE), formats=("webp",))
    for made in (odd, broken, usual):
        assert "icc_profile" not in opened(made.data).info
        assert difference(scene(), opened(made.data)) < 4


@pytest.mark.parametrize(
    ("size", "bounds", "expected"),
    [
        ((400, 300), {"longest_side": 200}, (200, 150)),
        ((400, 300), {"max_pixels": 30_000}, (200, 150)),
        ((20, 10), {"shortest_side": 64}, (128, 64)),
        ((2000, 10), {"shortest_side": 64, "longest_side": 2000}, (2000, 64)),
        ((10, 2000), {"shortest_side": 64, "longest_side": 1000}, (64, 1000)),
        ((1, 1), {"shortest_side": 64}, (64, 64)),
        ((1001, 777), {"max_pixels": 100_000}, (358, 278)),
    ],
)
@pytest.mark.parametrize("format_", FORMATS)
async def test_it_gets_a_size_that_is_taken(
    format_: Format, size: tuple[int, int], bounds: dict[str, int], expected: tuple[int, int]
) -> None:
    made = await prepared(format_, written(scene(size), format_), **bounds)
    found = opened(made.data)
    assert max(abs(a - b) for a, b in zip(found.size, expected, strict=True)) <= 1
    assert min(found.size) >= bounds.get("shortest_side", 1)
    assert max(found.size) <= bounds.get("longest_side", 9999)
    assert found.width * found.height <= bounds.get("max_pixels", 10**9)


async def test_what_is_too_narrow_even_so_stands_on_white_or_on_nothing() -> None:
    bounds = {"shortest_side": 64, "longest_side": 640}
    opaque = await prepared("png", written(Image.new("RGB", (640, 8)), "png"), **bounds)
    clear = Image.new("RGBA", (640, 8), (0, 0, 0, 128))
    seen = [
        opened(opaque.data),
        opened((await prepared("png", written(clear, "png"), **bounds)).data),
    ]
    assert [image.size for image in seen] == [(640, 64)] * 2
    assert [image.getpixel((9, 3)) for image in seen] == [(255, 255, 255), (255, 255, 255, 0)]
    assert [image.getpixel((9, 32)) for image in seen] == [(0, 0, 0), (0, 0, 0, 128)]


@pytest.mark.parametrize("most", [400_000, 60_000, 6000])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
async def test_it_becomes_as_small_as_it_must(mode: str, most: int) -> None:
    data = written(noise(mode=mode), "png")
    assert len(data) > 200_000
    for accepted in (("png", "jpeg", "webp"), ("png",), ("jpeg",)):
        assert len((await prepared("png", data, max_bytes=most, formats=accepted)).data) <= most


async def test_what_can_never_be_small_enough_is_refused() -> None:
    with pytest.raises(NotAnImageError, match="as small as 50 bytes"):
        await prepared("png", written(noise(), "png"), max_bytes=50)


async def test_what_is_no_image_any_more_is_refused() -> None:
    for data in (b"", b"hello", photograph("png")[:200]):
        with pytest.raises(NotAnImageError):
            await PillowEditor().prepared(Picture(data, "image/png"), rules())


# --- masks ------------------------------------------------------------------------------------


def mask_of(size: tuple[int, int]) -> Image.Image:
    """Opaque, and transparent in its upper left quarter."""
    mask = Image.new("RGBA", size, "red")
    mask.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1] // 2))
    return mask


@pytest.mark.parametrize(
    ("size", "bounds"),
    [
        ((400, 300), {}),
        ((1001, 777), {"max_pixels": 100_000}),
        ((20, 10), {"shortest_side": 64}),
        ((2000, 10), {"shortest_side": 64, "longest_side": 2000}),
        ((3000, 31), {"shortest_side": 16, "longest_side": 1600}),
    ],
)
async def test_a_mask_covers_the_same_part_of_the_prepared_reference(
    size: tuple[int, int], bounds: dict[str, int]
) -> None:
    reference = picture("png", written(mask_of(size).convert("RGBA"), "png"))
    mask = picture("png", written(mask_of(size), "png"))

    sent = await Preparing(PillowEditor()).for_model(
        Enclosed((reference, reference), mask), rules(**bounds)
    )

    first, made = sent.references[0], sent.mask
    assert made is not None
    seen, wanted = opened(made.data), opened(first.data).convert("RGBA")
    assert (seen.mode, seen.size) == ("RGBA", wanted.size)
    middle = wanted.height // 2
    is_framed = size == (2000, 10)
    aside = 2 if is_framed else middle // 2
    assert seen.getpixel((2, middle - aside))[3] == 0
    assert seen.getpixel((2, middle + aside))[3] == 255
    assert seen.getpixel((wanted.width - 2, middle - aside))[3] == 255
    assert seen.getpixel((2, 0))[3] == (255 if is_framed else 0)
    says_nothing_private(made.data)


async def test_a_mask_has_less_than_4_mb_however_noisy_it_is() -> None:
    size = (2600, 2000)
    mask = Image.new("RGBA", size)
    mask.putalpha(noise(size, "L"))
    like = picture("jpeg", written(Image.new("RGB", size), "jpeg"))
    made = await PillowEditor().prepared_mask(picture("png", written(mask, "png")), like)
    assert len(made.data) <= MASK_MAX_BYTES


async def test_the_colours_of_a_mask_stay_here() -> None:
    like = picture("png", written(Image.new("RGB", (64, 64)), "png"))
    mask = picture("png", written(mask_of((64, 64)), "png"))
    made = await PillowEditor().prepared_mask(mask, like)
    assert opened(made.data).convert("RGB").getextrema() == ((0, 0),) * 3


# --- all together -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "together", "most"),
    [([], 9, 9), ([1, 2, 3], 9, 3), ([1, 2, 9], 9, 6), ([5, 5, 5], 9, 3), ([1, 8, 8], 9, 4)],
)
def test_small_ones_leave_their_rest_to_the_others(
    sizes: list[int], together: int, most: int
) -> None:
    assert share(sizes, together) == most


async def test_all_references_together_fit_and_small_ones_stay_as_they_are() -> None:
    small = picture("png", written(scene(), "png"))
    large = picture("jpeg", written(noise(), "jpeg", quality=95))
    sent = [large, small, *[large] * 14]
    assert sum(len(one.data) for one in sent) > MEGABYTE

    prepared = await Preparing(PillowEditor()).for_model(
        Enclosed(tuple(sent)), rules(max_bytes_together=MEGABYTE)
    )

    made = prepared.references
    assert prepared.mask is None
    assert sum(len(one.data) for one in made) <= MEGABYTE
    assert (len(made), made[1]) == (16, small)
    assert all(opened(one.data).width > 200 for one in made if one is not made[1])


# --- conversion of what comes out --------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
async def test_every_kind_of_picture_becomes_every_format(mode: str, format_: Format) -> None:
    image = scene(mode=mode) if mode != "I;16" else Image.new("I;16", (48, 32), 30_000)
    own: Format = "jpeg" if mode == "CMYK" else "png"
    made = await PillowEditor().converted(written(image, own), format_, None)
    assert (opened(made).format or "").lower() == format_
    assert opened(made).size == (48, 32)
    if mode != "I;16":
        assert difference(image.convert("RGB"), opened(made)) < (4 if mode != "P" else 16)


async def test_compression_is_a_quality() -> None:
    data = written(noise(), "png")
    for format_ in ("jpeg", "webp"):
        sizes = [
            len(await PillowEditor().converted(data, format_, quality))
            for quality in (0, 40, 80, 100, None)
        ]
        assert sizes[:4] == sorted(sizes[:4])
        assert sizes[2] < sizes[4] <= sizes[3]


async def test_a_transparent_picture_is_a_jpeg_on_white() -> None:
    data = written(Image.new("RGBA", (16, 16), (0, 0, 0, 0)), "png")
    assert opened(await PillowEditor().converted(data, "jpeg", None)).getpixel((3, 3)) == (255,) * 3


async def test_the_profile_of_a_picture_goes_along() -> None:
    data = written(scene(), "png", icc_profile=PROFILE)
    for format_ in FORMATS:
        made = opened(await PillowEditor().converted(data, format_, 80))
        assert made.info["icc_profile"] == PROFILE


async def test_a_side_that_a_format_cannot_have_is_refused() -> None:
    data = written(Image.new("RGB", (17_000, 16)), "png")
    with pytest.raises(NotAnImageError, match="16383 pixels that webp allows"):
        await PillowEditor().converted(data, "webp", None)
