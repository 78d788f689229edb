"""The built-in provider: the same wish gives the same picture, and faults come when told to."""

import asyncio
import io
import json
import math
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from PIL import Image

from application.ports.providers import Answer, CallFailedError, CallRequest, Picture
from domain.failure import Failure
from domain.image import CONTENT_TYPES, Format
from infrastructure.providers.sketch import SketchProvider
from infrastructure.providers.sketches.caption import (
    INK,
    LETTERS_TO_FIT,
    PAPER,
    captioned,
    sheet_for,
)
from infrastructure.providers.sketches.painting import Commission, paint
from infrastructure.providers.sketches.palettes import palette_for
from infrastructure.providers.sketches.scenes import COMPOSITIONS, THEMES, compose, words_of
from infrastructure.settings_values import SketchFaults

GENERATION = UUID("6f2f6a3e-8f3c-4d5e-9d52-0c8a4f1f2b11")
REQUEST = CallRequest(
    generation=GENERATION,
    call=1,
    images=(1,),
    prompt="a lighthouse by the sea",
    model="sketch-1",
    size="128x128",
    seed=7,
)
PALETTE = palette_for(frozenset({"dawn"}), random.Random(1))
WISHES = [
    Commission(prompt, "boats", "7", 1, 96, 80, "png")
    for prompt in (
        "misty mountains in the snow",
        "a lighthouse in the rain",
        "a neon city",
        "a fox at a cabin in the forest",
        "pyramids",
        "cactus",
        "a rocket",
        "a cat among flowers below a balloon",
        "a cabin by a lake",
        "a train in the mountains",
        "portrait of a fox",
        "a teapot and oranges",
        "jazz",
        "Größe, naïve 絵",
        "",
    )
]


def plain(colour: str, kind: Format = "png") -> Picture:
    out = io.BytesIO()
    Image.new("RGB", (60, 40), colour).save(out, kind)
    return Picture(out.getvalue(), CONTENT_TYPES[kind])


def opened(answer: Answer) -> Image.Image:
    return Image.open(io.BytesIO(answer.pictures[0].data))


def pixels(picture: Image.Image, wanted: Callable[[int, int, int], bool]) -> int:
    data = picture.convert("RGB").tobytes()
    return sum(wanted(*data[at : at + 3]) for at in range(0, len(data), 3))


async def painted(request: CallRequest) -> bytes:
    return (await SketchProvider().call(request)).pictures[0].data


async def failure_of(request: CallRequest, provider: SketchProvider | None = None) -> Failure:
    with pytest.raises(CallFailedError) as failed:
        await (provider or SketchProvider()).call(request)
    return failed.value.failure


def lines_of(ledger: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in ledger.read_text().splitlines()]


# --- the picture -----------------------------------------------------------------------------


async def test_the_same_wish_gives_the_same_bytes() -> None:
    assert await painted(REQUEST) == await painted(replace(REQUEST, generation=uuid4(), call=5))


def test_another_process_paints_the_same_bytes() -> None:
    script = (
        "import sys; from hashlib import sha256; from tests.unit.test_sketch import WISHES, paint\n"
        "print([sha256(paint(wish)).hexdigest() for wish in WISHES])"
    )
    there = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == str([sha256(paint(wish)).hexdigest() for wish in WISHES])


def test_painters_side_by_side_paint_the_same_bytes() -> None:
    with ThreadPoolExecutor(4) as painters:
        together = list(painters.map(paint, WISHES * 2))
    assert together == [paint(wish) for wish in WISHES] * 2


@pytest.mark.parametrize(
    "other",
    [
        replace(REQUEST, prompt="a lighthouse by the lake"),
        replace(REQUEST, negative_prompt="stars"),
        replace(REQUEST, seed=8),
        replace(REQUEST, seed=-7),
        replace(REQUEST, images=(2,)),
        replace(REQUEST, size="128x129"),
        replace(REQUEST, format="webp"),
        replace(REQUEST, references=(plain("red"),)),
    ],
)
async def test_every_part_of_the_wish_changes_the_picture(other: CallRequest) -> None:
    assert await painted(other) != await painted(REQUEST)


