"""docs/providers.md is what providers do, and that keeps the promises about units and cost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from decimal import Decimal
from operator import mul

import pytest

from tests.contracts.fates import Fate, Rehearsed
from tests.contracts.providers_page import STORED, everything, page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def providers() -> Sequence[Rehearsed]:
    return asyncio.run(everything())


def every_fate(providers: Sequence[Rehearsed]) -> Iterator[tuple[str, Fate]]:
    for provider in providers:
        for fault, fates in [*provider.by_error.items(), *provider.by_trouble.items()]:
            for fate in (fates.alone, fates.behind, fates.on_leave):
                if fate is not None:
                    yield f"{provider.stage.name} {fault}", fate


def test_the_page_is_what_providers_do(providers: Sequence[Rehearsed]) -> None:
    assert STORED.read_text() == page(providers), "write it anew: make surface"


def test_a_unit_is_used_for_a_picture_and_given_back_without_one(
    providers: Sequence[Rehearsed],
) -> None:
    for name, fate in every_fate(providers):
        assert (fate.status, fate.units) in [("completed", 1), ("failed", 0)], name


UNKNOWABLE = {
    *("openai not_json", "openai not_an_object", "openai compressed"),
    *("gemini nested_without_end", "gemini not_json", "gemini wrong_shape", "gemini empty_body"),
}
"""Whole answers that do not say what they cost."""
A_PROMPT = Decimal("0.001")  # dollars: what was read of one that is refused may be billed


def test_what_is_billed_is_recorded_or_recorded_as_lost(providers: Sequence[Rehearsed]) -> None:
    for name, fate in every_fate(providers):
        if fate.billed > fate.lost and name not in UNKNOWABLE:
            assert fate.cost > A_PROMPT, name
        elif fate.billed == 0:
            assert fate.cost < A_PROMPT, name


UNITS = ("text_input_tokens", "image_input_tokens", "image_output_tokens")


def test_what_is_recorded_is_what_is_billed_by_the_token(providers: Sequence[Rehearsed]) -> None:
    models = {model.name: model for each in providers for model in each.capabilities.models}
    compared = 0
    for name, fate in every_fate(providers):
        if fate.tokens and not fate.lost and name not in UNKNOWABLE:
            prices = [models[fate.asked[0]].prices[unit] for unit in UNITS]
            bill = sum((sum(map(mul, prices, tokens)) for tokens in fate.tokens), Decimal())
            assert fate.cost == bill / 1_000_000, name
            compared += 1
    assert compared > 20


def test_another_provider_makes_the_picture_unless_a_refusal_forbids_it(
    providers: Sequence[Rehearsed],
) -> None:
    final = {"moderation_input", "moderation_output"}
    for provider in providers:
        for fault, fates in [*provider.by_error.items(), *provider.by_trouble.items()]:
            goes_on = not final.intersection(fates.alone.kinds)
            assert (fates.behind.status == "completed") == goes_on, (provider.stage.name, fault)
            assert fates.on_leave is None or fates.on_leave.status == "completed"
