"""Stability AI over real HTTP: what it is asked, what it answers, what becomes of its errors."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
from PIL import Image

from application.ports.providers import Answer, Picture
from domain.image import Fidelity, Format
from infrastructure.providers.stability import StabilityProvider
from infrastructure.providers.stability_models import (
    CAPABILITIES,
    CORE_RATIOS,
    MAX_SEED,
    RATIOS,
    REFERENCE_RULES,
)
from tests.integration.stability_calls import asking, wish
from tests.servers.protocol import ProtocolServer, serving
from tests.servers.stability import server as stability_server
from tests.servers.stability_rules import RATIOS as KNOWN_RATIOS

MODELS = [model.name for model in CAPABILITIES.models]


@pytest.fixture
def server() -> ProtocolServer:
    return stability_server()


@pytest.fixture
async def stability(server: ProtocolServer) -> AsyncIterator[StabilityProvider]:
    async with serving(server) as address, asking(address) as provider:
        yield provider


def reference(side: int = 64) -> Picture:
    out = io.BytesIO()
    Image.new("RGB", (side, side)).save(out, "PNG")
    return Picture(out.getvalue(), "image/png")


def facts(server: ProtocolServer) -> dict[str, Any]:
    assert len(server.switches.seen) == 1
    return {name: fact for name, fact in server.switches.seen[0].facts.items() if fact is not None}


def decoded(answer: Answer) -> Image.Image:
    return Image.open(io.BytesIO(answer.pictures[0].data))


async def test_a_prompt_alone_is_all_that_is_sent(
    server: ProtocolServer, stability: StabilityProvider
) -> None:
    await stability.call(wish("core"))
    asked = {"prompt": "a lighthouse", "output_format": "png"}
    assert facts(server) == {"model": "core", "references": 0, "accept": "image/*", **asked}


@pytest.mark.parametrize("model", MODELS)
async def test_every_model_has_its_route_and_its_price(
    server: ProtocolServer, stability: StabilityProvider, model: str
) -> None:
    answer = await stability.call(wish(model))
    assert facts(server)["model"] == model
    offered = CAPABILITIES.model(model)
    assert offered is not None
    assert answer.cost.amount == offered.prices["image"]
    assert answer.cost.price_list == CAPABILITIES.price_list
    assert answer.usage == {"images": 1}
    assert answer.provider_request_id


def test_prices_are_the_vendors_credits_at_a_cent() -> None:
    prices = {model.name: model.prices["image"] for model in CAPABILITIES.models}
    assert prices == {
        "ultra": Decimal("0.08"),
        "core": Decimal("0.03"),
        "sd3.5-large": Decimal("0.065"),
        "sd3.5-large-turbo": Decimal("0.04"),
        "sd3.5-medium": Decimal("0.035"),
        "sd3.5-flash": Decimal("0.025"),
    }


@pytest.mark.parametrize(("model", "ratios"), [("ultra", RATIOS), ("core", CORE_RATIOS)])
async def test_every_size_is_asked_for_as_its_aspect_ratio(
    server: ProtocolServer, stability: StabilityProvider, model: str, ratios: dict[str, str]
) -> None:
    assert sorted(ratios.values()) == sorted(KNOWN_RATIOS)
    for size, ratio in ratios.items():
        width, height = decoded(await stability.call(wish(model, size=size))).size
        assert server.switches.seen[-1].facts["aspect_ratio"] == ratio
        across, down = (int(side) for side in size.split("x"))
        assert across / down == pytest.approx(width / height, rel=0.03)


@pytest.mark.parametrize("wanted", ["png", "jpeg", "webp"])
async def test_a_picture_comes_in_the_format_that_was_asked_for(
    stability: StabilityProvider, wanted: Format
) -> None:
    answer = await stability.call(wish(format=wanted))
    assert answer.pictures[0].content_type == f"image/{wanted}"
    assert decoded(answer).format == wanted.upper()


async def test_a_negative_prompt_and_a_seed_are_handed_on(
    server: ProtocolServer, stability: StabilityProvider
) -> None:
    await stability.call(wish(negative_prompt="boats", seed=7))
    assert facts(server)["negative_prompt"] == "boats"
    assert facts(server)["seed"] == "7"


async def test_the_same_seed_gives_the_same_picture_also_where_stability_has_none_such(
    server: ProtocolServer, stability: StabilityProvider
) -> None:
    for seed in (0, -1, MAX_SEED, MAX_SEED + 1, 2**63):
        first, second = [await stability.call(wish(seed=seed)) for _ in range(2)]
        assert first.pictures == second.pictures
        assert 1 <= int(server.switches.seen[-1].facts["seed"]) <= MAX_SEED


@pytest.mark.parametrize("model", ["ultra", "sd3.5-large", "sd3.5-flash"])
async def test_a_reference_is_sent_as_it_is_with_a_strength(
    server: ProtocolServer, stability: StabilityProvider, model: str
) -> None:
    await stability.call(wish(model, references=(reference(),), size="1344x768"))
    asked = facts(server)
    assert asked["image"]["size"] == (64, 64)
    assert 0 < float(asked["strength"]) < 1


async def test_sd3_takes_the_shape_of_the_reference_ultra_the_size_that_was_asked_for(
    server: ProtocolServer, stability: StabilityProvider
) -> None:
    for model in ("ultra", "sd3.5-medium"):
        await stability.call(wish(model, references=(reference(),), size="1344x768"))
    by_ultra, by_sd3 = (seen.facts for seen in server.switches.seen)
    assert by_ultra["aspect_ratio"] == "16:9"
    assert "aspect_ratio" not in by_sd3
    assert by_sd3["mode"] == "image-to-image"


@pytest.mark.parametrize("model", ["ultra", "sd3.5-flash"])
async def test_high_fidelity_stays_closer_to_the_reference_than_low(
    server: ProtocolServer, stability: StabilityProvider, model: str
) -> None:
    wishes: list[Fidelity | None] = ["high", None, "low"]
    for fidelity in wishes:
        await stability.call(wish(model, references=(reference(),), fidelity=fidelity))
    strengths = [float(seen.facts["strength"]) for seen in server.switches.seen]
    assert strengths == sorted(set(strengths))
    if model == "sd3.5-flash":  # by the vendor's advice
        assert 0.94 <= strengths[0] <= strengths[-1] <= 0.97


async def test_the_largest_reference_and_the_longest_prompts_fit_into_one_request(
    server: ProtocolServer, stability: StabilityProvider
) -> None:
    data = reference().data.ljust(REFERENCE_RULES.max_bytes, b"\0")
    words = "\U0001f5fc" * 10_000
    request = wish(
        prompt=words,
        negative_prompt=words,
        references=(Picture(data, "image/png"),),
        size="640x1536",
    )
    assert (await stability.call(request)).pictures


async def test_the_end_user_is_named_where_there_is_one(
    server: ProtocolServer, stability: StabilityProvider
) -> None:
    await stability.call(wish(end_user="6b23c0d5f35d1b11"))
    asked = facts(server)
    assert asked["stability-client-user-id"] == "6b23c0d5f35d1b11"
    assert asked["stability-client-id"] == "darkroom"
