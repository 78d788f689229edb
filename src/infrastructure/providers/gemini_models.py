"""Gemini's image models as data: what they take, the sizes of their pictures, what they cost.

Sizes: Google's table of aspect ratios and resolutions (ai.google.dev/gemini-api/docs/
image-generation), 2K and 4K being twice and four times the sides of 1K, and 512 half of them. The
four long ratios are as seen in answers (2064x512, 2928x352), where the table says 2048x512 and
3072x384. Which pixels come is the model's choice all the same: what came is measured.

Models: `gemini-3.1-flash-image` was announced to be shut down on 2026-10-29 in favour of
`gemini-nano-banana-2.1`, which takes no seed (400) and no 512.

Prices, in USD for a million tokens, from Google's price page as quoted by LiteLLM (2.1, in October
2026) and by others. Assumed: that thoughts and text cost the same, and how many tokens a picture of
2.1 has in 2K. Tokens for a picture only serve where an answer does not count them itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from application.ports.providers import Capabilities, Model, ReferenceRules

PRICE_LIST = "gemini-2026-11"
DEFAULT_RESOLUTION = "1K"
USUAL_RATIOS = {
    "1:1": (1024, 1024),
    "2:3": (848, 1264),
    "3:2": (1264, 848),
    "3:4": (896, 1200),
    "4:3": (1200, 896),
    "4:5": (928, 1152),
    "5:4": (1152, 928),
    "9:16": (768, 1376),
    "16:9": (1376, 768),
    "21:9": (1584, 672),
}
ALL_RATIOS = {
    **USUAL_RATIOS,
    "1:4": (512, 2064),
    "4:1": (2064, 512),
    "1:8": (352, 2928),
    "8:1": (2928, 352),
}
RESOLUTIONS = {"1K": 1.0, "2K": 2.0, "4K": 4.0, "512": 0.5}
REFERENCES = ReferenceRules(
    most=14,
    max_bytes=7 * 1024 * 1024,
    max_bytes_together=14 * 1024 * 1024,  # a request has at most 20 MB, in base64
    max_pixels=3072 * 3072,  # larger ones are scaled down by the models themselves
    longest_side=3072,
)


def _names(
    ratios: Mapping[str, tuple[int, int]], resolutions: Iterable[str]
) -> dict[str, tuple[str, str]]:
    """Size to the names that Gemini has for it: aspect ratio and resolution."""
    return {
        f"{round(width * RESOLUTIONS[name])}x{round(height * RESOLUTIONS[name])}": (ratio, name)
        for name in resolutions
        for ratio, (width, height) in ratios.items()
    }


SHAPES = _names(ALL_RATIOS, RESOLUTIONS)
"""Every size there is, with its aspect ratio and its resolution."""

IMAGE_TOKENS: dict[str, dict[str, int]] = {
    "gemini-nano-banana-2.1": {"1K": 1120, "2K": 2520, "4K": 3780},
    "gemini-3-pro-image": {"1K": 1120, "2K": 1120, "4K": 2000},
    "gemini-3.1-flash-lite-image": {"1K": 1120},
    "gemini-3.1-flash-image": {"1K": 1120, "2K": 1680, "4K": 2520, "512": 747},
}
"""Output tokens of one picture; the first resolution is the usual one."""


def _prices(read: str, text: str, image: str) -> dict[str, Decimal]:
    return {
        "million_input_tokens": Decimal(read),
        "million_text_output_tokens": Decimal(text),
        "million_image_output_tokens": Decimal(image),
    }


def _model(
    name: str,
    ratios: Mapping[str, tuple[int, int]],
    prices: Mapping[str, Decimal],
    *,
    seed: bool = True,
) -> Model:
    return Model(
        name=name,
        formats=("png",),
        sizes=tuple(_names(ratios, IMAGE_TOKENS[name])),
        references=REFERENCES,
        seed=seed,
        watermarks=("synthid",),
        prices=prices,
    )


CAPABILITIES = Capabilities(
    models=(
        _model("gemini-nano-banana-2.1", ALL_RATIOS, _prices("1.50", "7.50", "30"), seed=False),
        _model("gemini-3-pro-image", USUAL_RATIOS, _prices("2.00", "12.00", "120")),
        _model("gemini-3.1-flash-lite-image", USUAL_RATIOS, _prices("0.25", "1.50", "30")),
        _model("gemini-3.1-flash-image", ALL_RATIOS, _prices("0.50", "3.00", "60")),
    ),
    repeat_costs=True,
    price_list=PRICE_LIST,
)
