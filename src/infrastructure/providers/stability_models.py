"""What Stability AI offers, as data: models, sizes, what references may be, and what it costs.

By the vendor's OpenAPI document (v2beta, stable-image/generate). That knows aspect ratios only, and
promises one megapixel (ultra, sd3) or 1.5 (core): the pixels here are those that the models are
made for; what core makes has been seen to be one and a half times as wide and as high.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from application.ports.providers import Capabilities, Model, ReferenceRules
from domain.image import Fidelity

PRICE_LIST = "stability-2026-11"
CREDIT = Decimal("0.01")  # USD
CREDITS: Mapping[str, Decimal] = {
    "ultra": Decimal(8),
    "core": Decimal(3),
    "sd3.5-large": Decimal("6.5"),
    "sd3.5-large-turbo": Decimal(4),
    "sd3.5-medium": Decimal("3.5"),
    "sd3.5-flash": Decimal("2.5"),
}
"""For a picture that was made: neither failed generations are charged nor what its moderation
denied. Nobody has seen a bill. Assumed: that a picture which was made and then blurred is charged
(CONTENT_FILTERED), as is one that comes without a verdict or without bytes, and no other refusal.
"""

MAX_REQUEST_BYTES = 10 * 1024 * 1024
ROOM_FOR_TEXT = 256 * 1024  # of two prompts of 10,000 characters, and what separates the parts
MAX_SEED = 4_294_967_294

RATIOS: Mapping[str, str] = {
    "1024x1024": "1:1",
    "1344x768": "16:9",
    "768x1344": "9:16",
    "1536x640": "21:9",
    "640x1536": "9:21",
    "1216x832": "3:2",
    "832x1216": "2:3",
    "1088x896": "5:4",
    "896x1088": "4:5",
}
CORE_RATIOS: Mapping[str, str] = {
    "1536x1536": "1:1",
    "2016x1152": "16:9",
    "1152x2016": "9:16",
    "2304x960": "21:9",
    "960x2304": "9:21",
    "1824x1248": "3:2",
    "1248x1824": "2:3",
    "1632x1344": "5:4",
    "1344x1632": "4:5",
}

STRENGTHS: Mapping[Fidelity | None, str] = {"high": "0.5", None: "0.7", "low": "0.85"}
"""How far a picture leaves its reference, from 0 (the same) to 1 (as if there were none). Stability
asks for one with every reference: without a wish there is room for the prompt to be followed."""
FLASH_STRENGTHS: Mapping[Fidelity | None, str] = {"high": "0.94", None: "0.95", "low": "0.97"}
"""The vendor's advice for sd3.5-flash: from 0.94 to 0.97."""

REFERENCE_RULES = ReferenceRules(
    most=1,
    max_bytes=MAX_REQUEST_BYTES - ROOM_FOR_TEXT,
    max_bytes_together=MAX_REQUEST_BYTES - ROOM_FOR_TEXT,
    longest_side=16_384,
    shortest_side=64,
)


def _model(name: str) -> Model:
    references = None if name == "core" else REFERENCE_RULES
    return Model(
        name=name,
        formats=("png", "jpeg", "webp"),
        sizes=tuple(ratios_of(name)),
        references=references,
        shaped_by_reference=name not in ("ultra", "core"),
        fidelity=references is not None,
        negative_prompt=True,
        seed=True,
        prompt_characters=10_000,
        prices={"image": price_of(name)},
    )


def ratios_of(model: str) -> Mapping[str, str]:
    """The aspect ratio to ask for, by the size that is wanted."""
    return CORE_RATIOS if model == "core" else RATIOS


def price_of(model: str) -> Decimal:
    """What one picture costs, in USD."""
    return CREDITS[model] * CREDIT


def strength_of(model: str, fidelity: Fidelity | None) -> str:
    """How far a picture may leave its reference."""
    return (FLASH_STRENGTHS if model == "sd3.5-flash" else STRENGTHS)[fidelity]


CAPABILITIES = Capabilities(
    models=tuple(_model(name) for name in CREDITS),
    repeat_costs=True,
    price_list=PRICE_LIST,
)
