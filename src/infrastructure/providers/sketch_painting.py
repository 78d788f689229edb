"""Paints a commissioned sketch with Pillow: the scene, its paper, its caption, its references."""

from __future__ import annotations

import hashlib
import io
import math
import random
import unicodedata
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import cast

from PIL import Image, ImageChops, ImageDraw, ImageFont, ImageOps

from domain.image import Format
from infrastructure.images import DECODING_ERRORS
from infrastructure.providers.sketch_compositions import Layer, Scene
from infrastructure.providers.sketch_palettes import Colour, Palette, mixed, palette_for
from infrastructure.providers.sketch_scenes import compose, words_of

PAPER: Colour = (247, 243, 234)
INK: Colour = (52, 48, 46)
SHORTEST_SIDE_WITH_CAPTION = 64
PAINTED_PIXELS = 1_300_000  # larger pictures are painted at this size and enlarged
# Pillow's radial gradient is 0 in the middle, 181 at the edges and 255 in the corners.
GLOW = tuple(round(max(0.0, 1 - value / 181) ** 2.2 * 215) for value in range(256))
VIGNETTE = tuple(round(max(0, value - 90) * 0.16) for value in range(256))
TEXTURE = tuple(round(128 + (value - 128) * 0.13) for value in range(256))
SPELLED_OUT = str.maketrans(
    {"ß": "ss", "æ": "ae", "ø": "o", "ł": "l", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-"}
)
QUALITIES = {"low": 60, "medium": 80, "high": 92}


class UnreadableReferenceError(Exception):
    """A reference image cannot be decoded."""


@dataclass(frozen=True)
class Commission:
    """What is to be painted: all that the picture depends on, its size in pixels."""

    prompt: str
    negative_prompt: str
    seed: str
    number: int
    width: int
    height: int
    format: Format = "png"
    quality: str = "high"
    references: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Sheet:
    """How a picture is laid out, in pixels: a scene, the paper's margin, a line for the caption."""

    width: int
    height: int
    margin: int
    caption: int

    @property
    def scene(self) -> tuple[int, int]:
        """Width and height of the scene."""
        return self.width - 2 * self.margin, self.height - 2 * self.margin - self.caption


def paint(commission: Commission) -> bytes:
    """The encoded picture; the same commission gives the same bytes.

    Raises UnreadableReferenceError.
    """
    chance = random.Random(_digest(commission))  # noqa: S311  # a picture, not a secret
    references = [_opened(data) for data in commission.references]
    words = words_of(commission.prompt, commission.negative_prompt)
    palette = _palette_of(references) if references else palette_for(words, chance)
    sheet = _sheet(commission.width, commission.height)
    across, down = sheet.scene
    scene = compose(words, chance, across / down, palette, pinned=bool(references))
    picture = _textured(_painted(scene, across, down), chance)
    if references:
        _pin(picture, references, chance)
    if sheet.caption:
        picture = _captioned(picture, sheet, commission.prompt, palette)
    return _encoded(picture, commission)


def _digest(commission: Commission) -> int:
    references = [hashlib.sha256(data).hexdigest() for data in commission.references]
    fields = [*map(str, astuple(commission)[:-3]), *references]
    return int.from_bytes(hashlib.sha256("\x1f".join(fields).encode()).digest(), "big")


def _sheet(width: int, height: int) -> Sheet:
    short = min(width, height)
    if short < SHORTEST_SIDE_WITH_CAPTION:
        return Sheet(width, height, margin=0, caption=0)
    return Sheet(width, height, max(3, round(short * 0.035)), max(20, round(short * 0.085)))


# --- the scene -------------------------------------------------------------------------------


def _painted(scene: Scene, width: int, height: int) -> Image.Image:
    scale = min(1.0, math.sqrt(PAINTED_PIXELS / (width * height)))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    palette = scene.palette
    sky = (palette.zenith, palette.sky, palette.horizon, palette.horizon)
    picture = _gradient(sky, size)
    _shine(picture, scene)
    for layer in scene.layers:
        _lay(picture, layer)
    return picture if size == (width, height) else picture.resize((width, height))


def _gradient(colours: Sequence[Colour], size: tuple[int, int]) -> Image.Image:
    column = Image.new("RGB", (1, len(colours)))
    column.putdata(list(colours))
    middles = (0, 0.5, 1, len(colours) - 0.5)
    return column.resize((1, size[1]), Image.Resampling.BILINEAR, middles).resize(size)


def _shine(picture: Image.Image, scene: Scene) -> None:
    """A glow around the light."""
    light, height = scene.light, picture.height
    reach = max(2, round(light.radius * height * 6))
    at = round(light.x * height) - reach, round(light.y * height) - reach
    picture.paste(scene.palette.light, at, _radial(GLOW).resize((2 * reach, 2 * reach)))


def _lay(picture: Image.Image, layer: Layer) -> None:
    """Fill outlines with a gradient; edges are smooth from being drawn twice as large."""
    if not layer.outlines:
        return
    heights = [y for outline in layer.outlines for _, y in outline]
    top = max(0, math.floor(min(heights) * picture.height))
    bottom = min(picture.height, math.ceil(max(heights) * picture.height) + 1)
    if top >= bottom:
        return
    mask = Image.new("L", (picture.width * 2, (bottom - top) * 2))
    draw, scale = ImageDraw.Draw(mask), picture.height * 2
    opacity = round(layer.opacity * 255)
    for outline in layer.outlines:
        draw.polygon([(x * scale, y * scale - top * 2) for x, y in outline], opacity)
    colours = _gradient((layer.top, layer.bottom), (picture.width, bottom - top))
    picture.paste(colours, (0, top), mask.reduce(2))


def _textured(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Paper grain, washes of colour, and edges a little darker."""
    size = picture.size
    wash = _noise(chance, 12).resize(size, Image.Resampling.BICUBIC)
    tone = Image.blend(wash, _tiled(_noise(chance, 256 if min(size) > 256 else 64), size), 0.45)
    tone = ImageChops.subtract(tone.point(TEXTURE), _radial(VIGNETTE).resize(size))
    return ImageChops.overlay(picture, Image.merge("RGB", (tone, tone, tone)))


def _noise(chance: random.Random, side: int) -> Image.Image:
    return Image.frombytes("L", (side, side), chance.randbytes(side * side))


@lru_cache
def _radial(curve: tuple[int, ...]) -> Image.Image:
    return Image.radial_gradient("L").point(curve)


def _tiled(tile: Image.Image, size: tuple[int, int]) -> Image.Image:
    whole = Image.new("L", size)
    for x in range(0, size[0], tile.width):
        for y in range(0, size[1], tile.height):
            whole.paste(tile, (x, y))
    return whole


# --- references ------------------------------------------------------------------------------


def _opened(data: bytes) -> Image.Image:
    """A small upright copy of a reference, on paper where it is transparent."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            image.draft("RGB", (512, 512))
            image.thumbnail((512, 512))
            upright = ImageOps.exif_transpose(image).convert("RGBA")
    except DECODING_ERRORS as error:
        raise UnreadableReferenceError("A reference image cannot be decoded.") from error
    copy = Image.new("RGB", upright.size, PAPER)
    copy.paste(upright, mask=upright)
    return copy


def _palette_of(references: Sequence[Image.Image]) -> Palette:
    """The colours of the references, bright ones in the sky and dark ones near."""
    together = Image.new("RGB", (32 * len(references), 32))
    for k, reference in enumerate(references):
        together.paste(reference.resize((32, 32)), (32 * k, 0))
    found = together.quantize(6, Image.Quantize.MEDIANCUT).convert("RGB").getcolors() or []
    colours = [(c[0], c[1], c[2]) for _, c in sorted(found) if isinstance(c, tuple)]
    dark, *_, bright = ordered = sorted(colours * 2, key=lambda c: (sum(c), c))
    middle = ordered[len(ordered) // 2]
    vivid = max(ordered, key=lambda c: (max(c) - min(c), c))
    return Palette(
        zenith=mixed(vivid, dark, 0.3),
        sky=mixed(vivid, bright, 0.55),
        horizon=mixed(bright, PAPER, 0.3),
        light=mixed(bright, (255, 255, 250), 0.8),
        far=mixed(mixed(vivid, middle, 0.3), bright, 0.35),
        near=mixed(dark, (12, 14, 22), 0.6),
        accent=vivid,
    )


def _pin(picture: Image.Image, references: Sequence[Image.Image], chance: random.Random) -> None:
    """Prints of the references, tilted, from the upper right corner on, the closer the more."""
    side = max(6, round(min(picture.size) * 0.25))
    step = min(side * 0.62, (picture.width - side * 1.4) / max(len(references) - 1, 1))
    for k, reference in reversed(list(enumerate(references))):
        printed = _print_of(reference, side).rotate(
            chance.uniform(4, 11) * (-1 if k % 2 else 1), Image.Resampling.BICUBIC, expand=True
        )
        at = picture.width - printed.width - side // 8 - round(k * step), side // 8
        shadow = printed.getchannel("A").point([v * 2 // 5 for v in range(256)])
        picture.paste((10, 12, 20), (at[0] + side // 24, at[1] + side // 18), shadow)
        picture.paste(printed, at, printed)


def _print_of(reference: Image.Image, side: int) -> Image.Image:
    rim = max(1, side // 14)
    framed = Image.new("RGBA", (side, side + rim * 2), (*PAPER, 255))
    framed.paste(ImageOps.fit(reference, (side - 2 * rim, side - 2 * rim)), (rim, rim))
    return ImageOps.expand(framed, 1, (*PAPER, 0))


# --- the paper -------------------------------------------------------------------------------


def _captioned(picture: Image.Image, sheet: Sheet, prompt: str, palette: Palette) -> Image.Image:
    whole = Image.new("RGB", (sheet.width, sheet.height), PAPER)
    whole.paste(picture, (sheet.margin, sheet.margin))
    draw = ImageDraw.Draw(whole)
    room = sheet.width - 2 * sheet.margin
    top = sheet.height - sheet.margin - sheet.caption
    word = _font(_fitting("SKETCH", max(10, round(sheet.caption * 0.42)), room))
    small = _font(max(9, round(sheet.caption * 0.3)))
    accent = mixed(palette.accent, INK, 0.35)
    middle = top + (sheet.caption + sheet.margin * 0.4) / 2
    bold = word.size // 28
    draw.text((sheet.margin, middle), "SKETCH", accent, word, anchor="lm", stroke_width=bold)
    begin = sheet.margin + word.getlength("SKETCH") + small.size * 0.9
    line = _shortened(prompt, small, sheet.width - sheet.margin - begin)
    draw.text((begin, middle), line, INK, small, anchor="lm")
    return whole


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return cast("ImageFont.FreeTypeFont", ImageFont.load_default(size))


def _fitting(text: str, size: int, room: float) -> int:
    while size > 4 and _font(size).getlength(text) > room:
        size -= 1
    return size


def _shortened(prompt: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    text = _drawable(prompt[:300])
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text.rstrip() + "…" if text else ""


def _drawable(prompt: str) -> str:
    """What the bundled font has letters for: ASCII, to which accented letters are reduced."""
    plain = unicodedata.normalize("NFKD", prompt.translate(SPELLED_OUT)).encode("ascii", "ignore")
    return " ".join(plain.decode("ascii").split())


def _encoded(picture: Image.Image, commission: Commission) -> bytes:
    out = io.BytesIO()
    quality = QUALITIES[commission.quality]
    if commission.format == "png":
        picture.save(out, "PNG", compress_level=1)
    elif commission.format == "jpeg":
        picture.save(out, "JPEG", quality=quality)
    else:
        picture.save(out, "WEBP", quality=quality, method=1)
    return out.getvalue()
