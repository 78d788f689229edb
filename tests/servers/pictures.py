"""Real pictures as small as they get: of the right aspect and format, coloured by a prompt."""

from __future__ import annotations

import io
import random
from functools import lru_cache
from hashlib import sha256
from math import gcd

from PIL import Image

SHORT_SIDE = 16  # pixels; less is no picture that anybody asked for
MOST_PIXELS = 64 * 64


@lru_cache(maxsize=64)
def picture(
    text: str,
    size: tuple[int, int],
    format: str = "png",  # noqa: A002  # what providers call it
    *,
    transparent: bool = False,
    at_least: int = 0,
) -> bytes:
    """A whole picture as wide to its height as `size`, in a colour of its own for each text.

    With `at_least` so many bytes it is noise, which no format makes small. What was painted last is
    kept: a server that is asked for the same again and again takes no time to paint.
    """
    # PNG keeps three bytes of noise in each pixel, JPEG and WebP more than one.
    pixels = -(-at_least // 3) if format == "png" else at_least
    painted = _noise(text, size, pixels) if pixels else _plain(text, size)
    if transparent:
        painted.putalpha(128)
    out = io.BytesIO()
    painted.save(out, format.upper(), quality=100)
    return out.getvalue()


def _plain(text: str, size: tuple[int, int]) -> Image.Image:
    colour = sha256(text.encode()).digest()
    return Image.new("RGB", _shrunk(size), (colour[0], colour[1], colour[2]))


def _shrunk(size: tuple[int, int]) -> tuple[int, int]:
    width, height = size[0] // gcd(*size), size[1] // gcd(*size)
    if width * height > MOST_PIXELS:
        longer = SHORT_SIDE * max(width, height) // min(width, height)
        return (longer, SHORT_SIDE) if width > height else (SHORT_SIDE, longer)
    grown = -(-SHORT_SIDE // min(width, height))
    return width * grown, height * grown


def _noise(text: str, size: tuple[int, int], pixels: int) -> Image.Image:
    """So many pixels of noise, and black below them where that is too small for a picture."""
    width = max(SHORT_SIDE, int((pixels * size[0] / size[1]) ** 0.5))
    height = max(SHORT_SIDE, -(-pixels // width))
    noise = random.Random(text).randbytes(pixels * 3)
    return Image.frombytes("RGB", (width, height), noise.ljust(width * height * 3, b"\0"))
