"""What every provider does that is asked over a connection: through its own SDK, to its server."""

import asyncio
import logging
import socket
import traceback

import pytest

from application.ports.providers import CallFailedError, OutcomeUnknownError
from tests.contracts.asking import PROMPT, mask, reference, request_to, sizes_of
from tests.contracts.providers import every_loss, every_served_provider
from tests.contracts.stages.stage import HANG, PATIENCE, OnStage, ServedStage
from tests.servers import protocol
from tests.servers.protocol import TRANSPORT_FAULTS, Seen


def seen_by(on: OnStage) -> list[Seen]:
    assert on.server is not None
    return on.server.switches.seen


@every_served_provider
def test_what_every_fault_of_the_server_comes_to_is_told(stage: ServedStage) -> None:
    faults = set(stage.server().switches.faults) - set(TRANSPORT_FAULTS)
    told = [*stage.errors, *stage.harmless, *stage.lost]
    assert sorted(faults) == sorted(told)


@every_served_provider
async def test_a_call_is_one_request_and_paid_once(stage: ServedStage) -> None:
    async with stage.open() as on:
        await on.provider.call(request_to(on.provider))
        assert [seen.billed for seen in seen_by(on)] == [True]


@every_served_provider
async def test_nothing_is_sent_again_after_an_error(stage: ServedStage) -> None:
    async with stage.open(*stage.errors) as on:
        for _ in stage.errors:
            with pytest.raises(CallFailedError):
                await on.provider.call(request_to(on.provider))
        assert [seen.fault for seen in seen_by(on)] == [*stage.errors]


@every_served_provider
async def test_there_is_a_picture_after_a_harmless_fault(stage: ServedStage) -> None:
    async with stage.open(*stage.harmless) as on:
        for fault in stage.harmless:
            assert (await on.provider.call(request_to(on.provider))).pictures, fault


@every_loss
async def test_a_lost_connection_leaves_the_outcome_unknown_and_nothing_is_sent_again(
    stage: ServedStage, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with stage.open(fault) as on:
        with pytest.raises(OutcomeUnknownError) as lost:
            await on.provider.call(request_to(on.provider))
        assert [seen.fault for seen in seen_by(on)] == [fault]
    told = "".join(traceback.format_exception(lost.value)) + caplog.text
    assert PROMPT not in told
    assert stage.secret not in told


@every_served_provider
async def test_no_answer_in_time_leaves_the_outcome_unknown(stage: ServedStage) -> None:
    async with stage.open(HANG, patience=0.2) as on:
        with pytest.raises(OutcomeUnknownError):
            await on.provider.call(request_to(on.provider))
        assert len(seen_by(on)) == 1


@every_served_provider
async def test_a_connection_that_cannot_be_made_is_worth_a_repeat(stage: ServedStage) -> None:
    with socket.socket() as nobody:  # bound, and not listening: the port is refused
        nobody.bind(("127.0.0.1", 0))
        provider = stage.made_at(f"http://127.0.0.1:{nobody.getsockname()[1]}", PATIENCE)
        try:
            with pytest.raises(CallFailedError) as failed:
                await provider.call(request_to(provider))
        finally:
            await provider.close()
    assert failed.value.failure.kind == "unavailable"
    assert not failed.value.failure.of_model


@every_served_provider
async def test_an_answer_that_comes_slowly_is_whole(
    stage: ServedStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "DRIP_SECONDS", 0.005)
    async with stage.open("drip") as on:
        assert (await on.provider.call(request_to(on.provider))).pictures


@every_served_provider
async def test_the_next_call_after_a_lost_one_is_answered(stage: ServedStage) -> None:
    async with stage.open("drop") as on:
        with pytest.raises(OutcomeUnknownError):
            await on.provider.call(request_to(on.provider))
        assert (await on.provider.call(request_to(on.provider))).pictures


@every_served_provider
async def test_the_server_takes_whatever_a_model_offers(stage: ServedStage) -> None:
    async with stage.open() as on:
        for model in on.provider.capabilities.models:
            wishes: list[dict[str, object]] = [
                *({"size": size} for size in sizes_of(model)),
                *({"quality": quality} for quality in model.qualities),
                *({"format": name} for name in model.formats),
                *([{"format": "jpeg", "compression": 50}] if model.compression else []),
                *([{"background": "transparent"}] if model.transparency else []),
                *([{"moderation": "low"}] if model.moderation else []),
                *([{"negative_prompt": "people"}] if model.negative_prompt else []),
                *([{"seed": 7}] if model.seed else []),
                {"end_user": "a1b2c3", "correlation_id": "c-1"},
            ]
            for wish in wishes:
                answer = await on.provider.call(request_to(on.provider, model=model, **wish))
                assert len(answer.pictures) == 1, (model.name, wish)


@every_served_provider
async def test_as_many_references_arrive_as_a_model_offers(stage: ServedStage) -> None:
    async with stage.open() as on:
        for model in on.provider.capabilities.models:
            most = model.references.most if model.references else 0
            for count in {min(1, most), min(4, most), most} - {0}:
                references = tuple(map(reference, range(1, count + 1)))
                masked = {"mask": mask()} if model.mask else {}
                request = request_to(on.provider, model=model, references=references, **masked)
                await on.provider.call(request)
                assert seen_by(on)[-1].facts["references"] == count, model.name


@every_served_provider
async def test_no_call_is_made_over_a_connection_that_the_other_side_may_be_closing(
    stage: ServedStage,
) -> None:
    async with stage.open() as on:
        for _ in range(3):
            await on.provider.call(request_to(on.provider))
        assert len({seen.connection for seen in seen_by(on)}) == 3


@every_served_provider
async def test_calls_at_once_get_each_its_own_answer(stage: ServedStage) -> None:
    async with stage.open() as on:
        calls = [on.provider.call(request_to(on.provider)) for _ in range(5)]
        answers = await asyncio.gather(*calls)
    assert len({answer.provider_request_id for answer in answers}) == 5
