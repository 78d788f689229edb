"""What goes along with a prompt reaches a provider as its model takes it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from application.ports.providers import ReferenceRules
from domain.image import ContentType, ReferenceImage, reference_key
from tests.fakes_images import offering
from tests.photographs import opened, says_nothing_private, scene, with_manifest, written
from tests.studio import Studio


class Photographer(Studio):
    """A studio whose provider takes a mask, and references by rules of its own."""

    def offer(self, **offered: Any) -> None:
        rules = ReferenceRules(most=16, formats=("jpeg",), longest_side=32, max_bytes=10_000)
        self.provider.capabilities = offering(**{"references": rules, "mask": True, **offered})

    def stored(self, data: bytes, content_type: ContentType) -> ReferenceImage:
        digest = uuid4().hex * 2
        key = reference_key(uuid4(), digest, content_type)
        self.images.objects[key] = data
        width, height = opened(data).size if data.startswith((b"\x89", b"\xff")) else (1, 1)
        return ReferenceImage(
            sha256=digest,
            key=key,
            content_type=content_type,
            width=width,
            height=height,
            bytes=len(data),
        )


@pytest.fixture
def studio() -> Photographer:
    studio = Photographer()
    studio.offer()
    return studio


async def test_references_and_mask_are_prepared_by_the_models_rules(studio: Photographer) -> None:
    png = studio.stored(with_manifest(written(scene((480, 320)), "png"), "png"), "image/png")
    jpeg = studio.stored(written(scene((30, 20)), "jpeg"), "image/jpeg")
    mask = studio.stored(written(Image.new("RGBA", (480, 320)), "png"), "image/png")
    ref = await studio.place(references=(png, jpeg), mask=mask)

    assert (await studio.perform(ref)).status == "completed"

    (asked,) = studio.provider.asked
    assert [one.content_type for one in asked.references] == ["image/jpeg"] * 2
    assert [opened(one.data).size for one in asked.references] == [(32, 21), (30, 20)]
    assert asked.references[1].data == studio.images.objects[jpeg.key]
    assert asked.mask is not None
    assert opened(asked.mask.data).size == (32, 21)
    for one in (*asked.references, asked.mask):
        says_nothing_private(one.data)
        assert b"jumb" not in one.data


async def test_a_reference_that_cannot_be_sent_fails_it_without_a_call(
    studio: Photographer,
) -> None:
    broken = studio.stored(b"no picture any more", "image/png")
    ref = await studio.place(references=(broken,))

    generation = await studio.perform(ref)

    assert generation.error is not None
    assert generation.error[0] == "invalid_request"
    assert studio.provider.asked == []
    assert await studio.trail(ref) == ["requested", "failed"]
    assert studio.units() == {0}


async def test_a_format_that_a_model_lacks_is_converted_and_its_marks_are_recorded(
    studio: Photographer,
) -> None:
    studio.offer(watermarks=("synthid",))
    ref = await studio.place(spec={"format": "webp", "compression": 50})

    (image,) = (await studio.perform(ref)).published

    assert (image.content_type, image.converted_from) == ("image/webp", "image/png")
    assert image.provenance == ("synthid",)
    assert opened(studio.images.objects[image.key]).format == "WEBP"
