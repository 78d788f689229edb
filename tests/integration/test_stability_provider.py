"""Stability AI over real HTTP: what it is asked, what it answers, what becomes of its errors."""

from __future__ import annotations

import io
import traceback
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import httpx
import pytest
from PIL import Image

from application.ports.providers import (
    Answer,
    CallFailedError,
    CallRequest,
    OutcomeUnknownError,
    Picture,
)
from domain.image import Fidelity, Format
from infrastructure.providers.stability import StabilityProvider, _body
from infrastructure.providers.stability_errors import (
    NOTHING_WAS_SENT,
    PERHAPS_SENT,
    broken_off,
    refused,
)
from infrastructure.providers.stability_models import (
    CAPABILITIES,
    CORE_RATIOS,
    MAX_SEED,
    RATIOS,
    REFERENCE_RULES,
)
from tests.contracts.stages.stability import STAGE
from tests.servers.protocol import ProtocolServer, serving
from tests.servers.stability import KEY
from tests.servers.stability import server as stability_server
from tests.servers.stability_rules import RATIOS as KNOWN_RATIOS

MODELS = [model.name for model in CAPABILITIES.models]


@pytest.fixture
def server() -> ProtocolServer:
    return stability_server()


@pytest.fixture
async def stability(server: ProtocolServer) -> AsyncIterator[StabilityProvider]:
    async with serving(server) as address:
        provider = StabilityProvider(api_key=KEY, base_url=address, read_seconds=1)
        yield provider
        await provider.close()


def wish(model: str = "ultra", **wanted: Any) -> CallRequest:
    told = {"prompt": "a lighthouse", "images": (1,), **wanted}
    return CallRequest(generation=uuid4(), call=1, model=model, **told)


def reference(side: int = 64) -> Picture:
    out = io.BytesIO()
    Image.new("RGB", (side, side)).save(out, "PNG")
    return Picture(out.getvalue(), "image/png")


def facts(server: ProtocolServer) -> dict[str, Any]:
    assert len(server.switches.seen) == 1
    return {name: fact for name, fact in server.switches.seen[0].facts.items() if fact is not None}


async def failure_of(provider: StabilityProvider, request: CallRequest) -> CallFailedError:
    with pytest.raises(CallFailedError) as failed:
        await provider.call(request)
    return failed.value


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


async def test_two_pictures_in_one_call_are_refused_before_anything_is_sent(
    server: ProtocolServer, stability: StabilityProvider
) -> None:
    failed = await failure_of(stability, wish(images=(1, 2)))
    assert failed.failure.kind == "invalid_request"
    assert server.switches.seen == []


async def test_what_is_paid_for_is_what_the_server_bills(
    server: ProtocolServer, stability: StabilityProvider
) -> None:
    for fault in STAGE.errors:
        before = server.switches.billed
        server.switches.tell(next=[fault])
        failed = await failure_of(stability, wish("core"))
        billed = (server.switches.billed - before) * Decimal("0.03")
        assert (failed.cost.amount if failed.cost else 0) == billed, fault


class Endless(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield bytes(1024 * 1024)


@pytest.mark.parametrize(("status", "megabytes"), [(200, 65), (500, 1)])
async def test_an_answer_that_never_ends_is_not_read_to_its_end(
    status: int, megabytes: int
) -> None:
    body = await _body(httpx.Response(status, stream=Endless()))
    assert len(body) == megabytes * 1024 * 1024


async def test_neither_what_the_provider_wrote_nor_an_end_of_the_key_is_repeated(
    server: ProtocolServer, stability: StabilityProvider
) -> None:
    for fault in [*STAGE.errors, *STAGE.lost]:
        server.switches.tell(next=[fault])
        with pytest.raises((CallFailedError, OutcomeUnknownError)) as failed:
            await stability.call(wish())
        told = f"{failed.value!r} {vars(failed.value)}"
        for secret in (KEY[:5], KEY[-4:], "flagged", "purchase", "<html>"):
            assert secret not in told, fault


async def test_a_key_that_no_header_can_hold_is_not_shown(server: ProtocolServer) -> None:
    async with serving(server) as address:
        stability = StabilityProvider(api_key=f"{KEY}\n", base_url=address)
        failed = await failure_of(stability, wish())
        await stability.close()
    assert failed.failure.kind == "misconfigured"
    assert KEY not in "".join(traceback.format_exception(failed))
    assert server.switches.seen == []


async def test_a_wait_that_stability_asks_for_is_never_shorter_than_its_own_nor_endless() -> None:
    for asked, seconds in [("5", 60), ("90", 90), ("999999999", 3600), ("soon", 60)]:
        answer = httpx.Response(429, headers={"retry-after": asked})
        failed = refused(answer, b"")
        assert isinstance(failed, CallFailedError)
        assert failed.failure.retry_after == timedelta(seconds=seconds)


@pytest.mark.parametrize("body", [b"[]", b"null", b'{"name": 7, "errors": "x"}', b"[" * 60_000])
def test_whatever_a_refusal_says_it_is_one(body: bytes) -> None:
    failed = refused(httpx.Response(403), body)
    assert isinstance(failed, CallFailedError)
    assert failed.failure.kind == "misconfigured"


NEVER_RAISED = {httpx.TooManyRedirects, httpx.HTTPStatusError}  # redirects are off, statuses read


def leaves(error: type[httpx.HTTPError]) -> set[type[httpx.HTTPError]]:
    below = [kind for kind in error.__subclasses__() if kind.__module__.startswith("httpx")]
    return set().union(*(leaves(kind) for kind in below)) if below else {error}


def test_every_error_of_httpx_is_decided() -> None:
    decided = {*NOTHING_WAS_SENT, *PERHAPS_SENT, *NEVER_RAISED}
    assert leaves(httpx.HTTPError) == decided
    for kind in PERHAPS_SENT:
        assert isinstance(broken_off(kind("the key")), OutcomeUnknownError)
    for kind in NOTHING_WAS_SENT:
        assert isinstance(broken_off(kind("the key")), CallFailedError)
