"""What a worker does while a store, the image store or the spool is away or full."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from application import pictures
from application.ports.event_store import StoreUnavailableError
from application.ports.images import ObjectTooLargeError
from application.ports.providers import Answer, CallFailedError, CallRequest
from domain.failure import Failure
from tests.fakes_images import answer_to, small_png
from tests.generations import reference_image
from tests.studio import Studio, at_once, never


async def test_pictures_that_are_safe_are_recorded_whatever_looking_at_them_raises(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, broken = studio.images.holds, ValueError("nobody expected this")

    async def break_once(key: str, *, sha256: str) -> bool:
        monkeypatch.setattr(studio.images, "holds", looked)
        raise broken

    monkeypatch.setattr(studio.images, "holds", break_once)
    generation = await studio.perform(await studio.place())
    assert (generation.status, len(studio.provider.asked)) == ("completed", 1)


async def test_an_image_store_that_does_not_show_a_picture_soon_delays_the_end_alone(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "CONFIRM_SECONDS", 0.01)
    ref = await studio.place()
    looked = studio.images.holds
    looks = 0

    async def slow_look(key: str, *, sha256: str) -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            await asyncio.sleep(60)
        return await looked(key, sha256=sha256)

    monkeypatch.setattr(studio.images, "holds", slow_look)
    generation = await studio.perform(ref)
    assert generation.status == "completed"
    assert await studio.trail(ref) == ["requested", "call_started", "call_answered", "completed"]
    assert looks == 2


async def test_what_happened_is_recorded_although_the_store_was_away(studio: Studio) -> None:
    ref = await studio.place()
    away = StoreUnavailableError("away")

    async def call_while_the_store_goes(request: CallRequest) -> Answer:
        studio.store.fail_next = [away, away]
        return answer_to(request)

    studio.provider.told = [call_while_the_store_goes]
    assert (await studio.perform(ref)).status == "completed"
    assert studio.store.fail_next == []


async def test_a_store_that_is_away_when_it_is_to_be_read_is_waited_for(studio: Studio) -> None:
    ref = await studio.place()
    studio.store.fail_next_read = [StoreUnavailableError("away")]
    assert (await studio.perform(ref)).status == "completed"
    assert studio.store.fail_next_read == []


async def test_a_call_is_not_lost_because_the_store_was_away_after_a_conflict(
    studio: Studio,
) -> None:
    ref = await studio.place()

    async def cancelled_meanwhile(request: CallRequest) -> Answer:
        await studio.cancel(ref)
        studio.store.fail_next_read = [StoreUnavailableError("away")]
        return answer_to(request)

    studio.provider.told = [cancelled_meanwhile]
    assert (await studio.perform(ref)).calls[1].outcome == "answered"


async def test_a_spooled_picture_is_not_given_up_while_the_store_is_away(studio: Studio) -> None:
    ref = await studio.place()
    studio.images.unavailable = True
    await studio.perform(ref)
    studio.images.unavailable = False
    studio.spool.fail_next_read = [StoreUnavailableError("away")]
    studio.clock.advance(seconds=10)
    assert (await studio.perform(ref)).status == "completed"
    assert studio.spool.kept == {}


async def test_an_outage_of_the_image_storenever_costs_a_second_call(studio: Studio) -> None:
    ref = await studio.place()
    studio.images.unavailable = True
    assert (await studio.perform(ref)).status == "processing"
    assert len(studio.spool.kept) == 1
    studio.images.unavailable = False
    studio.clock.advance(seconds=5)
    generation = await studio.perform(ref)
    assert generation.status == "completed"
    assert generation.published[0].held == "store"
    assert studio.spool.kept == {}
    assert len(studio.provider.asked) == 1


async def test_a_full_spool_fails_it_with_the_cost_recorded(studio: Studio) -> None:
    ref = await studio.place()
    studio.images.unavailable = True
    await studio.spool.put("somebody's", bytes(1_000_000))
    generation = await studio.perform(ref)
    assert generation.error is not None
    assert generation.error[0] == "image_store_unavailable"
    assert generation.calls[1].cost is not None
    assert studio.units() == {0}


async def too_large() -> None:
    raise ObjectTooLargeError


async def test_a_picture_that_is_too_large_for_the_image_store_fails_it_at_once(
    studio: Studio,
) -> None:
    ref = await studio.place()
    studio.images.before_put = too_large
    generation = await studio.perform(ref)
    assert generation.error is not None
    assert generation.error[0] == "image_store_unavailable"
    assert generation.calls[1].cost is not None
    assert studio.spool.kept == {}
    assert len(studio.provider.asked) == 1
    assert studio.units() == {0}


async def test_one_that_turns_out_too_large_on_its_way_out_of_the_spool_too(
    studio: Studio,
) -> None:
    ref = await studio.place()
    studio.images.unavailable = True
    await studio.perform(ref)
    studio.images.unavailable = False
    studio.images.before_put = too_large
    studio.clock.advance(seconds=5)
    generation = await studio.perform(ref)
    assert generation.error is not None
    assert generation.error[0] == "image_store_unavailable"
    assert studio.spool.kept == {}
    assert len(studio.provider.asked) == 1


async def test_the_other_pictures_are_completed_without_it(studio: Studio) -> None:
    ref = await studio.place(count=2)
    studio.images.unavailable = True
    await studio.perform(ref)
    studio.images.unavailable = False
    puts = iter([too_large])

    async def the_first_is_too_large() -> None:
        for refuse in puts:
            await refuse()

    studio.images.before_put = the_first_is_too_large
    studio.clock.advance(seconds=5)
    generation = await studio.perform(ref)
    assert (generation.status, generation.missing) == ("completed", 1)
    assert studio.spool.kept == {}
    assert studio.units() == {1}


async def test_an_unreadable_reference_is_waited_for_and_no_call_is_made(studio: Studio) -> None:
    ref = await studio.place(references=(reference_image(),))
    studio.images.unavailable = True
    assert (await studio.perform(ref)).status == "queued"
    studio.images.unavailable = False
    studio.images.objects[reference_image().key] = small_png("reference")
    studio.clock.advance(seconds=5)
    assert (await studio.perform(ref)).status == "completed"
    assert len(studio.provider.asked[0].references) == 1
    assert (await studio.trail(ref)).count("call_started") == 1


async def test_a_reference_that_is_gone_fails_it_without_a_call(studio: Studio) -> None:
    ref = await studio.place(references=(reference_image(),))
    generation = await studio.perform(ref)
    assert generation.error is not None
    assert generation.error[0] == "reference_gone"
    assert await studio.trail(ref) == ["requested", "failed"]
    assert studio.units() == {0}


async def test_what_lay_in_the_spool_at_the_deadline_is_forgotten(studio: Studio) -> None:
    ref = await studio.place(deadline=timedelta(seconds=60))
    studio.images.unavailable = True
    await studio.perform(ref)
    assert len(studio.spool.kept) == 1
    studio.clock.advance(seconds=61)
    generation = await studio.perform(ref)
    assert generation.error is not None
    assert generation.error[0] == "image_store_unavailable"
    assert studio.spool.kept == {}


async def test_an_image_store_that_does_not_answer_is_away(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "IMAGE_STORE_SECONDS", 0.01)
    studio.images.before_put = never
    ref = await studio.place()
    await studio.perform(ref)
    assert len(studio.spool.kept) == 1
    studio.images.before_put = None
    studio.clock.advance(seconds=5)
    assert (await studio.perform(ref)).status == "completed"


async def test_an_answer_that_cannot_be_kept_is_recorded_with_its_cost(studio: Studio) -> None:
    ref = await studio.place()

    async def broken() -> None:
        raise RuntimeError("a bug in an image store")

    studio.images.before_put = broken
    generation = await studio.perform(ref)
    assert generation.error is not None
    assert generation.error[0] == "image_store_unavailable"
    assert generation.calls[1].cost is not None


async def test_pictures_that_are_nobodys_go_when_the_image_store_is_back(studio: Studio) -> None:
    ref = await studio.place(count=2)
    studio.provider.told = [at_once, CallFailedError(Failure(kind="unavailable"))]
    await studio.perform(ref)
    await studio.cancel(ref)
    studio.images.unavailable = True
    studio.clock.advance(seconds=10)
    await studio.perform(ref)
    assert studio.store.work["generate", ref].worker is None
    studio.images.unavailable = False
    studio.clock.advance(seconds=10)
    await studio.perform(ref)
    assert studio.images.objects == {}
    assert studio.store.work == {}