async def test_without_a_seed_generations_differ_and_repeats_do_not() -> None:
    unseeded = replace(REQUEST, seed=None)
    assert await painted(unseeded) == await painted(replace(unseeded, call=2))
    assert await painted(unseeded) != await painted(replace(unseeded, generation=uuid4()))


@pytest.mark.parametrize("size", ["16x16", "63x200", "64x64", "128x512", "500x33"])
async def test_a_sketch_has_exactly_the_size_asked_for(size: str) -> None:
    answer = await SketchProvider().call(replace(REQUEST, size=size))
    assert "{}x{}".format(*opened(answer).size) == size


async def test_a_sketch_has_a_megapixel_where_no_size_is_asked_for() -> None:
    answer = await SketchProvider().call(replace(REQUEST, size=None))
    assert opened(answer).size == (1024, 1024)


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("quality", [None, "low", "medium", "high"])
async def test_a_sketch_comes_in_the_format_asked_for(kind: Format, quality: str | None) -> None:
    answer = await SketchProvider().call(replace(REQUEST, format=kind, quality=quality))
    assert opened(answer).format == kind.upper()
    assert answer.pictures[0].content_type == CONTENT_TYPES[kind]


async def test_a_sketch_says_so_in_ink_on_its_paper() -> None:
    caption = opened(await SketchProvider().call(REQUEST)).crop((5, 100, 123, 123))
    assert pixels(caption, lambda r, g, b: (r, g, b) == PAPER) > 1000
    assert pixels(caption, lambda r, g, b: r + g + b < sum(PAPER) - 150) > 100
    assert pixels(caption, lambda r, g, b: r + g + b < sum(INK) + 150) > 20


@pytest.mark.parametrize("width", [64, 128, 400, 1024])
@pytest.mark.parametrize("prompt", ["", "a fox", "W" * 400, "a word and " * 40, "قارب 小船 🚤"])
def test_no_caption_leaves_its_paper(prompt: str, width: int) -> None:
    sheet = sheet_for(width, 128)
    whole = captioned(Image.new("RGB", sheet.scene, PAPER), sheet, prompt, PALETTE)
    right = whole.crop((width - sheet.margin, 0, width, 128))
    assert right.getcolors() == [(sheet.margin * 128, PAPER)]


