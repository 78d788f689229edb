"""What a model makes of a request, and what is said of it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from application.fitting import DoesNotFitError, Fit, Wanted, fit
from application.ports.providers import FreeSizes, Model, ReferenceRules
from domain.generation import Wish
from domain.image import Bridge, ImageSpec
from infrastructure.providers.openai_models import CAPABILITIES

FIXED = Model(
    name="fixed-1",
    formats=("png",),
    sizes=("1024x1024", "1536x1024", "1024x1536", "2048x2048"),
    references=ReferenceRules(most=1),
)
OPENAI_SIZES = CAPABILITIES.models[0].free_sizes
FREE = replace(
    FIXED,
    sizes=(),
    free_sizes=FreeSizes(
        step=16,
        shortest=256,
        longest=3840,
        min_pixels=655_360,
        max_pixels=3840 * 2160,
        steepest=3,
    ),
    formats=("png", "jpeg", "webp"),
    qualities=("low", "medium", "high"),
    negative_prompt=True,
    transparency=True,
    compression=True,
    moderation=True,
    fidelity=True,
)


def fitted(model: Model, *, negative_prompt: str | None = None, **spec: Any) -> Fit:
    return fit(
        Wanted(ImageSpec(**spec), Wish(prompt="a cat", negative_prompt=negative_prompt)), model
    )


def bridged(model: Model, **spec: Any) -> list[tuple[str, str, str]]:
    return [(one.what, one.asked, one.got) for one in fitted(model, **spec).bridges]


def test_what_is_not_said_is_left_to_the_provider() -> None:
    assert fitted(FIXED) == Fit(prompt="a cat")


def test_what_is_offered_is_taken_over_as_it_is() -> None:
    spec = {
        "size": "1600x1200",
        "quality": "high",
        "format": "jpeg",
        "background": "opaque",
        "compression": 80,
        "moderation": "low",
        "fidelity": "high",
    }
    assert fitted(FREE, negative_prompt="dogs", **spec) == Fit("a cat", "dogs", **spec)


@pytest.mark.parametrize(
    ("model", "asked", "size"),
    [
        (FIXED, "1024x1024", "1024x1024"),
        (FIXED, "1000x1000", "1024x1024"),
        (FIXED, "1800x1800", "2048x2048"),
        (FIXED, "1280x720", "1536x1024"),
        (FIXED, "600x900", "1024x1536"),
        (FREE, "1000x1000", "992x992"),
        (FREE, "3840x3840", "2880x2880"),
        (FREE, "320x320", "816x816"),
    ],
)
def test_a_size_that_is_not_offered_becomes_the_nearest(
    model: Model, asked: str, size: str
) -> None:
    assert fitted(model, size=asked).size == size
    expected = [] if asked == size else [("size", asked, size)]
    assert bridged(model, size=asked) == expected


@pytest.mark.parametrize(
    ("model", "asked", "size", "is_said"),
    [
        (FIXED, "1:1", "1024x1024", False),
        (FIXED, "3:2", "1536x1024", False),
        (FIXED, "16:9", "1536x1024", True),
        (FREE, "16:9", "1376x768", False),
        (FREE, "3:1", "1776x592", False),
    ],
)
def test_an_aspect_ratio_becomes_the_nearest_size_of_the_usual_number_of_pixels(
    model: Model, asked: str, size: str, *, is_said: bool
) -> None:
    assert fitted(model, aspect_ratio=asked).size == size
    assert bridged(model, aspect_ratio=asked) == (
        [("aspect_ratio", asked, size)] if is_said else []
    )


@pytest.mark.parametrize("shape", ["", "openai"])
def test_every_size_is_within_the_bounds_whatever_is_asked_for(shape: str) -> None:
    free = OPENAI_SIZES if shape else FREE.free_sizes
    assert free is not None
    model, fitting, chance = replace(FREE, free_sizes=free), 0, random.Random(7)
    for _ in range(5000):
        try:
            asked = f"{chance.randint(16, 4096)}x{chance.randint(16, 4096)}"
            size = fitted(model, size=asked).size or ""
        except DoesNotFitError:
            continue
        fitting += 1
        width, height = (int(side) for side in size.split("x"))
        assert width % free.step == height % free.step == 0, asked
        assert free.min_pixels <= width * height <= free.max_pixels, asked
        assert free.shortest <= min(width, height) <= max(width, height) <= free.longest, asked
        assert max(width, height) <= free.steepest * min(width, height), asked
    assert fitting > 1000


def test_qualities_become_the_nearest_on_the_scale_of_all() -> None:
    assert bridged(FREE, quality="max") == [("quality", "max", "high")]
    assert bridged(FIXED, quality="high") == [("quality", "high", "not offered")]


def test_a_format_that_is_not_offered_is_converted_afterwards() -> None:
    assert fitted(FIXED, format="webp").format is None
    assert bridged(FIXED, format="webp", compression=70) == [("format", "webp", "converted")]


def test_a_negative_prompt_is_said_in_the_prompt_where_there_is_none() -> None:
    got = fitted(FIXED, negative_prompt="dogs")
    assert got.prompt == "a cat\n\nLeave out of the picture: dogs"
    assert got.negative_prompt is None
    (said,) = got.bridges
    assert said == Bridge(
        what="negative_prompt", asked="a negative prompt", got="said in the prompt"
    )


def test_wishes_that_change_little_are_dropped_and_that_is_said() -> None:
    got = bridged(FIXED, compression=80, moderation="low", fidelity="high", background="opaque")
    assert got == [
        ("compression", "80", "not offered"),
        ("moderation", "low", "not offered"),
        ("fidelity", "high", "not offered"),
    ]


def test_a_moderation_that_edits_do_not_take_is_dropped_where_references_come_along() -> None:
    wanted = Wanted(ImageSpec(moderation="low"), Wish(prompt="a cat"), references=1)
    got = fit(wanted, FREE)
    assert (got.moderation, [one.what for one in got.bridges]) == (None, ["moderation"])
    got = fit(wanted, replace(FREE, moderation=False, moderation_of_edits=True))
    assert (got.moderation, got.bridges) == ("low", ())
    assert fitted(FREE, moderation="low").moderation == "low"


@pytest.mark.parametrize(
    ("model", "spec", "sentence"),
    [
        (FIXED, {"aspect_ratio": "3:1"}, "makes nothing longer than 1.5:1, choose another shape"),
        (FIXED, {"size": "4096x4096"}, "makes at most 4194304 pixels, choose a smaller size"),
        (FREE, {"size": "4096x1024"}, "makes nothing longer than 3:1, choose another shape"),
        (FIXED, {"seed": 1}, "takes no seed, leave it out"),
        (FIXED, {"background": "transparent"}, "paints no transparent background, leave it out"),
        (
            FREE,
            {"background": "transparent", "format": "jpeg"},
            "cannot make a JPEG with a transparent background, ask for png or webp",
        ),
        (FREE, {"quality": "fine"}, "has no quality 'fine', choose one of low, medium, high"),
        (FIXED, {"quality": "fine"}, "offers no choice of quality, leave it out"),
    ],
)
def test_what_would_be_another_picture_is_refused(
    model: Model, spec: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(DoesNotFitError) as refused:
        fitted(model, **spec)
    assert str(refused.value) == sentence


def test_a_prompt_that_is_too_long_is_refused_with_what_is_folded_into_it() -> None:
    model = replace(FIXED, prompt_characters=40)
    fitted(model)
    with pytest.raises(DoesNotFitError, match="takes at most 40 characters"):
        fitted(model, negative_prompt="dogs and horses")


def test_references_are_counted() -> None:
    wanted = Wanted(ImageSpec(), Wish(prompt="a cat"), references=2)
    with pytest.raises(DoesNotFitError, match="takes at most 1 reference images"):
        fit(wanted, FIXED)
    with pytest.raises(DoesNotFitError, match="takes no reference images"):
        fit(wanted, replace(FIXED, references=None))


def test_a_model_shaped_by_its_reference_takes_no_size_beside_one() -> None:
    shaped, wish = replace(FIXED, shaped_by_reference=True), Wish(prompt="a cat")
    for spec in (ImageSpec(size="1024x1024"), ImageSpec(aspect_ratio="1:1")):
        assert fit(Wanted(spec, wish), shaped).size == "1024x1024"
        with pytest.raises(DoesNotFitError, match="leave the size out"):
            fit(Wanted(spec, wish, references=1), shaped)
    assert fit(Wanted(ImageSpec(), wish, references=1), shaped).size is None
