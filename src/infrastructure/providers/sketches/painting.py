"""Paints a commissioned sketch with Pillow: the scene in layers, its texture, its paper."""

from __future__ import annotations

import hashlib
import io
import math
import random
import zlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache

from PIL import Image, ImageChops, ImageDraw, ImagePath

from domain.image import Format
from infrastructure.providers.sketches.caption import captioned, sheet_for
from infrastructure.providers.sketches.layers import Layer, Mirror, Scene
from infrastructure.providers.sketches.palettes import Colour, palette_for
from infrastructure.providers.sketches.references import opened, palette_of, pin
from infrastructure.providers.sketches.scenes import compose, words_of

PAINTED_PIXELS = 1_300_000  # larger pictures are painted at this size and enlarged
# Pillow's radial gradient is 0 in the middle, 181 at the edges and 255 in the corners.
GLOW = tuple(round(max(0.0, 1 - value / 181) ** 2.2 * 215) for value in range(256))
ROUND = tuple(round(max(0.0, 1 - value / 225) ** 1.1 * 255) for value in range(256))
VIGNETTE = tuple(round(max(0, value - 90) * 0.16) for value in range(256))
TEXTURE = tuple(round(128 + (value - 128) * 0.13) for value in range(256))
LIT = {"lit_left": (58, 77, 256, 256), "lit_right": (0, 77, 198, 256)}  # of the gradient
QUALITIES = {"low": 60, "medium": 80, "high": 92}

Size = tuple[int, int]


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


def paint(commission: Commission) -> bytes:
    """The encoded picture; the same commission gives the same bytes.

    Raises UnreadableReferenceError.
    """
    chance = random.Random(_digest(commission))  # noqa: S311  # a picture, not a secret
    references = [opened(data) for data in commission.references]
    words = words_of(commission.prompt, commission.negative_prompt)
    palette = palette_of(references) if references else palette_for(words, chance)
    sheet = sheet_for(commission.width, commission.height)
    across, down = sheet.scene
    scene = compose(words, chance, across / down, palette, pinned=bool(references))
    picture = _textured(_painted(scene, across, down), chance)
    if references:
        pin(picture, references, chance)
    if sheet.caption:
        picture = captioned(picture, sheet, commission.prompt, palette)
    return _encoded(picture, commission)


def _digest(commission: Commission) -> int:
    references = [hashlib.sha256(data).hexdigest() for data in commission.references]
    fields = [*map(str, astuple(commission)[:-3]), *references]
    return int.from_bytes(hashlib.sha256("\x1f".join(fields).encode()).digest(), "big")


# --- layers ----------------------------------------------------------------------------------


def _painted(scene: Scene, width: int, height: int) -> Image.Image:
    scale = min(1.0, math.sqrt(PAINTED_PIXELS / (width * height)))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    palette = scene.palette
    picture = _gradient((palette.zenith, palette.sky, palette.horizon, palette.horizon), size)
    _shine(picture, scene)
    for layer in scene.layers:
        if isinstance(layer, Mirror):
            _mirror(picture, layer)
        else:
            _lay(picture, layer)
    return picture if size == (width, height) else picture.resize((width, height))


def _shine(picture: Image.Image, scene: Scene) -> None:
    """A glow around the light."""
    light, height = scene.light, picture.height
    reach = max(2, round(light.radius * height * 6))
    at = round(light.x * height) - reach, round(light.y * height) - reach
    picture.paste(
        scene.palette.light,
        at,
        _radial(GLOW).resize((2 * reach, 2 * reach), Image.Resampling.BILINEAR),
    )


def _lay(picture: Image.Image, layer: Layer) -> None:
    """Fill outlines; their edges are smooth from being drawn twice as large."""
    paths = [ImagePath.Path(outline) for outline in layer.outlines]
    left, top, right, bottom = box = _bounds(paths, picture)
    if left >= right or top >= bottom:
        return
    size = right - left, bottom - top
    mask = Image.new("L", (size[0] * 2, size[1] * 2))
    draw, scale = ImageDraw.Draw(mask), picture.height * 2
    ink = 255 if layer.foot is not None else round(layer.opacity * 255)
    for path in paths:
        path.transform((scale, 0, -left * 2, 0, scale, -top * 2))
        draw.polygon(path, ink)
    mask = mask.reduce(2)
    if layer.foot is not None:
        mask = ImageChops.multiply(mask, _fading(layer.opacity, layer.foot, size))
    colours = layer.first if layer.first == layer.last else _shaded(layer, size)
    picture.paste(colours, box, mask)