def test_a_caption_says_where_the_sketch_was_painted_when_there_is_room() -> None:
    ends = []
    for width in (128, 512):
        sheet = sheet_for(width, 128)
        whole = captioned(Image.new("RGB", sheet.scene, PAPER), sheet, "", PALETTE)
        ends.append(pixels(whole.crop((width // 2, 0, width, 128)), lambda *rgb: sum(rgb) < 500))
    assert ends[0] < 100 < ends[1]


def test_only_the_beginning_of_a_prompt_is_fitted_to_the_caption() -> None:
    sheet = sheet_for(4096, 256)
    picture = Image.new("RGB", sheet.scene, PAPER)
    captions = [
        captioned(picture, sheet, "m" * letters, PALETTE).tobytes()
        for letters in (LETTERS_TO_FIT, 32_000)
    ]
    assert captions[0] == captions[1]


@pytest.mark.parametrize("theme", COMPOSITIONS)
@pytest.mark.parametrize("size", [(16, 16), (64, 1024), (1024, 64)])
def test_every_composition_fits_every_shape(theme: str, size: tuple[int, int]) -> None:
    prompt = " ".join(THEMES[theme])
    data = paint(Commission(prompt, "", "1", 1, *size))
    assert Image.open(io.BytesIO(data)).size == size


@pytest.mark.parametrize(
    ("without", "with_it"),
    [
        ("the sea", "a whale in the sea"),
        ("the sea", "a lighthouse by the sea"),
        ("a forest", "an owl in the forest"),
        ("a forest", "foxes in the forest"),
        ("a lake", "a cabin by a lake"),
        ("a city", "a bridge in the city"),
        ("mountains", "a castle in the mountains"),
        ("a meadow", "a windmill in the meadow"),
        ("a meadow", "a meadow behind the window"),
        ("a portrait", "portrait of a bear"),
        ("a portrait", "portrait with a hat"),
        ("a still life", "a still life with a teapot"),
        ("mountains", "rain in the mountains"),
    ],
)
def test_what_a_prompt_names_is_in_the_scene(without: str, with_it: str) -> None:
    plain_scene, scene = (
        compose(words_of(prompt, ""), random.Random(1), 1.5, PALETTE)
        for prompt in (without, with_it)
    )
    assert scene.layers != plain_scene.layers


def test_what_the_negative_prompt_names_is_not_in_the_scene() -> None:
    scenes = [
        compose(words_of(prompt, unwanted), random.Random(1), 1.5, PALETTE)
        for prompt, unwanted in (("the sea", ""), ("the sea and a whale", "whales"))
    ]
    assert scenes[0].layers == scenes[1].layers


async def test_each_of_several_colours_has_its_place() -> None:
    request = replace(REQUEST, prompt="red poppies under a blue sky", size="256x256")
    picture = opened(await SketchProvider().call(request))
    sky, flowers = picture.crop((10, 10, 246, 60)), picture.crop((10, 160, 246, 225))
    assert pixels(sky, lambda r, g, b: b > r + 30) > 236 * 50 * 0.7
    assert pixels(flowers, lambda r, g, b: r > g + 60 and r > b + 60) > 236 * 65 * 0.05


async def test_references_show_in_the_picture() -> None:
    pair = (plain("#ff0000"), plain("#00a000", "jpeg"))
    request = replace(REQUEST, size="256x256", references=pair)
    corner = opened(await SketchProvider().call(request)).crop((128, 0, 256, 100))
    assert pixels(corner, lambda r, g, b: r > 220 and g < 40 and b < 40) > 500
    assert pixels(corner, lambda r, g, b: g > 130 and r < 60 and b < 60) > 200


async def test_the_colours_of_a_sketch_are_those_of_its_references() -> None:
    for reference, (strong, weak) in {plain("#e02020"): (0, 2), plain("#2040e0"): (2, 0)}.items():
        request = replace(REQUEST, references=(reference,))
        sky = opened(await SketchProvider().call(request)).crop((6, 6, 60, 50))
        assert pixels(sky, lambda *rgb, s=strong, w=weak: rgb[s] > rgb[w] + 20) > 54 * 44 * 0.8


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
async def test_references_may_have_pixels_of_every_kind(mode: str) -> None:
    out = io.BytesIO()
    Image.new(mode, (30, 20)).save(out, "png")
    assert await painted(replace(REQUEST, references=(Picture(out.getvalue(), "image/png"),)))


# --- the call --------------------------------------------------------------------------------


async def test_a_call_for_several_images_makes_each_as_if_alone_and_costs_each() -> None:
    answer = await SketchProvider(images_per_call=4).call(replace(REQUEST, images=(1, 3)))
    alone = [await painted(replace(REQUEST, images=(n,))) for n in (1, 3)]
    assert [picture.data for picture in answer.pictures] == alone
    assert str(answer.cost.amount) == "0.0020"
    assert answer.usage == {"images": 2}


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": "128"},
        {"size": "128X128"},
        {"size": "15x128"},
        {"size": "128x4097"},
        {"size": "0128x128"},
        {"size": "128x128\n"},
        {"size": "１２８x128"},
        {"quality": "hd"},
        {"format": "gif"},
        {"images": (1, 2)},
        {"references": (plain("red"),) * 17},
        {"references": (Picture(b"no image", "image/png"),)},
    ],
    ids=str,
)
async def test_what_is_not_offered_is_refused_with_a_sentence(wrong: dict[str, object]) -> None:
    failure = await failure_of(replace(REQUEST, **wrong))
    assert failure.kind == "invalid_request"
    assert failure.message.endswith(".")


async def test_a_model_it_does_not_have_is_a_mistake_of_the_configuration() -> None:
    assert (await failure_of(replace(REQUEST, model="sketch-2"))).kind == "misconfigured"


async def test_a_call_takes_at_least_as_long_as_it_is_told() -> None:
    clock = asyncio.get_running_loop().time
    started = clock()
    await SketchProvider(seconds=0.1).call(REQUEST)
    assert clock() - started >= 0.1


# --- faults ----------------------------------------------------------------------------------


async def test_refusals_are_of_both_kinds() -> None:
    provider = SketchProvider(faults=SketchFaults(refuse=1), chance=random.Random(1))
    kinds = {(await failure_of(REQUEST, provider)).kind for _ in range(30)}
    assert kinds == {"moderation_input", "moderation_output"}


async def test_failures_come_with_and_without_a_time_to_wait() -> None:
    provider = SketchProvider(faults=SketchFaults(fail=1), chance=random.Random(1))
    failures = [await failure_of(REQUEST, provider) for _ in range(30)]
    assert {(failure.kind, failure.retry_after) for failure in failures} == {
        ("unavailable", None),
        ("unavailable", timedelta(seconds=1)),
        ("rate_limited", timedelta(seconds=1)),
    }


async def test_faults_are_as_frequent_as_told_and_do_not_follow_the_seed() -> None:
    provider = SketchProvider(faults=SketchFaults(refuse=0.3, fail=0.2), chance=random.Random(1))
    ends: Counter[str] = Counter()
    for _ in range(200):
        try:
            await provider.call(replace(REQUEST, size="16x16"))
            ends["answered"] += 1
        except CallFailedError as error:
            ends[error.failure.kind.split("_")[0]] += 1
    assert 80 < ends["answered"] < 120
    assert 40 < ends["moderation"] < 80


@pytest.mark.parametrize("chances", [(-0.1, 0, 0), (0.5, 0.4, 0.2), (math.nan, 0, 0)])
def test_impossible_faults_are_refused(chances: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="at most 1 together"):
        SketchFaults(*chances)


# --- the ledger ------------------------------------------------------------------------------


async def test_the_ledger_has_a_line_before_and_after_each_call(tmp_path: Path) -> None:
    provider = SketchProvider(ledger=tmp_path / "ledger.jsonl")
    await provider.call(REQUEST)
    called, answered = lines_of(tmp_path / "ledger.jsonl")
    assert (called["event"], called["generation"], called["call"]) == ("called", str(GENERATION), 1)
    assert (answered["event"], answered["images"]) == ("answered", [1])
    assert Decimal(str(answered["cost"])) == Decimal("0.001")


async def test_the_ledger_knows_calls_that_never_answered(tmp_path: Path) -> None:
    provider = SketchProvider(faults=SketchFaults(hang=1), ledger=tmp_path / "ledger.jsonl")
    call = asyncio.create_task(provider.call(REQUEST))
    await asyncio.wait([call], timeout=0.05)
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    assert [line["event"] for line in lines_of(tmp_path / "ledger.jsonl")] == ["called"]


async def test_the_ledger_names_the_kind_of_a_failure_and_no_cost(tmp_path: Path) -> None:
    await failure_of(replace(REQUEST, size="1x1"), SketchProvider(ledger=tmp_path / "ledger.jsonl"))
    _, failed = lines_of(tmp_path / "ledger.jsonl")
    assert (failed["event"], failed["kind"]) == ("failed", "invalid_request")
    assert "cost" not in failed


async def test_without_its_ledger_no_call_is_made(tmp_path: Path) -> None:
    provider = SketchProvider(ledger=tmp_path / "missing" / "ledger.jsonl")
    failure = await failure_of(REQUEST, provider)
    assert (failure.kind, "ledger" in failure.message) == ("unavailable", True)
