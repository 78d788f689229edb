"""docs/providers.md: what each provider offers, and what became of generations that met its faults.

Everything in the tables is performed for it: `make surface` writes the page, and a test compares.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from application.fitting import sides
from application.ports.providers import Capabilities, Model
from infrastructure.providers.sketch import SketchProvider
from tests.contracts.fates import NOBODY, OTHER, Fate, Fates, Refusal, Rehearsed, rehearsed
from tests.contracts.providers import SERVED
from tests.contracts.stages.stage import Outcome
from tests.servers import protocol

STORED = Path(__file__).parents[2] / "docs" / "providers.md"
FEW_SIZES = 9
OFFERS: Mapping[str, str] = {
    "mask": "mask",
    "negative_prompt": "negative prompt",
    "seed": "seed",
    "transparency": "transparent background",
    "compression": "compression",
    "moderation": "moderation (from words alone)",
    "moderation_of_edits": "moderation of edits",
    "fidelity": "fidelity",
}
REQUESTS = {0: "text only", 1: "one reference", 4: "four references"}
TROUBLES: Mapping[str, str] = {
    NOBODY: "no connection can be made",
    "refuse": "the connection is cut before the request is read",
    "drop": "the connection is cut after the request was read",
    "lose_answer": "the connection is cut after the picture was made and billed",
    "truncate": "the connection is cut in the middle of the answer",
    "hang": "nothing comes for longer than anybody waits",
    "delay": "the answer comes late",
    "drip": "the answer comes byte by byte",
}
HEAD = """# Providers

`make surface` writes this page, and a test fails when it is not what the code does. Nothing in the
tables of requests and errors is said by hand: each row is a generation of one picture that a worker
performed, through the provider's adapter and SDK, against a server that speaks the provider's
protocol and has the same trouble with every call until the generation ends.

- **Taken for** is the kind of failure, which decides what follows (`src/domain/failure.py`).
- **Alone**: no other provider could make the picture. **With another behind it**: one could.
- **Unit** is of the user's quota: given back, once, when a generation ends without its picture.
- **Cost** is what was recorded of the calls to this provider, in its price list's currency, and
  **billed** how many of them its server put on the bill. What a lost call cost cannot be known: it
  is recorded as lost, and asked for once more, unless the request says `onUnknown: "fail"`.

