"""What came from a provider is verified, kept untouched, or converted where that was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image, PngImagePlugin

from application import pictures
from application.pictures import Kept, Pictures
from application.ports.images import (
    ImageFacts,
    ImageNotFoundError,
    ImageStoreUnavailableError,
    NotAnImageError,
)
from application.ports.providers import Answer, CallRequest, Picture
from application.preparing import Enclosed
from domain.failure import Failure
from domain.image import (
    CONTENT_TYPES,
    ContentType,
    Cost,
    Format,
    ReferenceImage,
    StoredImage,
    reference_key,
)
from infrastructure import image_pixels
from infrastructure.image_editing import PillowEditor
from infrastructure.images import PillowInspector
from tests.fakes import FakeSpool
from tests.fakes_images import FakeImageStore, small_png
from tests.generations import reference_image
from tests.photographs import opened, photograph, scene, with_manifest, written

FORMATS: list[Format] = ["png", "jpeg", "webp"]
MADE_BY = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description Iptc4xmpExt:DigitalSourceType='
    b'"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/></rdf:RDF></x:xmpmeta>'
)


def marked(format_: Format) -> bytes:
    """With XMP that says that an algorithm made it."""
    if format_ != "png":
        return written(scene(), format_, xmp=MADE_BY)
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", MADE_BY.decode())
    return written(scene(), "png", pnginfo=texts)


class Shelf:
    """Keeps what a provider answered."""

    def __init__(self) -> None:
        self.images = FakeImageStore()
        self.pictures = Pictures(self.images, FakeSpool(), PillowInspector(), PillowEditor())

    async def keep(self, *came: bytes, **wanted: Any) -> Sequence[StoredImage] | Failure:
        numbers = tuple(range(1, len(came) + 1))
        request = CallRequest(generation=uuid4(), call=1, images=numbers, prompt="a", model="m")
        answer = Answer(
            pictures=tuple(Picture(data, "image/png") for data in came),
            cost=Cost(amount=Decimal(1), price_list="p"),
        )
        kept = await self.pictures.keep(request, answer, **wanted)
        return kept.images if isinstance(kept, Kept) else kept

    async def keep_one(self, came: bytes, **wanted: Any) -> tuple[StoredImage, bytes]:
        kept = await self.keep(came, **wanted)
        assert not isinstance(kept, Failure), kept
        (image,) = kept
        return image, self.images.objects[image.key]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.mark.parametrize("format_", FORMATS)
async def test_what_came_as_it_was_wanted_is_kept_byte_for_byte(
    shelf: Shelf, format_: Format
) -> None:
    came = with_manifest(photograph(format_, 6), format_)
    for wanted in (None, format_):
        image, kept = await shelf.keep_one(came, wanted=wanted, compression=10)
        assert kept == came
        assert (image.content_type, image.bytes) == (CONTENT_TYPES[format_], len(came))
        assert (image.converted_from, image.provenance_lost) == (None, ())


@pytest.mark.parametrize(("came", "wanted"), [(a, b) for a in FORMATS for b in FORMATS if a != b])
async def test_what_is_converted_says_from_what_and_which_marks_it_lost(
    shelf: Shelf, came: Format, wanted: Format
) -> None:
    data = with_manifest(marked(came), came)

    image, kept = await shelf.keep_one(data, wanted=wanted, watermarks=("synthid",))

    assert image.key.endswith(f"-{image.sha256}.{'jpg' if wanted == 'jpeg' else wanted}")
    assert (image.content_type, image.converted_from) == (
        CONTENT_TYPES[wanted],
        CONTENT_TYPES[came],
    )
    assert (image.provenance, image.provenance_lost) == (("iptc", "synthid"), ("c2pa",))
    assert (await PillowInspector().inspect(kept)).provenance == ("iptc",)
    assert image.bytes == len(kept)


async def test_a_mark_too_long_for_the_format_is_lost_and_the_picture_is_not(shelf: Shelf) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", MADE_BY.decode() + " " * 65_536)
    data = written(scene(), "png", pnginfo=texts)

    jpeg, _ = await shelf.keep_one(data, wanted="jpeg")
    webp, _ = await shelf.keep_one(data, wanted="webp")

    assert (jpeg.content_type, jpeg.provenance, jpeg.provenance_lost) == (
        *("image/jpeg", (), ("iptc",)),
    )
    assert (webp.content_type, webp.provenance, webp.provenance_lost) == (
        *("image/webp", ("iptc",), ()),
    )


async def test_what_cannot_be_written_in_a_format_is_refused_with_a_sentence() -> None:
    with pytest.raises(NotAnImageError, match="cannot be written as jpeg"):
        image_pixels.written(scene(), "jpeg", 90, xmp=b"x" * 65_536)


async def test_what_breaks_over_one_picture_leaves_the_others(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = scene_png(), written(scene((20, 20)), "png")
    inspect = PillowInspector.inspect

    async def breaks(self: PillowInspector, data: bytes) -> ImageFacts:
        if data == bad:
            raise RuntimeError("by surprise")
        return await inspect(self, data)

    monkeypatch.setattr(PillowInspector, "inspect", breaks)
    kept = await shelf.keep(bad, good)
    alone = await shelf.keep(bad)

    assert not isinstance(kept, Failure)
    assert [image.number for image in kept] == [2]
    assert isinstance(alone, Failure)
    assert (alone.kind, "surprise" in alone.message) == ("image_store_unavailable", False)
    assert "a picture is lost" in caplog.text


async def test_a_picture_whose_conversion_breaks_is_kept_as_it_came(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object) -> bytes:
        raise RuntimeError("by surprise")

    monkeypatch.setattr(PillowEditor, "converted", breaks)
    image, kept = await shelf.keep_one(scene_png(), wanted="jpeg")
    assert (kept, image.converted_from) == (scene_png(), None)


async def test_compression_is_for_what_is_converted(shelf: Shelf) -> None:
    data = written(Image.effect_noise((200, 200), 90), "png")
    small, _ = await shelf.keep_one(data, wanted="jpeg", compression=20)
    large, _ = await shelf.keep_one(data, wanted="jpeg", compression=None)
    assert small.bytes < large.bytes / 2


async def test_marks_that_the_model_makes_are_recorded_beside_those_found(shelf: Shelf) -> None:
    image, _ = await shelf.keep_one(with_manifest(scene_png(), "png"), watermarks=("synthid",))
    assert image.provenance == ("c2pa", "synthid")


def scene_png() -> bytes:
    return written(scene(), "png")


async def test_what_cannot_be_converted_is_kept_as_it_came(shelf: Shelf) -> None:
    wide = written(Image.new("RGB", (17_000, 16)), "png")
    image, kept = await shelf.keep_one(wide, wanted="webp")
    assert (kept, image.content_type, image.converted_from) == (wide, "image/png", None)


@pytest.mark.parametrize("size", [(15, 400), (400, 15), (1, 1)])
async def test_a_picture_that_nobody_could_have_asked_for_is_none(
    shelf: Shelf, size: tuple[int, int]
) -> None:
    tiny = written(Image.new("RGB", size), "png")
    kept = await shelf.keep(tiny)
    assert isinstance(kept, Failure)
    assert kept.kind == "no_image"
    assert not shelf.images.objects


async def test_of_several_the_usable_ones_are_kept(shelf: Shelf) -> None:
    good = scene_png()
    kept = await shelf.keep(good, good[:-20], b"<html>", marked("jpeg"), wanted="png")
    assert not isinstance(kept, Failure)
    assert [image.number for image in kept] == [1, 4]
    assert [image.converted_from for image in kept] == [None, "image/jpeg"]
    assert opened(shelf.images.objects[kept[1].key]).format == "PNG"


class SlowImageStore(FakeImageStore):
    """Answers each question soon enough; it keeps how many it was asked at once."""

    each = 0.0
    asked = most_asked = 0

    async def put(self, key: str, data: bytes, content_type: ContentType) -> None:
        await self._take_long()
        await super().put(key, data, content_type)

    async def get(self, key: str) -> bytes:
        await self._take_long()
        return await super().get(key)

    async def holds(self, key: str, *, sha256: str) -> bool:
        await self._take_long()
        return await super().holds(key, sha256=sha256)

    async def _take_long(self) -> None:
        self.asked += 1
        self.most_asked = max(self.most_asked, self.asked)
        await asyncio.sleep(self.each)
        self.asked -= 1


@pytest.fixture
def slow() -> SlowImageStore:
    return SlowImageStore()


def pictures_in(images: FakeImageStore, spool: FakeSpool | None = None) -> Pictures:
    return Pictures(images, spool or FakeSpool(), PillowInspector(), PillowEditor())


async def enclosed_references(images: FakeImageStore, count: int) -> list[ReferenceImage]:
    made = []
    for number in range(count):
        key = reference_key(uuid4(), "b" * 64, "image/png")
        await images.put(key, small_png(f"{number}"), "image/png")
        made.append(reference_image().model_copy(update={"key": key}))
    return made


async def test_what_goes_along_is_read_a_few_at_once_and_stays_in_its_order(
    slow: SlowImageStore,
) -> None:
    *references, mask = await enclosed_references(slow, 10)
    slow.most_asked = 0

    enclosed = await pictures_in(slow).enclosed(references, mask)

    assert [one.data for one in enclosed.references] == [small_png(f"{n}") for n in range(9)]
    assert enclosed.mask == Picture(small_png("9"), "image/png")
    assert slow.most_asked == 4
    assert await pictures_in(slow).enclosed([], None) == Enclosed()


async def test_all_that_goes_along_takes_as_long_as_one_may(
    slow: SlowImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    references = await enclosed_references(slow, 17)
    monkeypatch.setattr(pictures, "IMAGE_STORE_SECONDS", 0.3)
    slow.each = 0.2
    with pytest.raises(ImageStoreUnavailableError, match="did not answer within"):
        await pictures_in(slow).enclosed(references, None)


async def test_what_goes_along_and_is_gone_is_not_found(slow: SlowImageStore) -> None:
    with pytest.raises(ImageNotFoundError):
        await pictures_in(slow).enclosed([reference_image()], None)


async def test_a_picture_leaves_the_spool_in_the_time_of_one_answer_or_stays(
    slow: SlowImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, shelf = FakeSpool(), Shelf()
    kept, _ = await shelf.keep_one(scene_png())
    spooled = kept.model_copy(update={"held": "spool"})
    await spool.put(spooled.key, scene_png())
    monkeypatch.setattr(pictures, "IMAGE_STORE_SECONDS", 0.3)

    slow.each = 0.2
    assert (await pictures_in(slow, spool).look_at([spooled])).urls == {}
    assert spool.kept
    slow.each = 0.0
    assert (await pictures_in(slow, spool).look_at([spooled])).urls
    assert not spool.kept
