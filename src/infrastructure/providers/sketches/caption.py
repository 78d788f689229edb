"""The line below a sketch: that it is one, what was asked for, and which colours it has."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import cast

from PIL import Image, ImageDraw, ImageFont

from infrastructure.providers.sketches.palettes import Colour, Palette, mixed

PAPER: Colour = (247, 243, 234)
INK: Colour = (52, 48, 46)
SHORTEST_SIDE_WITH_CAPTION = 64
TITLE, NOTE, ELLIPSIS = "SKETCH", "painted on this machine", "…"
LETTERS_TO_FIT = 300
FEWEST_LETTERS = 4  # of a prompt that does not fit; fewer say nothing
NARROWEST_PROMPT = 9  # in sizes of its letters: with less room the note and the dabs give way
SPELLED_OUT = str.maketrans(
    {"ß": "ss", "æ": "ae", "ø": "o", "ł": "l", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-"}
)


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


def sheet_for(width: int, height: int) -> Sheet:
    """The layout of a picture; the smallest have neither margin nor caption."""
    short = min(width, height)
    if short < SHORTEST_SIDE_WITH_CAPTION:
        return Sheet(width, height, margin=0, caption=0)
    return Sheet(width, height, max(3, round(short * 0.035)), max(14, round(short * 0.07)))


def captioned(picture: Image.Image, sheet: Sheet, prompt: str, palette: Palette) -> Image.Image:
    """The picture on its paper, with the line below it."""
    whole = Image.new("RGB", (sheet.width, sheet.height), PAPER)
    whole.paste(picture, (sheet.margin, sheet.margin))
    draw = ImageDraw.Draw(whole)
    size = max(9, round(sheet.caption * 0.32))
    middle = sheet.height - (sheet.margin + sheet.caption) / 2
    title = _fitting(TITLE, size, sheet.width - 2 * sheet.margin)
    accent = mixed(palette.accent, INK, 0.35)
    draw.text((sheet.margin, middle), TITLE, accent, _font(title), anchor="lm")
    left = sheet.margin + _length(TITLE, title) + size * 0.8
    room = sheet.width - sheet.margin - left
    room -= _signed(whole, room - size * NARROWEST_PROMPT, middle, size, palette)
    draw.text((left, middle), _shortened(prompt, size, room), INK, _font(size), anchor="lm")
    return whole


def _signed(whole: Image.Image, room: float, middle: float, size: int, palette: Palette) -> float:
    """The right end of the line: where it was painted, dabs of its colours; how long that is.

    What does not fit into the room is left out.
    """
    colours = (palette.accent, palette.zenith, palette.horizon, palette.far, palette.near)
    side = round(size * 0.75)
    step = side + max(1, side // 4)
    note, dabs = _length(NOTE, size) + size, len(colours) * step
    if room < note:
        return 0
    right = whole.width - sheet_for(*whole.size).margin
    if room < note + dabs:
        dabs = 0
    else:
        for k, tone in enumerate(reversed(colours)):
            whole.paste(tone, (right - side - k * step, round(middle - side / 2)), _dab(side))
    end = (right - dabs - (size * 0.4 if dabs else 0), middle)
    draw = ImageDraw.Draw(whole)
    draw.text(end, NOTE, mixed(INK, PAPER, 0.45), _font(size), anchor="rm")
    return note + dabs + size * 0.4


@lru_cache(maxsize=64)
def _dab(side: int) -> Image.Image:
    large = Image.new("L", (side * 8, side * 8))
    ImageDraw.Draw(large).ellipse((0, 0, side * 8 - 1, side * 8 - 1), 255)
    return large.reduce(8)


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = cast("ImageFont.FreeTypeFont", ImageFont.load_default(size))
    return font.font_variant(layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=4096)
def _advance(letter: str, size: int) -> float:
    return _font(size).getlength(letter)


def _length(text: str, size: int) -> float:
    return sum(_advance(letter, size) for letter in text)


def _fitting(text: str, size: int, room: float) -> int:
    while size > 4 and _length(text, size) > room:
        size -= 1
    return size


def _shortened(prompt: str, size: int, room: float) -> str:
    text = _drawable(prompt[:LETTERS_TO_FIT])
    ends = list(accumulate(_advance(letter, size) for letter in text))
    if not ends or ends[-1] <= room:
        return text
    fitting = sum(end <= room - _advance(ELLIPSIS, size) for end in ends)
    return text[:fitting].rstrip() + ELLIPSIS if fitting >= FEWEST_LETTERS else ""


def _drawable(prompt: str) -> str:
    """What the bundled font has letters for: ASCII, to which accented letters are reduced."""
    plain = unicodedata.normalize("NFKD", prompt.translate(SPELLED_OUT)).encode("ascii", "ignore")
    return " ".join(plain.decode("ascii").split())
