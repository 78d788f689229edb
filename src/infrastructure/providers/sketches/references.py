"""What references give to a sketch: its colours, and prints of them pinned to it."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

from PIL import Image, ImageOps

from infrastructure.images import DECODING_ERRORS
from infrastructure.providers.sketches.caption import PAPER
from infrastructure.providers.sketches.palettes import Palette, mixed

LONGEST_SIDE = 512  # pixels of the copies that are worked with
FAN = 0.55  # of the picture's width, for all the prints
SHADOW: tuple[int, int, int] = (10, 12, 20)


class UnreadableReferenceError(Exception):
    """A reference image cannot be decoded."""


def opened(data: bytes) -> Image.Image:
    """A small upright copy of a reference, on paper where it is transparent."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            upright = ImageOps.exif_transpose(image).convert("RGBA")
    except DECODING_ERRORS as error:
        raise UnreadableReferenceError("A reference image cannot be decoded.") from error
    copy = Image.new("RGB", upright.size, PAPER)
    copy.paste(upright, mask=upright)
    return copy


def palette_of(references: Sequence[Image.Image]) -> Palette:
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


def pin(picture: Image.Image, references: Sequence[Image.Image], chance: random.Random) -> None:
    """Prints of the references, tilted, in the right half from its upper corner on."""
    side = max(6, round(min(picture.size) * 0.25))
    room = max(0.0, picture.width * FAN - side * 1.4)
    step = min(side * 0.62, room / max(len(references) - 1, 1))
    for k, reference in reversed(list(enumerate(references))):
        printed = _print_of(reference, side).rotate(
            chance.uniform(4, 11) * (-1 if k % 2 else 1), Image.Resampling.BICUBIC, expand=True
        )
        at = picture.width - printed.width - side // 8 - round(k * step), side // 8
        shadow = printed.getchannel("A").point([v * 2 // 5 for v in range(256)])
        picture.paste(SHADOW, (at[0] + side // 24, at[1] + side // 18), shadow)
        picture.paste(printed, at, printed)


def _print_of(reference: Image.Image, side: int) -> Image.Image:
    rim = max(1, side // 14)
    framed = Image.new("RGBA", (side, side + rim * 2), (*PAPER, 255))
    framed.paste(ImageOps.fit(reference, (side - 2 * rim, side - 2 * rim)), (rim, rim))
    return ImageOps.expand(framed, 1, (*PAPER, 0))
