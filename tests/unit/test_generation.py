"""Decisions of a generation: given what was recorded, when this is asked, then that is decided."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest

from domain.attempts import Want
from domain.failure import Failure, FailureKind
from domain.generation import (
    CUT_OFF,
    Ask,
    Finish,
    Generation,
    GenerationClosedError,
    GenerationOpenError,
    Wait,
    Wish,
)
from domain.quota import windows_at
from tests.generations import (
    COST,
    HOUR,
    decisions,
    new_generation,
    recorded,
    reference_image,
    stored_image,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SOMEBODY = uuid4()


def queued(count: int = 1, **wanted: object) -> Generation:
    return recorded(new_generation(NOW, count=count, **wanted), NOW)


def ask(*images: int, doubted: frozenset[str] = frozenset(), later: datetime | None = None) -> Ask:
    return Ask((Want(images, doubted=doubted),), later)


def start(generation: Generation, *images: int) -> int:
    return generation.start_call(provider="sketch", model="sketch-1", images=images)


def answer(generation: Generation, call: int, *images: int, late: bool = False) -> None:
    generation.answer_call(
        call,
        provider_request_id="r-1",
        usage={"images": len(images)},
        cost=COST,
        images=tuple(stored_image(generation.id, number) for number in images),
        late=late,
    )


def fail(generation: Generation, call: int, kind: FailureKind, jitter: float = 1.0) -> None:
    generation.fail_call(call, Failure(kind=kind), now=NOW, jitter=jitter)


def finish(generation: Generation, now: datetime = NOW) -> None:
    urls = {number: f"https://pictures/{number}" for number in generation.images}
    generation.finish(urls=urls, now=now)


def test_a_new_generation_is_queued_and_asks_for_all_its_images() -> None:
    generation = queued(count=3)
    assert generation.status == "queued"
    assert generation.units == 3
    assert generation.next_step(NOW) == ask(1, 2, 3)


def test_a_started_call_makes_it_processing_and_its_images_are_not_asked_for_again() -> None:
    generation = queued(count=3)
    start(generation, 1, 2)
    assert generation.status == "processing"
    assert generation.next_step(NOW) == ask(3)


def test_answered_in_full_it_completes_with_every_image() -> None:
    generation = queued(count=2)
    answer(generation, start(generation, 1, 2), 1, 2)
    assert generation.next_step(NOW) == Finish()
    finish(generation)
    assert generation.status == "completed"
    assert [image.url for image in generation.published] == [
        "https://pictures/1",
        "https://pictures/2",
    ]
    assert (generation.missing, generation.units_to_return) == (0, 0)


def test_an_answer_with_fewer_images_leads_to_a_call_for_the_missing_ones() -> None:
    generation = queued(count=3)
    answer(generation, start(generation, 1, 2, 3), 1, 3)
    assert generation.next_step(NOW) == ask(2)


def test_some_images_given_up_complete_it_with_fewer_and_return_their_units() -> None:
    generation = queued(count=2)
    answer(generation, start(generation, 1), 1)
    fail(generation, start(generation, 2), "moderation_output")
    assert generation.next_step(NOW) == Finish()
    finish(generation)
    assert (generation.status, generation.missing) == ("completed", 1)
    assert generation.units_to_return == 1


def test_without_any_image_it_fails_with_the_last_kind_and_returns_all_units() -> None:
    generation = queued(count=2)
    fail(generation, start(generation, 1, 2), "moderation_input")
    finish(generation)
    assert generation.status == "failed"
    assert generation.error is not None
    assert generation.error[0] == "moderation_input"
    assert generation.units_to_return == 2


def test_a_failure_that_may_pass_is_waited_out() -> None:
    generation = queued()
    fail(generation, start(generation, 1), "unavailable")
    step = generation.next_step(NOW)
    assert step == Wait(until=NOW + timedelta(seconds=0.5))
    assert generation.next_step(NOW + timedelta(seconds=0.5)) == ask(1)


def test_waits_double_and_the_images_are_given_up_after_the_allowed_repeats() -> None:
    generation, now = queued(), NOW
    waits = []
    while not isinstance(step := generation.next_step(now), Finish):
        if isinstance(step, Wait):
            waits.append((step.until - NOW).total_seconds())
            now = step.until
        else:
            fail(generation, start(generation, 1), "unavailable")
    assert waits == [0.5, 1.0, 2.0, 4.0]
    assert len(generation.calls) == 5


@pytest.mark.parametrize("kind", ["invalid_request", "misconfigured", "out_of_funds"])
def test_a_failure_that_will_not_pass_is_not_repeated(kind: FailureKind) -> None:
    generation = queued()
    fail(generation, start(generation, 1), kind)
    assert generation.next_step(NOW) == Finish()


def test_a_lost_call_is_repeated_once_when_a_repeat_costs() -> None:
    generation = queued()
    generation.lose_call(start(generation, 1), reason="killed", repeat_costs=True)
    assert generation.next_step(NOW) == ask(1, doubted=frozenset({"sketch"}))
    generation.lose_call(start(generation, 1), reason="killed", repeat_costs=True)
    assert generation.next_step(NOW) == Finish()
    finish(generation)
    assert generation.error is not None
    assert generation.error[0] == "outcome_unknown"


def test_a_lost_call_is_not_repeated_when_the_request_forbids_it() -> None:
    generation = queued(on_unknown="fail")
    generation.lose_call(start(generation, 1), reason="killed", repeat_costs=True)
    assert generation.next_step(NOW) == Finish()


def test_a_lost_call_that_costs_nothing_is_repeated_a_bounded_number_of_times() -> None:
    generation = queued(on_unknown="fail")
    while isinstance(generation.next_step(NOW), Ask):
        generation.lose_call(start(generation, 1), reason="killed", repeat_costs=False)
    assert len(generation.calls) == 6


def test_a_late_answer_gives_an_open_generation_its_images() -> None:
    generation = queued()
    call = start(generation, 1)
    generation.lose_call(call, reason="lease ended", repeat_costs=True)
    answer(generation, call, 1)
    assert decisions(generation)[-1] == "CallAnsweredLate"
    assert generation.next_step(NOW) == Finish()
    finish(generation)
    assert generation.status == "completed"


def test_a_late_answer_leaves_a_closed_generation_its_result_and_adds_the_cost() -> None:
    generation = queued()
    call = start(generation, 1)
    generation.cancel(by=SOMEBODY)
    answer(generation, call, 1)
    assert decisions(generation)[-1] == "CallAnsweredLate"
    assert generation.status == "cancelled"
    assert generation.images == {}
    assert generation.calls[call].cost == COST
    assert generation.objects == (stored_image(generation.id, 1).key,)


def test_the_answer_of_a_fenced_worker_is_late_although_nobody_took_over() -> None:
    generation = queued()
    call = start(generation, 1)
    answer(generation, call, 1, late=True)
    assert decisions(generation)[-1] == "CallAnsweredLate"
    assert generation.next_step(NOW) == Finish()


def test_the_first_of_two_answers_for_an_image_is_kept() -> None:
    generation = queued()
    first = start(generation, 1)
    generation.lose_call(first, reason="lease ended", repeat_costs=True)
    second = start(generation, 1)
    answer(generation, first, 1)
    kept = generation.images[1]
    answer(generation, second, 1)
    assert generation.images[1] is kept
    assert generation.calls[second].cost == COST


def test_a_failure_of_a_call_that_was_given_up_changes_nothing() -> None:
    generation = queued()
    call = start(generation, 1)
    generation.lose_call(call, reason="killed", repeat_costs=True)
    before = decisions(generation)
    fail(generation, call, "unavailable")
    generation.lose_call(call, reason="killed", repeat_costs=True)
    assert decisions(generation) == before


def test_after_the_deadline_it_ends_with_what_there_is() -> None:
    generation = queued(count=2, deadline=timedelta(minutes=1))
    answer(generation, start(generation, 1), 1)
    late = NOW + timedelta(minutes=1)
    assert generation.next_step(late) == Finish()
    finish(generation, now=late)
    assert (generation.status, generation.missing) == ("completed", 1)


def test_after_the_deadline_without_any_image_it_fails_and_says_so() -> None:
    generation = queued(deadline=timedelta(minutes=1))
    finish(generation, now=NOW + timedelta(minutes=2))
    assert generation.error is not None
    assert generation.error[0] == "deadline_passed"


def test_a_wait_never_goes_beyond_the_deadline() -> None:
    generation = queued(deadline=timedelta(seconds=10))
    failure = Failure(kind="rate_limited", retry_after=timedelta(seconds=60))
    generation.fail_call(start(generation, 1), failure, now=NOW, jitter=0.0)
    assert generation.next_step(NOW) == Wait(until=NOW + timedelta(seconds=10))


def test_a_final_state_is_final() -> None:
    generation = queued()
    answer(generation, start(generation, 1), 1)
    finish(generation)
    with pytest.raises(GenerationClosedError, match="is completed and stays so"):
        generation.cancel(by=SOMEBODY)
    with pytest.raises(GenerationClosedError):
        finish(generation)
    with pytest.raises(GenerationClosedError):
        start(generation, 1)


def test_a_second_cancellation_changes_nothing() -> None:
    generation = queued()
    generation.cancel(by=SOMEBODY)
    generation.cancel(by=SOMEBODY)
    assert decisions(generation) == ["Cancelled"]
    assert generation.units_to_return == 1


def test_what_a_cancelled_generations_call_came_to_is_recorded_and_nothing_repeated() -> None:
    generation = queued(count=2)
    failing, losing = start(generation, 1), start(generation, 2)
    generation.cancel(by=SOMEBODY)
    generation.fail_call(failing, Failure(kind="unavailable"), now=NOW, jitter=0.5, cost=COST)
    generation.lose_call(losing, reason="its worker is gone", repeat_costs=False)
    assert [call.outcome for call in generation.calls.values()] == ["failed", "lost"]
    assert generation.calls[failing].cost == COST
    assert generation.status == "cancelled"
    failed, lost = generation.pending_events[-2:]
    assert isinstance(failed, Generation.CallFailed)
    assert failed.retry_at is None
    assert isinstance(lost, Generation.CallLost)
    assert not lost.repeat


def test_a_retry_asks_for_the_same_again() -> None:
    generation = queued(
        count=2, references=(reference_image(),), mask=reference_image(), on_unknown="fail"
    )
    fail(generation, start(generation, 1, 2), "moderation_input")
    finish(generation)
    again = generation.retry(id=uuid4(), windows=windows_at(NOW), longest=HOUR, api_key_id="other")
    assert (again.status, again.retry_of) == ("queued", generation.id)
    for name in ("user_id", "spec", "wish", "references", "mask", "units", "on_unknown"):
        assert getattr(again, name) == getattr(generation, name)
    assert again.deadline_seconds == generation.deadline_seconds


def test_an_end_user_is_told_from_others_by_an_id_of_their_users_own() -> None:
    mine = queued(user_id=SOMEBODY, end_user="customer 17")
    ids = {
        mine.end_user_id,
        queued(user_id=SOMEBODY, end_user="customer 18").end_user_id,
        queued(user_id=uuid4(), end_user="customer 17").end_user_id,
        queued(user_id=SOMEBODY).end_user_id,
    }
    assert queued(user_id=SOMEBODY, end_user="customer 17").end_user_id == mine.end_user_id
    assert len(ids) == 4
    assert None in ids


def test_an_end_users_id_stays_when_personal_data_is_erased() -> None:
    generation = new_generation(NOW, end_user="customer 17")
    (requested,) = generation.collect_events()
    assert isinstance(requested, Generation.Requested)
    erased = requested.model_copy(update={"personal": Wish(prompt="")}).mutate(None)
    assert erased is not None
    assert (erased.end_user_id, erased.wish.end_user) == (generation.end_user_id, None)


def test_a_retry_is_for_the_same_end_user() -> None:
    generation = queued(end_user="customer 17")
    generation.cancel(by=SOMEBODY)
    again = generation.retry(id=uuid4(), windows=windows_at(NOW), longest=HOUR)
    assert (again.end_user_id, again.wish.end_user) == (generation.end_user_id, "customer 17")


def test_only_what_has_ended_is_retried() -> None:
    with pytest.raises(GenerationOpenError, match="then retry it"):
        queued().retry(id=uuid4(), windows=windows_at(NOW), longest=HOUR)


def test_cancelling_returns_the_units_of_images_that_nobody_is_paid_for() -> None:
    generation = queued(count=4)
    answer(generation, start(generation, 1), 1)
    fail(generation, start(generation, 2), "unavailable")
    start(generation, 3)
    generation.cancel(by=SOMEBODY)
    assert generation.units_to_return == 2  # of the failed one and the one never asked for


def test_a_lost_call_may_have_been_paid_for_when_it_is_cancelled() -> None:
    generation = queued(count=2)
    generation.lose_call(start(generation, 1), reason="killed", repeat_costs=True)
    generation.cancel(by=SOMEBODY)
    assert generation.units_to_return == 1


def test_what_the_deadline_cut_off_counts_and_what_else_was_lost_does_not() -> None:
    generation = queued(count=3, deadline=timedelta(seconds=1))
    generation.lose_call(start(generation, 1), reason=CUT_OFF, repeat_costs=True)
    generation.lose_call(start(generation, 2), reason="killed", repeat_costs=True)
    finish(generation, now=NOW + timedelta(seconds=2))
    assert generation.status == "failed"
    assert generation.units_to_return == 2


def test_an_image_that_came_after_all_is_not_counted_twice() -> None:
    generation = queued(count=2, deadline=timedelta(seconds=1))
    generation.lose_call(start(generation, 1), reason=CUT_OFF, repeat_costs=True)
    answer(generation, start(generation, 2), 2)
    finish(generation, now=NOW + timedelta(seconds=2))
    assert (generation.status, generation.missing) == ("completed", 1)
    assert generation.units_to_return == 0


def test_a_retry_keeps_to_todays_longest_deadline() -> None:
    generation = queued(deadline=timedelta(minutes=10))
    generation.cancel(by=SOMEBODY)
    again = generation.retry(id=uuid4(), windows=windows_at(NOW), longest=timedelta(minutes=2))
    assert again.deadline_seconds == 120


def test_only_a_closed_generation_is_deleted_and_only_once() -> None:
    generation = queued()
    with pytest.raises(GenerationOpenError, match="Cancel it"):
        generation.delete(by=SOMEBODY)
    answer(generation, start(generation, 1), 1)
    finish(generation)
    generation.delete(by=SOMEBODY)
    generation.delete(by=SOMEBODY)
    assert decisions(generation).count("Deleted") == 1
    assert generation.published == ()


def test_an_image_that_cannot_be_read_is_missing() -> None:
    generation = queued(count=2)
    answer(generation, start(generation, 1, 2), 1, 2)
    generation.finish(urls={2: "https://pictures/2"}, now=NOW)
    assert [image.number for image in generation.published] == [2]
    assert generation.units_to_return == 1


def test_what_a_failed_call_cost_is_recorded() -> None:
    generation = queued()
    call = start(generation, 1)
    generation.fail_call(call, Failure(kind="no_image"), now=NOW, jitter=0.0, cost=COST)
    assert generation.calls[call].cost is not None
    assert generation.calls[call].cost.amount == Decimal("0.001")


def test_what_need_not_wait_is_asked_for_while_other_images_wait() -> None:
    generation = queued(count=2)
    fail(generation, start(generation, 1), "unavailable")
    assert generation.next_step(NOW) == ask(2, later=NOW + timedelta(seconds=0.5))
    answer(generation, start(generation, 2), 2)
    assert generation.next_step(NOW) == Wait(until=NOW + timedelta(seconds=0.5))


def test_replay_gives_the_same_state() -> None:
    generation = new_generation(NOW, count=3)
    answer(generation, start(generation, 1), 1)
    fail(generation, start(generation, 2), "unavailable")
    generation.lose_call(start(generation, 3), reason="killed", repeat_costs=True)
    replayed = recorded(generation, NOW)
    assert replayed.calls == generation.calls
    assert replayed.images == generation.images
    assert replayed.version == 7
    doubted, later = frozenset({"sketch"}), NOW + timedelta(seconds=0.5)
    assert replayed.next_step(NOW) == ask(3, doubted=doubted, later=later)
