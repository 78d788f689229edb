"""What Gemini alone asks for and answers: its names for sizes, its thoughts, its counts."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from google.genai import types
from PIL import Image

from application.ports.providers import Picture
from infrastructure.container import Container
from infrastructure.images import PillowInspector
from infrastructure.providers.gemini import BASE_URL, CAPABILITIES, PRICE_LIST, GeminiProvider
from infrastructure.providers.gemini_answer import FINISHED
from infrastructure.providers.gemini_models import IMAGE_TOKENS
from infrastructure.settings import load_settings
from tests.integration.gemini_calls import MODELS, PROMPT, Gemini, gemini, request_for
from tests.servers.gemini import KEY
from tests.servers.gemini_answers import Asked, painted

PROMPT_TOKENS = len(PROMPT.split())


@pytest.fixture
async def asking() -> AsyncIterator[Gemini]:
    """A provider and its other side."""
    async with gemini() as both:
        yield both


def reference(media: str) -> Picture:
    data = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(data, media.partition("/")[2].upper())
    return Picture(data.getvalue(), media)  # type: ignore[arg-type]  # one of those it takes


# --- what is asked for ---------------------------------------------------------------------------


async def test_a_call_asks_for_one_picture_by_its_prompt(asking: Gemini) -> None:
    await asking.make()
    assert asking.facts["prompt"] == PROMPT
    assert asking.facts["modalities"] == ("IMAGE",)
    assert asking.posts == 1


async def test_shape_and_seed_are_left_to_gemini_where_nobody_asks_for_them(asking: Gemini) -> None:
    await asking.make()
    assert [asking.facts[name] for name in ("aspect_ratio", "image_size", "seed")] == [None] * 3


@pytest.mark.parametrize(("asked", "told"), [(7, 7), (2**31 + 7, 7)])
async def test_a_seed_is_passed_on_as_far_as_gemini_counts(
    asking: Gemini, asked: int, told: int
) -> None:
    await asking.make(seed=asked)
    assert asking.facts["seed"] == told


@pytest.mark.parametrize(
    ("size", "names"),
    [
        ("1024x1024", ("1:1", "1K")),
        ("2752x1536", ("16:9", "2K")),
        ("3584x4800", ("3:4", "4K")),
    ],
)
async def test_a_size_goes_by_gemini_s_names(
    asking: Gemini, size: str, names: tuple[str, str]
) -> None:
    await asking.make(size=size)
    assert (asking.facts["aspect_ratio"], asking.facts["image_size"]) == names


@pytest.mark.parametrize("name", MODELS)
async def test_every_size_is_another_shape_to_gemini_and_comes_about_as_it_is_said(
    asking: Gemini, name: str
) -> None:
    model = CAPABILITIES.model(name)
    assert model is not None
    shapes = set()
    for size in model.sizes:
        answer = await asking.make(name, size=size)
        width, height = (int(side) for side in size.split("x"))
        facts = await PillowInspector().inspect(answer.pictures[0].data)
        assert facts.width / facts.height == pytest.approx(width / height, rel=0.1)
        shapes.add((asking.facts["aspect_ratio"], asking.facts["image_size"]))
    assert len(shapes) == len(model.sizes)


async def test_references_are_sent_along_in_whatever_format_they_are(asking: Gemini) -> None:
    media = ("image/png", "image/jpeg", "image/webp", "image/png")
    await asking.make(references=tuple(reference(one) for one in media))
    assert asking.facts["references"] == 4


@pytest.mark.parametrize("name", MODELS)
async def test_a_model_refuses_a_seed_exactly_where_it_is_said_to_take_none(
    asking: Gemini, name: str
) -> None:
    model = CAPABILITIES.model(name)
    assert model is not None
    outcome = await asking.outcome(model=name, seed=7)
    assert isinstance(outcome, Exception) is not model.seed


async def test_the_environment_chooses_neither_key_nor_address_nor_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {
        "GOOGLE_API_KEY": "another",
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "GOOGLE_GENAI_USE_ENTERPRISE": "true",
        "GOOGLE_GENAI_API_VERSION": "v1alpha",
        "GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:9",
        "GOOGLE_GENAI_HTTP_CLIENT": "httpx",
    }.items():
        monkeypatch.setenv(name, value)
    async with gemini() as asking:
        await asking.make()
        assert asking.facts["version"] == "v1beta"
    provider = GeminiProvider(api_key="a-key")
    assert provider._client._api_client._http_options.base_url == BASE_URL
    await provider.close()


async def test_the_settings_make_it(asking: Gemini, tmp_path: Path) -> None:
    address = asking.provider._client._api_client._http_options.base_url
    settings = load_settings(
        {
            "GEMINI_API_KEY": KEY,
            "GEMINI_BASE_URL": str(address),
            "GEMINI_API_VERSION": "v1",
            "DARKROOM_DATA_DIR": str(tmp_path),
        }
    )
    made = Container(settings=settings).configured_providers()
    assert list(made) == ["gemini"]
    assert (await made["gemini"].call(request_for())).pictures
    assert asking.facts["version"] == "v1"
    await made["gemini"].close()


async def test_a_version_that_does_not_know_pictures_is_the_operators_to_change() -> None:
    async with gemini(api_version="v1") as asking:
        asking.server.switches.options["v1_rejects"] = ["imageConfig"]
        await asking.make()
        failure = (await asking.failure(size="1024x1024")).failure
    assert failure.kind == "misconfigured"
    assert "GEMINI_API_VERSION" in failure.message


async def test_both_versions_are_asked_where_the_setting_says_so() -> None:
    for version in ("v1", "v1beta"):
        async with gemini(api_version=version) as asking:
            await asking.make(size="1024x1024")
            assert asking.facts["version"] == version


# --- what is answered ----------------------------------------------------------------------------


async def test_thoughts_are_no_pictures(asking: Gemini) -> None:
    plain = await asking.make()
    asking.server.switches.tell(next=["thoughts"])
    assert (await asking.make()).pictures == plain.pictures


async def test_the_last_of_several_pictures_is_taken(asking: Gemini) -> None:
    plain = await asking.make()
    asking.server.switches.tell(next=["two_pictures"])
    assert (await asking.make()).pictures == plain.pictures


async def test_a_picture_is_of_the_type_that_gemini_says(asking: Gemini) -> None:
    asking.server.switches.options["picture_type"] = "image/jpeg"
    made = (await asking.make()).pictures[0]
    assert made.content_type == "image/jpeg"
    assert (await PillowInspector().inspect(made.data)).content_type == "image/jpeg"


async def test_the_bytes_are_those_that_were_sent(asking: Gemini) -> None:
    made = (await asking.make(seed=3)).pictures[0]
    facts = {**asking.facts}
    del facts["version"]
    assert made.data == painted(Asked(**facts))


async def test_gemini_s_own_id_is_kept(asking: Gemini) -> None:
    assert (await asking.make()).provider_request_id
    assert (await asking.failure("finish_safety")).provider_request_id


def test_every_finish_reason_of_the_sdk_has_its_meaning() -> None:
    assert set(FINISHED) == {reason.value for reason in types.FinishReason}


# --- what it costs -------------------------------------------------------------------------------


def pro(read: int = PROMPT_TOKENS, text: int = 0, images: int = 1120) -> Decimal:
    return (Decimal(2) * read + Decimal(12) * text + Decimal(120) * images) / 1_000_000


async def test_text_thoughts_and_pictures_have_their_own_prices(asking: Gemini) -> None:
    asking.server.switches.tell(next=["thoughts"])
    answer = await asking.make()
    assert answer.cost.amount == pro(text=4 + 90)
    assert answer.cost.price_list == PRICE_LIST
    assert answer.usage == {
        "promptTokenCount": PROMPT_TOKENS,
        "candidatesTokenCount": 1124,
        "thoughtsTokenCount": 90,
        "candidatesTokensDetails.IMAGE": 1120,
    }


async def test_references_cost_what_they_are_counted(asking: Gemini) -> None:
    answer = await asking.make(references=(reference("image/png"),))
    assert answer.cost.amount == pro(read=PROMPT_TOKENS + 1120)


async def test_output_that_is_not_split_is_the_picture_s(asking: Gemini) -> None:
    asking.server.switches.tell(next=["no_split"])
    assert (await asking.make()).cost.amount == pro()


@pytest.mark.parametrize(
    ("fault", "text"),
    [("split_of_nothing", 0), ("split_null", 0), ("split_of_text", 20), ("split_of_nulls", 0)],
)
async def test_of_output_that_is_split_in_part_the_rest_is_the_picture_s(
    asking: Gemini, fault: str, text: int
) -> None:
    asking.server.switches.tell(next=[fault])
    assert (await asking.make()).cost.amount == pro(text=text, images=1120 - text)


async def test_a_picture_is_kept_and_counted_whatever_is_odd_beside_it(asking: Gemini) -> None:
    asking.server.switches.tell(next=["odd_facts"])
    answer = await asking.make()
    assert (answer.cost.amount, answer.provider_request_id) == (pro(), None)


async def test_an_uncounted_picture_costs_what_such_a_picture_usually_does(asking: Gemini) -> None:
    asking.server.switches.tell(next=["no_usage", "no_usage"])
    assert (await asking.make()).cost.amount == pro(read=0)
    dear = await asking.make(size="4096x4096")
    assert (dear.cost.amount, dear.usage) == (pro(read=0, images=2000), {})


@pytest.mark.parametrize(
    ("fault", "cost"),
    [
        ("blocked_safety", pro(images=0)),
        ("finish_safety", pro(images=0)),
        ("blocked_with_picture", pro()),
        ("blocked_beside_a_candidate", pro(images=0)),
        ("broken_base64", pro()),
        ("text_only", pro(images=0, text=12)),
        ("text_only_without_split", pro(images=0, text=12)),
        ("finish_image_other", None),
        ("no_candidates", None),
        ("not_json", None),
    ],
)
async def test_a_call_without_a_picture_costs_what_gemini_counts(
    asking: Gemini, fault: str, cost: Decimal | None
) -> None:
    stated = (await asking.failure(fault)).cost
    assert (stated and stated.amount) == cost


def test_every_model_has_prices_and_says_what_a_picture_of_each_resolution_has() -> None:
    for model in CAPABILITIES.models:
        assert len(model.prices) == 3
        assert len(model.sizes) % len(IMAGE_TOKENS[model.name]) == 0
        assert model.sizes[0] == "1024x1024"
        assert model.watermarks == ("synthid",)
