"""What is OpenAI's alone: its fields, its tokens and their price, its ids. Through its own SDK."""

from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest
from openai.types import ImageModel

from application.ports.providers import (
    CallFailedError,
    Model,
    OutcomeUnknownError,
    Picture,
)
from infrastructure.container import Container
from infrastructure.providers.openai import BASE_URL, CAPABILITIES, OpenAIProvider
from infrastructure.settings import load_settings
from tests.contracts.asking import PROMPT, mask, reference
from tests.integration.openai_calls import Served, served_openai
from tests.servers.openai import KEY
from tests.servers.openai_errors import FLOOD_BYTES, MOVED
from tests.servers.openai_models import MODELS


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """The adapter and its other side."""
    async with served_openai() as both:
        yield both


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


async def test_a_refusal_is_not_read_without_end(served: Served) -> None:
    served.switches.tell(next=["flood"])
    with pytest.raises(CallFailedError) as failed:
        await served.provider.call(served.request())
    assert failed.value.failure.kind == "invalid_request"
    assert served.facts["flood"] < FLOOD_BYTES / 2  # what the sockets hold is taken, too


async def test_nothing_is_unpacked_that_came_compressed(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    await served.provider.call(served.request())
    assert served.facts["accept_encoding"] == "identity"
    served.switches.tell(next=["compressed"])
    with pytest.raises(CallFailedError) as failed:
        await served.provider.call(served.request())
    assert failed.value.failure.kind == "no_image"
    assert "came compressed" in caplog.text


@pytest.mark.parametrize("fault", MOVED)
@pytest.mark.parametrize("references", [(), (reference(),)])
async def test_a_prompt_is_sent_nowhere_else(
    served: Served, fault: str, references: tuple[Picture, ...]
) -> None:
    served.switches.tell(next=[fault])
    with pytest.raises(CallFailedError) as failed:
        await served.provider.call(served.request(references=references))
    assert failed.value.failure.kind == "misconfigured"
    assert "OPENAI_BASE_URL" in failed.value.failure.message
    assert len(served.switches.seen) == 1


@pytest.mark.parametrize("references", [(), (reference(),)])
async def test_words_that_no_request_can_carry_are_refused(
    served: Served, references: tuple[Picture, ...]
) -> None:
    request = replace(served.request(references=references), prompt="a cat \ud800")
    with pytest.raises(CallFailedError) as failed:
        await served.provider.call(request)
    assert failed.value.failure.kind == "invalid_request"
    assert failed.value.__suppress_context__
    assert served.switches.seen == []


@pytest.mark.parametrize(
    "wrong", [{"api_key": "sk-é"}, {"api_key": "sk-x\n"}, {"base_url": "openai.example/v1"}]
)
async def test_a_key_or_an_address_that_cannot_be_used_is_the_operators_to_change(
    served: Served, wrong: dict[str, str]
) -> None:
    made: dict[str, Any] = {"api_key": KEY, "base_url": str(served.provider._client.base_url)}
    provider = OpenAIProvider(**{**made, **wrong})
    with pytest.raises(CallFailedError) as failed:
        await provider.call(served.request())
    await provider.close()
    assert (failed.value.failure.kind, served.switches.seen) == ("misconfigured", [])
    assert "OPENAI_API_KEY and OPENAI_BASE_URL" in failed.value.failure.message


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
    assert str(openais_own._client.base_url) == f"{BASE_URL}/"
    await openais_own.close()
