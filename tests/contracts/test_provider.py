"""What every provider does, shown over the one that paints and the one that is told its answers."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

import pytest

from application.ports.providers import CallFailedError, CallRequest, OutcomeUnknownError, Provider
from domain.failure import CONSEQUENCES, Failure
from domain.image import CONTENT_TYPES
from infrastructure.images import PillowInspector
from infrastructure.providers.sketch import SketchProvider
from infrastructure.settings_values import SketchFaults
from tests.fakes_images import FAKE_CAPABILITIES, HANG, FakeProvider

REFUSED = CallFailedError(Failure(kind="moderation_input", message="Refused, as told."))
FAILED = CallFailedError(Failure(kind="unavailable", message="Failed, as told."))

WILLING: dict[str, Callable[[], Provider]] = {
    "sketch": SketchProvider,
    "fake": FakeProvider,
}
REFUSING: dict[str, Callable[[], Provider]] = {
    "sketch": lambda: SketchProvider(faults=SketchFaults(refuse=1)),
    "fake": lambda: FakeProvider([REFUSED]),
}
FAILING: dict[str, Callable[[], Provider]] = {
    "sketch": lambda: SketchProvider(faults=SketchFaults(fail=1)),
    "fake": lambda: FakeProvider([FAILED]),
}
HANGING: dict[str, Callable[[], Provider]] = {
    "sketch": lambda: SketchProvider(faults=SketchFaults(hang=1)),
    "fake": lambda: FakeProvider([HANG]),
}
NAMES = ["sketch", "fake"]


def request_to(provider: Provider, *images: int, size: str | None = "64x64") -> CallRequest:
    return CallRequest(
        generation=uuid4(),
        call=1,
        images=images or (1,),
        prompt="a lighthouse",
        model=provider.capabilities.models[0].name,
        size=size,
    )


@pytest.mark.parametrize("name", NAMES)
async def test_an_answer_has_a_picture_for_every_image_asked_for(name: str) -> None:
    provider = WILLING[name]()
    answer = await provider.call(request_to(provider))
    assert len(answer.pictures) == 1


@pytest.mark.parametrize("name", NAMES)
async def test_a_picture_is_what_its_content_type_says(name: str) -> None:
    provider = WILLING[name]()
    picture = (await provider.call(request_to(provider))).pictures[0]
    facts = await PillowInspector().inspect(picture.data)
    assert facts.content_type == picture.content_type
    assert picture.content_type in [
        CONTENT_TYPES[f] for f in provider.capabilities.models[0].formats
    ]


@pytest.mark.parametrize("name", NAMES)
async def test_an_answer_costs_by_the_price_list_of_the_capabilities(name: str) -> None:
    provider = WILLING[name]()
    answer = await provider.call(request_to(provider))
    assert answer.cost.price_list == provider.capabilities.price_list
    assert answer.cost.amount > 0
    assert answer.cost.currency == "USD"


@pytest.mark.parametrize("name", NAMES)
async def test_no_call_is_made_for_more_images_than_one_call_makes(name: str) -> None:
    provider = WILLING[name]()
    with pytest.raises(CallFailedError) as failed:
        await provider.call(request_to(provider, 1, 2))
    assert failed.value.failure.kind == "invalid_request"


@pytest.mark.parametrize("name", NAMES)
async def test_a_refusal_is_never_worth_a_repeat(name: str) -> None:
    provider = REFUSING[name]()
    with pytest.raises(CallFailedError) as refused:
        await provider.call(request_to(provider))
    assert CONSEQUENCES[refused.value.failure.kind].repeats == 0


@pytest.mark.parametrize("name", NAMES)
async def test_a_passing_failure_is_worth_a_repeat(name: str) -> None:
    provider = FAILING[name]()
    with pytest.raises(CallFailedError) as failed:
        await provider.call(request_to(provider))
    assert CONSEQUENCES[failed.value.failure.kind].repeats > 0


@pytest.mark.parametrize("name", NAMES)
async def test_a_failure_does_not_repeat_the_prompt(name: str) -> None:
    for provider in (REFUSING[name](), FAILING[name]()):
        with pytest.raises(CallFailedError) as failed:
            await provider.call(request_to(provider))
        assert "lighthouse" not in str(failed.value)


@pytest.mark.parametrize("name", NAMES)
async def test_a_call_that_hangs_can_be_cancelled(name: str) -> None:
    provider = HANGING[name]()
    call = asyncio.create_task(provider.call(request_to(provider)))
    done, _ = await asyncio.wait([call], timeout=0.05)
    assert not done
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_the_fake_keeps_what_it_was_asked_and_gives_what_it_was_told() -> None:
    provider = FakeProvider([OutcomeUnknownError("The connection was lost.")])
    request = request_to(provider)
    with pytest.raises(OutcomeUnknownError):
        await provider.call(request)
    assert provider.asked == [request]
    assert provider.capabilities == FAKE_CAPABILITIES
