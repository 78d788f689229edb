"""What is OpenAI's alone: its fields, its tokens and their price, its ids. Through its own SDK."""

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
from openai.types import ImageModel

from application.ports.providers import CallFailedError, CallRequest, Model, OutcomeUnknownError
from infrastructure.container import Container
from infrastructure.providers import openai as adapter
from infrastructure.providers.openai import CAPABILITIES, OpenAIProvider
from infrastructure.settings import load_settings
from tests.contracts.asking import PROMPT, mask, reference, request_to
from tests.servers.openai import KEY, server
from tests.servers.openai_models import MODELS
from tests.servers.protocol import ProtocolServer, serving


class Served:
    """The adapter and the server that it asks."""

    def __init__(self, provider: OpenAIProvider, there: ProtocolServer) -> None:
        self.provider, self.switches = provider, there.switches

    def request(self, *images: int, **wanted: Any) -> CallRequest:
        return request_to(self.provider, *images, **{"size": None, **wanted})

    @property
    def facts(self) -> dict[str, Any]:
        """What the last request said, and what it was seen to hold."""
        return self.switches.seen[-1].facts

    def bill(self, *prices: str) -> Decimal:
        """What the last request costs at these prices of a million text, image and made tokens."""
        tokens = self.facts["tokens"]
        each = (Decimal(price) * count for price, count in zip(prices, tokens, strict=True))
        return sum(each, Decimal()) / 1_000_000


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    there = server()
    async with serving(there) as address:
        provider = OpenAIProvider(api_key=KEY, base_url=f"{address}/v1")
        yield Served(provider, there)
        await provider.close()


ASKED = ("n", "model", "size", "quality", "background", "output_format", "output_compression")
ASKED = (*ASKED, "moderation", "safety_identifier", "input_fidelity", "user", "stream")


def asked(served: Served) -> dict[str, Any]:
    return {name: value for name, value in served.facts.items() if name in ASKED}


async def test_what_is_left_open_is_not_sent(served: Served) -> None:
    await served.provider.call(served.request())
    assert asked(served) == {"n": 1, "model": "gpt-image-2"}
    assert served.facts["prompt_characters"] == len(PROMPT)


async def test_what_is_wanted_is_sent_under_openais_names(served: Served) -> None:
    wanted = {"quality": "high", "background": "opaque", "format": "webp", "compression": 60}
    await served.provider.call(
        served.request(1, 2, 3, size="1536x864", moderation="low", end_user="u-7f", **wanted)
    )
    assert asked(served) == {
        "n": 3,
        "model": "gpt-image-2",
        "size": "1536x864",
        "quality": "high",
        "background": "opaque",
        "output_format": "webp",
        "output_compression": 60,
        "moderation": "low",
        "safety_identifier": "u-7f",
    }


async def test_an_edit_is_not_asked_for_what_edits_do_not_take(served: Served) -> None:
    model = CAPABILITIES.model("gpt-image-1.5")
    references = (reference(),)
    await served.provider.call(
        served.request(model=model, references=references, moderation="low", fidelity="high")
    )
    assert asked(served) == {"n": 1, "model": "gpt-image-1.5", "input_fidelity": "high"}


@pytest.mark.parametrize(
    ("count", "fields"), [(1, ["image"]), (2, ["image[]"] * 2), (16, ["image[]"] * 16)]
)
async def test_one_reference_comes_in_another_field_than_several(
    served: Served, count: int, fields: list[str]
) -> None:
    references = tuple(map(reference, range(count)))
    await served.provider.call(served.request(references=references))
    assert served.switches.seen[-1].path == "/v1/images/edits"
    assert served.facts["files"] == fields


async def test_a_mask_goes_along_with_the_references(served: Served) -> None:
    await served.provider.call(served.request(references=(reference(),), mask=mask()))
    assert served.facts["files"] == ["image", "mask"]


async def test_a_mask_larger_than_openai_takes_is_not_sent(served: Served) -> None:
    large = replace(mask(), data=bytes(4 * 1024 * 1024))
    with pytest.raises(CallFailedError) as failed:
        await served.provider.call(served.request(references=(reference(),), mask=large))
    assert failed.value.failure.kind == "invalid_request"
    assert served.switches.seen == []