def _bounds(paths: Sequence[ImagePath.Path], picture: Image.Image) -> tuple[int, int, int, int]:
    """The part of the picture that paths touch, in pixels."""
    if not paths:
        return 0, 0, 0, 0
    lefts, tops, rights, bottoms = zip(*(path.getbbox() for path in paths), strict=True)
    return (
        max(0, math.floor(min(lefts) * picture.height)),
        max(0, math.floor(min(tops) * picture.height)),
        min(picture.width, math.ceil(max(rights) * picture.height) + 1),
        min(picture.height, math.ceil(max(bottoms) * picture.height) + 1),
    )


def _shaded(layer: Layer, size: Size) -> Image.Image:
    if layer.shade == "down":
        return _gradient((layer.first, layer.last), size)
    if layer.shade == "across":
        turned = _gradient((layer.first, layer.last), (1, size[0]))
        return turned.transpose(Image.Transpose.TRANSPOSE).resize(size, Image.Resampling.NEAREST)
    colours = Image.new("RGB", size, layer.last)
    light = _radial(ROUND).resize(size, Image.Resampling.BILINEAR, LIT[layer.shade])
    colours.paste(layer.first, mask=light)
    return colours


def _gradient(colours: Sequence[Colour], size: Size) -> Image.Image:
    """Colours from top to bottom."""
    column = Image.new("RGB", (1, len(colours)))
    column.putdata(list(colours))
    return _stretched(column, size)


def _fading(top: float, bottom: float, size: Size) -> Image.Image:
    column = Image.new("L", (1, 2))
    column.putdata([round(top * 255), round(bottom * 255)])
    return _stretched(column, size)


def _stretched(column: Image.Image, size: Size) -> Image.Image:
    """A column of single pixels, blended from the middle of the first to that of the last."""
    middles = (0, 0.5, 1, column.height - 0.5)
    tall = column.resize((1, size[1]), Image.Resampling.BILINEAR, middles)
    return tall.resize(size, Image.Resampling.NEAREST)


def _mirror(picture: Image.Image, water: Mirror) -> None:
    """Water: what is above it upside down and a little stretched, paler the nearer it is."""
    level = round(water.level * picture.height)
    size = picture.width, picture.height - level
    seen = picture.crop((0, max(0, level - round(size[1] * 0.85)), picture.width, level))
    upside_down = seen.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    mirrored = upside_down.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.0)
    depth = _gradient((water.far, water.near), size)
    picture.paste(Image.composite(depth, mirrored, _fading(0.3, 0.75, size)), (0, level))


# --- paper -----------------------------------------------------------------------------------


def _textured(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Paper grain, washes of colour, and edges a little darker."""
    size = picture.size
    wash = _noise(chance, 12).resize(size, Image.Resampling.BICUBIC)
    tone = Image.blend(wash, _tiled(_noise(chance, 256 if min(size) > 256 else 64), size), 0.45)
    tone = ImageChops.subtract(
        tone.point(TEXTURE), _radial(VIGNETTE).resize(size, Image.Resampling.BILINEAR)
    )
    return ImageChops.overlay(picture, Image.merge("RGB", (tone, tone, tone)))


def _noise(chance: random.Random, side: int) -> Image.Image:
    return Image.frombytes("L", (side, side), chance.randbytes(side * side))


@lru_cache
def _radial(curve: tuple[int, ...]) -> Image.Image:
    return Image.radial_gradient("L").point(curve)


def _tiled(tile: Image.Image, size: Size) -> Image.Image:
    whole = Image.new("L", size)
    for x in range(0, size[0], tile.width):
        for y in range(0, size[1], tile.height):
            whole.paste(tile, (x, y))
    return whole


def _encoded(picture: Image.Image, commission: Commission) -> bytes:
    out = io.BytesIO()
    quality = QUALITIES[commission.quality]
    if commission.format == "png":  # grain hardly compresses: runs are all there is to gain
        picture.save(out, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    elif commission.format == "jpeg":
        picture.save(out, "JPEG", quality=quality)
    else:
        picture.save(out, "WEBP", quality=quality, method=1)
    return out.getvalue()
