"""What OpenAI's image models take, as its server checks it: names, sizes, qualities, fields."""

from __future__ import annotations

import re
from dataclasses import dataclass

STANDARD_SIZES = ("1024x1024", "1536x1024", "1024x1536")
RETIRED = ("dall-e-2", "dall-e-3", "gpt-image-1")
PLAIN_QUALITIES = ("auto", "low", "medium", "high")
FINE_QUALITIES = (*PLAIN_QUALITIES, "xhigh", "max")
SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")

# Output tokens of a square megapixel; other sizes cost by their pixels.
OUTPUT_TOKENS = {"low": 272, "medium": 1056, "high": 4160, "xhigh": 6240, "max": 8320}


@dataclass(frozen=True)
class ImageModel:
    """One model: whether it makes any size, what it needs and what else it takes."""

    name: str
    any_size: bool = True
    qualities: tuple[str, ...] = FINE_QUALITIES
    verified_only: bool = False
    complexity: bool = False
    markup: bool = False
    fidelities: tuple[str, ...] = ()

    def makes(self, size: str) -> bool:
        """Whether it makes pictures of this size."""
        if size == "auto" or not self.any_size:
            return size in ("auto", *STANDARD_SIZES)
        if not (match := SIZE.fullmatch(size)):
            return False
        width, height = int(match[1]), int(match[2])
        return (
            width % 16 == height % 16 == 0
            and max(width, height) <= min(3840, 3 * min(width, height))
            and 655_360 <= width * height <= 3840 * 2160
        )


def _fine(name: str, **more: bool) -> ImageModel:
    return ImageModel(name, verified_only=True, markup=True, **more)


MODELS = {
    model.name: model
    for model in (
        _fine("gpt-image-2.6-sunburst", complexity=True),
        _fine("gpt-image-2.6-flare", complexity=True),
        _fine("gpt-image-2.5-sunburst"),
        _fine("gpt-image-2.5-sunburst-2026-09-08"),
        _fine("gpt-image-2.5-flare"),
        _fine("gpt-image-2.5-flare-2026-09-08"),
        ImageModel("gpt-image-2", qualities=PLAIN_QUALITIES),
        ImageModel("gpt-image-2-2026-04-21", qualities=PLAIN_QUALITIES),
        ImageModel(
            "gpt-image-1.5",
            any_size=False,
            qualities=PLAIN_QUALITIES,
            fidelities=("low", "high"),
        ),
        ImageModel(
            "gpt-image-1-mini", any_size=False, qualities=PLAIN_QUALITIES, fidelities=("low",)
        ),
        ImageModel("chatgpt-image-latest", any_size=False, qualities=PLAIN_QUALITIES),
    )
}


def pixels_of(size: str) -> tuple[int, int]:
    """Width and height; what the model chooses for `auto` is a square megapixel."""
    match = SIZE.fullmatch(size)
    return (int(match[1]), int(match[2])) if match else (1024, 1024)


def output_tokens(size: str, quality: str) -> int:
    """What one picture takes of the tokens that are paid for."""
    width, height = pixels_of(size)
    return OUTPUT_TOKENS["medium" if quality == "auto" else quality] * width * height // 1024**2