async def test_a_model_without_a_price_is_not_asked(served: Served) -> None:
    with pytest.raises(CallFailedError) as failed:
        await served.provider.call(replace(served.request(), model="gpt-image-9"))
    assert failed.value.failure.kind == "misconfigured"
    assert served.switches.seen == []


async def test_a_call_can_be_found_in_openais_logs_by_our_id_and_by_theirs(served: Served) -> None:
    answer = await served.provider.call(served.request(correlation_id="abc-123"))
    assert served.facts["client_request_id"] == "abc-123"
    assert answer.provider_request_id == served.facts["request_id"]


@pytest.mark.parametrize("correlation_id", ["größe", "a\r\nx-evil: 1", "x" * 513, ""])
async def test_an_id_that_no_header_takes_is_left_out(served: Served, correlation_id: str) -> None:
    await served.provider.call(served.request(correlation_id=correlation_id))
    assert "client_request_id" not in served.facts


async def test_the_sdk_does_not_repeat_by_itself(served: Served) -> None:
    await served.provider.call(served.request())
    assert served.facts["retry_count"] == "0"


@pytest.mark.parametrize(
    ("model", "prices"),
    [
        ("gpt-image-2", ("5", "8", "30")),
        ("gpt-image-2.6-sunburst", ("5", "8", "30")),
        ("gpt-image-1-mini", ("2", "2.5", "8")),
    ],
)
@pytest.mark.parametrize("details", [False, True])
async def test_the_cost_is_what_openai_bills_whether_or_not_output_is_split(
    served: Served, model: str, prices: tuple[str, ...], details: bool
) -> None:
    served.switches.tell(options={"output_details": details})
    offered = CAPABILITIES.model(model)
    references = (reference(1), reference(2))
    request = served.request(1, 2, model=offered, quality="high", references=references)
    answer = await served.provider.call(request)
    assert answer.cost.amount == served.bill(*prices) > 0
    text, image, made = served.facts["tokens"]
    assert answer.usage == {
        "text_input_tokens": text,
        "image_input_tokens": image,
        "text_output_tokens": 0,
        "image_output_tokens": made,
    }


async def test_text_alone_is_priced_as_text_where_input_is_not_split(served: Served) -> None:
    served.switches.tell(next=["no_input_details"])
    answer = await served.provider.call(served.request())
    assert answer.cost.amount == served.bill("5", "8", "30")


async def test_references_are_not_priced_too_low_where_input_is_not_split(served: Served) -> None:
    served.switches.tell(next=["no_input_details"])
    answer = await served.provider.call(served.request(references=(reference(),)))
    assert answer.cost.amount == served.bill("8", "8", "30")


