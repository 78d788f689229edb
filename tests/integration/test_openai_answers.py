"""What OpenAI answers with 200, and what it costs: tokens, missing pictures, too many bytes."""

import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from application.ports.providers import CallFailedError
from infrastructure.providers import openai as adapter
from infrastructure.providers.openai import CAPABILITIES
from infrastructure.providers.openai_answer import read
from tests.contracts.asking import mask, reference
from tests.integration.openai_calls import Served, served_openai


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """The adapter and its other side."""
    async with served_openai() as both:
        yield both


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
@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"size": "1536x1024", "quality": "high"},
        {"references": (reference(1), reference(2)), "mask": mask()},
    ],
)
async def test_a_cost_is_estimated_where_what_was_used_is_not_told(
    served: Served, fault: str, wanted: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    served.switches.tell(next=[fault])
    answer = await served.provider.call(served.request(1, 2, **wanted))
    assert (len(answer.pictures), answer.usage) == (2, {})
    assert answer.cost.amount == served.bill("5", "8", "30") > 0
    assert "does not say what an answer used" in caplog.text


@pytest.mark.parametrize(
    "split",
    [
        {},
        {"text_tokens": 0, "image_tokens": 0},
        {"text_tokens": 20},
        {"text_tokens": None, "image_tokens": 50},
        {"image_tokens": 50},
        {"image_tokens": "many"},
        "odd",
        None,
    ],
)
async def test_tokens_that_a_split_does_not_tell_of_are_paid_all_the_same(
    served: Served, split: object
) -> None:
    usage = {"output_tokens_details": split, "input_tokens_details": split}
    served.switches.tell(options={"usage": usage})
    answer = await served.provider.call(served.request())
    _, _, made = served.facts["tokens"]
    usage = dict(answer.usage)
    assert usage["text_output_tokens"] + usage["image_output_tokens"] == made
    assert answer.cost.amount >= served.bill("5", "8", "30")


async def test_usage_that_tells_of_nothing_is_no_usage(served: Served) -> None:
    served.switches.tell(options={"usage": {"input_tokens": None, "output_tokens": 0}})
    answer = await served.provider.call(served.request())
    assert answer.cost.amount == served.bill("5", "8", "30")


async def test_fewer_pictures_than_asked_for_are_an_answer(served: Served) -> None:
    served.switches.tell(next=["one_too_few", "one_more"])
    answers = [await served.provider.call(served.request(1, 2, 3)) for _ in range(2)]
    assert [len(answer.pictures) for answer in answers] == [2, 3]


async def test_what_is_odd_in_one_picture_spoils_none_of_the_others(served: Served) -> None:
    served.switches.tell(next=["odd_image"])
    answer = await served.provider.call(served.request(1, 2, 3))
    assert len(answer.pictures) == 2
    assert answer.cost.amount == served.bill("5", "8", "30")


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


async def test_many_pictures_are_not_read_beyond_what_a_process_may_hold(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "MAX_ANSWER_BYTES", 500_000)
    served.switches.tell(options={"picture_bytes": 150_000})
    assert (await served.provider.call(served.request(1, 2))).pictures
    with pytest.raises(CallFailedError, match="larger than 500000 bytes"):
        await served.provider.call(served.request(1, 2, 3))


async def test_answers_are_read_beside_everything_else(served: Served) -> None:
    readers = set[int]()

    def reading(*answer: Any) -> Any:
        readers.add(threading.get_ident())
        return read(*answer)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(adapter, "read", reading)
        assert (await served.provider.call(served.request())).pictures
    assert readers
    assert threading.get_ident() not in readers


async def test_a_large_picture_arrives_whole(served: Served) -> None:
    served.switches.tell(options={"picture_bytes": 2_000_000})
    answer = await served.provider.call(served.request())
    assert len(answer.pictures[0].data) > 2_000_000
