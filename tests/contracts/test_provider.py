"""What every provider does, wherever it paints: those in this process, and those that are asked."""

import asyncio
import logging
import traceback
from datetime import timedelta

import pytest

from application.ports.providers import CallFailedError, OutcomeUnknownError
from domain.failure import CONSEQUENCES
from domain.image import CONTENT_TYPES
from infrastructure.images import PillowInspector
from tests.contracts.asking import PROMPT, mask, reference, request_to
from tests.contracts.providers import every_error, every_provider
from tests.contracts.stages.stage import HANG, ServedStage, Stage
from tests.fakes_images import FAKE_CAPABILITIES, FakeProvider

AnyStage = Stage | ServedStage


@every_provider
async def test_an_answer_has_a_picture_for_every_image_asked_for(stage: AnyStage) -> None:
    async with stage.open() as on:
        most = on.provider.capabilities.models[0].images_per_call
        answer = await on.provider.call(request_to(on.provider, *range(1, most + 1)))
    assert len(answer.pictures) == most
    assert len({picture.data for picture in answer.pictures}) == most


@every_provider
async def test_a_picture_is_what_its_content_type_says(stage: AnyStage) -> None:
    async with stage.open() as on:
        formats = on.provider.capabilities.models[0].formats
        for format in (None, *formats):  # noqa: A001  # what the port calls it
            request = request_to(on.provider, format=format)
            picture = (await on.provider.call(request)).pictures[0]
            facts = await PillowInspector().inspect(picture.data)
            assert facts.content_type == picture.content_type
            assert picture.content_type in [
                CONTENT_TYPES[f] for f in (format and [format]) or formats
            ]


@every_provider
async def test_an_answer_costs_by_the_price_list_of_the_capabilities(stage: AnyStage) -> None:
    async with stage.open() as on:
        answer = await on.provider.call(request_to(on.provider))
    assert answer.cost.price_list == on.provider.capabilities.price_list
    assert answer.cost.currency == on.provider.capabilities.currency
    assert answer.cost.amount > 0


@every_provider
async def test_an_answer_can_be_found_again_at_the_provider_and_says_what_it_used(
    stage: AnyStage,
) -> None:
    async with stage.open() as on:
        answer = await on.provider.call(request_to(on.provider))
    assert answer.provider_request_id
    assert answer.usage
    assert all(count >= 0 for count in answer.usage.values())


@every_provider
async def test_every_model_has_a_name_of_its_own_and_a_price(stage: AnyStage) -> None:
    async with stage.open() as on:
        models = on.provider.capabilities.models
    assert len({model.name for model in models}) == len(models) > 0
    assert all(model.prices and min(model.prices.values()) >= 0 for model in models)


@every_provider
@pytest.mark.parametrize("count", [1, 4])
async def test_references_are_drawn_from_where_they_are_offered(
    stage: AnyStage, count: int
) -> None:
    async with stage.open() as on:
        models = [
            model
            for model in on.provider.capabilities.models
            if model.references and model.references.most >= count
        ]
        if not models:
            pytest.skip(f"{stage.name} takes fewer references")
        references = tuple(map(reference, range(1, count + 1)))
        request = request_to(on.provider, model=models[0], references=references)
        assert len((await on.provider.call(request)).pictures) == 1


@every_provider
async def test_a_mask_is_taken_where_it_is_offered(stage: AnyStage) -> None:
    async with stage.open() as on:
        models = [model for model in on.provider.capabilities.models if model.mask]
        if not models:
            pytest.skip(f"{stage.name} takes no mask")
        request = request_to(on.provider, model=models[0], references=(reference(),), mask=mask())
        assert len((await on.provider.call(request)).pictures) == 1


@every_error
async def test_each_error_comes_to_what_the_table_says(stage: AnyStage, error: str) -> None:
    expected = stage.errors[error]
    async with stage.open(error) as on:
        with pytest.raises(CallFailedError) as failed:
            await on.provider.call(request_to(on.provider))
    failure = failed.value.failure
    assert (failure.kind, failure.of_model) == (expected.kind, expected.of_model)
    wait = expected.retry_after
    assert failure.retry_after == (None if wait is None else timedelta(seconds=wait))
    assert (failed.value.cost is not None and failed.value.cost.amount > 0) == expected.costs


@every_provider
async def test_a_refusal_is_never_worth_a_repeat_and_a_passing_failure_is(stage: AnyStage) -> None:
    kinds = {outcome.kind for outcome in stage.errors.values()}
    refusals = kinds & {"moderation_input", "moderation_output"}
    passing = kinds & {"unavailable"}
    assert refusals, f"{stage.name} is never shown to refuse"
    assert passing, f"{stage.name} is never shown to fail"
    assert all(CONSEQUENCES[kind].repeats == 0 for kind in refusals)
    assert all(CONSEQUENCES[kind].repeats > 0 for kind in passing)


@every_error
async def test_no_error_and_no_log_line_repeats_prompt_or_key(
    stage: AnyStage, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with stage.open(error) as on:
        with pytest.raises(CallFailedError) as failed:
            await on.provider.call(request_to(on.provider))
    told = "".join(traceback.format_exception(failed.value)) + repr(failed.value) + caplog.text
    assert PROMPT not in told
    assert not isinstance(stage, ServedStage) or stage.secret not in told


@every_provider
async def test_no_log_line_of_a_call_that_is_answered_repeats_prompt_or_key(
    stage: AnyStage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with stage.open() as on:
        await on.provider.call(request_to(on.provider))
    assert PROMPT not in caplog.text
    assert not isinstance(stage, ServedStage) or stage.secret not in caplog.text


@every_provider
async def test_a_call_that_hangs_can_be_cancelled(stage: AnyStage) -> None:
    async with stage.open(HANG) as on:
        call = asyncio.create_task(on.provider.call(request_to(on.provider)))
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
