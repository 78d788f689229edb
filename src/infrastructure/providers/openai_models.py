"""What OpenAI's image models can do and cost, as data.

Names, sizes, qualities and limits are those of the SDK's types of November 2026; the fewest and the
most pixels are what others measured. Prices are in USD for a million tokens. Known from the
vendor's pages: those of `gpt-image-2.6-sunburst` and of `gpt-image-1-mini`. Told by others: that
2.6-flare, 2.5 and 2 cost the same as the former. Assumed: those of `gpt-image-1.5`, reckoned from
what its pictures were said to cost; of `chatgpt-image-latest`, as the newest; and of output that is
text, as if it were images, so that nothing looks cheaper than it is. What was cached is not told
apart in an answer: it is priced as if it was not. Assumed, too, is what an answer used that
does not say so: how many tokens a picture takes (low to high as others tell of `gpt-image-1`, the
finer ones on from there, other sizes by their pixels), a reference or mask, and a text.
"""

from __future__ import annotations

from decimal import Decimal

from application.ports.providers import Capabilities, FreeSizes, Model, ReferenceRules

PRICE_LIST = "openai-2026-11"
MILLION = 1_000_000
TEXT_INPUT, IMAGE_INPUT = "text_input_tokens", "image_input_tokens"
TEXT_OUTPUT, IMAGE_OUTPUT = "text_output_tokens", "image_output_tokens"

IMAGE_OUTPUT_TOKENS = {"low": 272, "medium": 1056, "high": 4160, "xhigh": 6240, "max": 8320}
"""Of a picture of 1024 x 1024, by its quality."""
TOKENS_OF_A_REFERENCE = 323
CHARACTERS_OF_A_TOKEN = 4

STANDARD_SIZES = ("1024x1024", "1536x1024", "1024x1536")
ANY_SIZE = FreeSizes(
    step=16,
    shortest=480,
    longest=3840,
    min_pixels=655_360,
    max_pixels=3840 * 2160,
    steepest=3,
)
REFERENCES = ReferenceRules(most=16, max_bytes=49 * 1024 * 1024)
MAX_MASK_BYTES = 4 * 1024 * 1024 - 1


def _prices(text: str, image: str, output: str) -> dict[str, Decimal]:
    return {
        TEXT_INPUT: Decimal(text),
        IMAGE_INPUT: Decimal(image),
        TEXT_OUTPUT: Decimal(output),
        IMAGE_OUTPUT: Decimal(output),
    }


def _model(
    name: str,
    prices: dict[str, Decimal],
    *,
    any_size: bool = True,
    finer: bool = False,
    fidelity: bool = False,
) -> Model:
    return Model(
        name=name,
        formats=("png", "jpeg", "webp"),
        sizes=() if any_size else STANDARD_SIZES,
        free_sizes=ANY_SIZE if any_size else None,
        qualities=("low", "medium", "high", *(("xhigh", "max") if finer else ())),
        images_per_call=10,
        references=REFERENCES,
        mask=True,
        transparency=True,
        compression=True,
        moderation=True,
        fidelity=fidelity,
        prices=prices,
    )


_NEWEST = _prices("5", "8", "30")

CAPABILITIES = Capabilities(
    models=(
        # First, and so the one taken where none is asked for: the newer ones answer only to
        # organizations that have shown OpenAI who they are.
        _model("gpt-image-2", _NEWEST),
        _model("gpt-image-2.6-sunburst", _NEWEST, finer=True),
        _model("gpt-image-2.6-flare", _NEWEST, finer=True),
        _model("gpt-image-2.5-sunburst", _NEWEST, finer=True),
        _model("gpt-image-2.5-flare", _NEWEST, finer=True),
        _model("gpt-image-2-2026-04-21", _NEWEST),
        _model("gpt-image-2.5-sunburst-2026-09-08", _NEWEST, finer=True),
        _model("gpt-image-2.5-flare-2026-09-08", _NEWEST, finer=True),
        _model("gpt-image-1.5", _prices("5", "8", "32"), any_size=False, fidelity=True),
        _model("gpt-image-1-mini", _prices("2", "2.50", "8"), any_size=False),
        _model("chatgpt-image-latest", _NEWEST, any_size=False),
    ),
    repeat_costs=True,
    price_list=PRICE_LIST,
)