What keeps later requests from a provider in trouble (circuits, rates, cool-downs) is not at work
here.
"""

BUILT_IN = "it paints on this machine, asks nobody, and has only the faults it is told to have."

Row = tuple[str, ...]


async def everything() -> Sequence[Rehearsed]:
    """All providers that are asked over a connection, rehearsed at the same time."""
    drip, protocol.DRIP_SECONDS = protocol.DRIP_SECONDS, 0.001
    logging.disable(logging.ERROR)  # by servers, of connections that they cut
    try:
        stages = sorted(SERVED, key=lambda stage: stage.name)
        return await asyncio.gather(*[rehearsed(stage) for stage in stages])
    finally:
        protocol.DRIP_SECONDS = drip
        logging.disable(logging.NOTSET)


def page(providers: Sequence[Rehearsed]) -> str:
    """The whole page."""
    built_in = f"## sketch\n\nBuilt in: {BUILT_IN}\n\n{_offer(SketchProvider().capabilities)}"
    return "\n".join([HEAD, *map(_section, providers), built_in])


def _section(provider: Rehearsed) -> str:
    errors = {fault: f"`{fault}`" for fault in provider.by_error}
    return "\n".join(
        [
            f"## {provider.stage.name}\n",
            _offer(provider.capabilities),
            "### Requests\n",
            _table(REQUEST_HEAD, _requests(provider)),
            "### Errors\n",
            _table(FATE_HEAD, _fates(provider, provider.by_error, errors)),
            "### Trouble on the way\n",
            _table(FATE_HEAD, _fates(provider, provider.by_trouble, TROUBLES)),
        ]
    )


def _table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


# --- what is offered -----------------------------------------------------------------------------


def _offer(capabilities: Capabilities) -> str:
    repeats = "may be billed twice" if capabilities.repeat_costs else "costs nothing"
    head = ("model", "sizes", "formats", "qualities", "a call", "references", "also", "prices")
    return (
        f"Price list `{capabilities.price_list}`, in {capabilities.currency}. Asking again after\n"
        f"an unknown outcome {repeats}. The first model is taken where none is asked for.\n"
        "Prices are for an image, or for a million tokens.\n\n"
        + _table(head, [_row_of(model) for model in capabilities.models])
    )


def _row_of(model: Model) -> Row:
    also = [words for name, words in OFFERS.items() if getattr(model, name)]
    also += [f"{mark} in every picture" for mark in model.watermarks]
    pictures = (
        "1 picture" if model.images_per_call == 1 else f"1 to {model.images_per_call} pictures"
    )
    prices = [f"{_words(unit)}: {price.normalize():f}" for unit, price in model.prices.items()]
    return (
        f"`{model.name}`",
        _sizes(model),
        ", ".join(model.formats),
        ", ".join(model.qualities) or "-",
        pictures,
        _references(model),
        ", ".join(also) or "-",
        "; ".join(prices),
    )


def _words(unit: str) -> str:
    return unit.replace("_", " ")


def _sizes(model: Model) -> str:
    if (free := model.free_sizes) is not None:
        return (
            f"any in steps of {free.step}, {free.shortest} to {free.longest} a side, "
            f"{free.min_pixels:,} to {free.max_pixels:,} pixels, at most {free.steepest:g}:1"
        )
    if len(model.sizes) <= FEW_SIZES:
        return ", ".join(model.sizes)
    by_pixels = sorted(model.sizes, key=lambda size: sides(size)[0] * sides(size)[1])
    return f"{len(model.sizes)}, from {by_pixels[0]} to {by_pixels[-1]}"


def _references(model: Model) -> str:
    rules = model.references
    if rules is None:
        return "none"
    shaped = ", which shape the picture" if model.shaped_by_reference else ""
    megabytes = rules.max_bytes / 1024 / 1024
    return f"up to {rules.most} ({', '.join(rules.formats)}; {megabytes:.3g} MB each){shaped}"


# --- what became of it ---------------------------------------------------------------------------

REQUEST_HEAD = ("request", "alone", "unit", "cost", "with another behind it")
FATE_HEAD = (
    *("error", "HTTP", "taken for", "alone", "unit", "cost", "billed", "with another behind it"),
)


def _requests(provider: Rehearsed) -> Sequence[Row]:
    rows: list[Row] = []
    for count, (alone, behind) in provider.by_references.items():
        if isinstance(alone, Refusal):
            told: Row = (f"refused, and nothing is recorded: {alone.reason}", "-", "-")
        else:
            held = f", with {alone.references[0]} of them" if count else ""
            told = (f"{_end(alone)} of `{alone.asked[0]}`{held}", _unit(alone), _cost(alone))
        rows.append((REQUESTS[count], *told, _end(behind)))
    return rows


def _fates(
    provider: Rehearsed, fates: Mapping[str, Fates], words: Mapping[str, str]
) -> Sequence[Row]:
    """A row for all the faults that come to the same."""
    alike: dict[Row, list[str]] = {}
    for fault, ends in fates.items():
        expected = provider.stage.errors.get(fault)
        alike.setdefault(_row_of_fates(ends, expected), []).append(words[fault])
    return [("; ".join(names), *row) for row, names in alike.items()]


def _row_of_fates(fates: Fates, expected: Outcome | None) -> Row:
    alone, behind = fates.alone, _end(fates.behind)
    if fates.on_leave is not None:
        behind += f'; with `onRefusal: "fallback"` {_end(fates.on_leave)}'
    wait = f", for {expected.retry_after:g} s" if expected and expected.retry_after else ""
    return (
        ", ".join(map(str, alone.statuses)) or "-",
        (", ".join(alone.kinds) or "an answer") + wait,
        _end(alone),
        _unit(alone),
        _cost(alone),
        f"{alone.billed} of {alone.calls}",
        behind,
    )


def _end(fate: Fate) -> str:
    calls = "1 call" if fate.calls == 1 else f"{fate.calls} calls"
    if fate.made_by == OTHER:
        return f"{fate.status} by the other, after {calls}" if fate.calls else "left to the other"
    return f"{fate.status} after {calls}"


def _unit(fate: Fate) -> str:
    return "used" if fate.units else "given back"


def _cost(fate: Fate) -> str:
    known = f"{fate.cost.normalize():f}"
    if fate.lost:
        return f"{known}, and unknown for {fate.lost}"
    return f"{known}, although billed" if fate.billed and not fate.cost else known