@pytest.mark.parametrize("fault", ["no_usage", "odd_usage"])
async def test_pictures_are_kept_without_a_cost_where_what_was_used_is_not_told(
    served: Served, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    served.switches.tell(next=[fault])
    answer = await served.provider.call(served.request())
    assert (len(answer.pictures), answer.cost.amount, answer.usage) == (1, 0, {})
    assert "does not say what an answer used" in caplog.text


async def test_fewer_pictures_than_asked_for_are_an_answer(served: Served) -> None:
    served.switches.tell(next=["one_too_few", "one_more"])
    answers = [await served.provider.call(served.request(1, 2, 3)) for _ in range(2)]
    assert [len(answer.pictures) for answer in answers] == [2, 3]


async def test_an_answer_without_a_picture_has_its_id_and_its_cost(served: Served) -> None:
    served.switches.tell(next=["empty_data"])
    with pytest.raises(CallFailedError) as failed:
        await served.provider.call(served.request())
    assert failed.value.provider_request_id == served.facts["request_id"]
    assert failed.value.cost is not None
    assert failed.value.cost.amount == served.bill("5", "8", "30")


async def test_an_answer_that_is_larger_than_pictures_are_is_not_read(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "MAX_ANSWER_BYTES_PER_IMAGE", 100_000)
    served.switches.tell(options={"picture_bytes": 300_000})
    with pytest.raises(CallFailedError) as failed:
        await served.provider.call(served.request())
    assert failed.value.failure.kind == "no_image"
    assert "larger" in failed.value.failure.message


async def test_a_large_picture_arrives_whole(served: Served) -> None:
    served.switches.tell(options={"picture_bytes": 2_000_000})
    answer = await served.provider.call(served.request())
    assert len(answer.pictures[0].data) > 2_000_000


def test_all_models_of_the_sdk_are_offered_but_those_that_are_shut_down() -> None:
    named = {*get_args(ImageModel)}
    offered = {model.name for model in CAPABILITIES.models}
    assert named - offered == {"dall-e-2", "dall-e-3", "gpt-image-1"}
    assert offered <= named


@pytest.mark.parametrize(
    "model", [m for m in CAPABILITIES.models if m.free_sizes], ids=lambda m: m.name
)
def test_every_size_within_a_models_limits_is_one_that_openai_makes(model: Model) -> None:
    free = model.free_sizes
    assert free is not None
    sides = range(-(-free.shortest // free.step) * free.step, free.longest + 1, free.step)
    offered = [
        f"{width}x{height}"
        for width, height in product(sides, sides)
        if free.min_pixels <= width * height <= free.max_pixels
        and max(width, height) <= free.steepest * min(width, height)
    ]
    assert len(offered) > 1000
    assert all(map(MODELS[model.name].makes, offered))


async def test_a_model_is_in_trouble_alone_while_the_organization_is_not_verified(
    served: Served,
) -> None:
    served.switches.tell(options={"verified": False})
    newest = CAPABILITIES.model("gpt-image-2.6-flare")
    with pytest.raises(CallFailedError) as failed:
        await served.provider.call(served.request(model=newest))
    assert (failed.value.failure.kind, failed.value.failure.of_model) == ("misconfigured", True)
    assert (await served.provider.call(served.request())).pictures


async def test_another_key_is_refused_and_not_repeated_in_the_refusal(served: Served) -> None:
    there = served.provider._client.base_url
    stranger = OpenAIProvider(api_key="sk-somebody-elses-key", base_url=str(there))
    with pytest.raises(CallFailedError) as failed:
        await stranger.call(served.request())
    await stranger.close()
    assert failed.value.failure.kind == "misconfigured"
    assert "sk-somebody" not in str(failed.value)


async def test_the_settings_make_it(served: Served, tmp_path: Path) -> None:
    settings = load_settings(
        {
            "OPENAI_API_KEY": KEY,
            "OPENAI_BASE_URL": str(served.provider._client.base_url),
            "DARKROOM_DATA_DIR": str(tmp_path),
        }
    )
    made = Container(settings=settings).configured_providers()
    assert list(made) == ["openai"]
    try:
        assert (await made["openai"].call(served.request())).pictures
    finally:
        await made["openai"].close()


async def test_a_gateway_that_gives_up_leaves_the_outcome_unknown(served: Served) -> None:
    served.switches.tell(next=["gateway_timeout"])
    with pytest.raises(OutcomeUnknownError, match="504"):
        await served.provider.call(served.request())


ENVIRONMENT = {
    "OPENAI_API_KEY": "another",
    "OPENAI_ADMIN_KEY": "another",
    "OPENAI_BASE_URL": "",
    "OPENAI_ORG_ID": "org-of-somebody",
    "OPENAI_PROJECT_ID": "proj-of-somebody",
    "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer another\nX-Somebodys: own",
}


async def test_the_environment_chooses_neither_address_nor_account_nor_headers(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    there = served.provider._client.base_url
    provider = OpenAIProvider(api_key=KEY, base_url=str(there))

    assert (await provider.call(served.request())).pictures
    sent = provider._client.default_headers
    own = {name.lower() for name, value in sent.items() if isinstance(value, str)}
    assert own.isdisjoint({"openai-organization", "openai-project", "x-somebodys"})
    await provider.close()

    openais_own = OpenAIProvider(api_key=KEY)
    assert str(openais_own._client.base_url) == f"{adapter.BASE_URL}/"
    await openais_own.close()
