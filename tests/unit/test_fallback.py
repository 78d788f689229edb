"""Decisions of a generation when a provider fails and others could be asked."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import pytest

from domain.attempts import Want
from domain.failure import CONSEQUENCES, Failure, FailureKind
from domain.generation import Ask, Finish, Generation, Wait
from tests.generations import new_generation, recorded

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
FALLING_BACK = [kind for kind, follows in CONSEQUENCES.items() if follows.falls_back == "yes"]
FAILING = [
    kind for kind in FALLING_BACK if kind != "outcome_unknown"
]  # that one is lost, not failed


def queued(count: int = 1, **wanted: object) -> Generation:
    return recorded(new_generation(NOW, count=count, **wanted), NOW)


def ask(*images: int, avoid: Collection[str] = (), until: datetime | None = None) -> Ask:
    return Ask((Want(images, frozenset(avoid), until),))


def fail(
    generation: Generation,
    provider: str,
    kind: FailureKind,
    *images: int,
    others: Collection[str] = ("second",),
    now: datetime = NOW,
    retry_after: timedelta | None = None,
) -> None:
    call = generation.start_call(provider=provider, model="m", images=images or (1,))
    failure = Failure(kind=kind, retry_after=retry_after)
    generation.fail_call(call, failure, now=now, jitter=1.0, others=others)


@pytest.mark.parametrize("kind", FAILING)
def test_another_provider_is_asked_at_once(kind: FailureKind) -> None:
    generation = queued()
    fail(generation, "first", kind)
    step = generation.next_step(NOW)
    assert isinstance(step, Ask)
    (want,) = step.wants
    assert (want.images, want.avoid) == ((1,), {"first"})


def test_kinds_that_fall_back_are_those_that_another_provider_may_do_better() -> None:
    assert set(FALLING_BACK) == {
        *("no_image", "invalid_request", "rate_limited"),
        *("out_of_funds", "misconfigured", "unavailable", "outcome_unknown"),
    }


@pytest.mark.parametrize("kind", ["moderation_input", "moderation_output"])
def test_a_refusal_is_final(kind: FailureKind) -> None:
    generation = queued()
    fail(generation, "first", kind)
    assert generation.next_step(NOW) == Finish()


def test_a_refused_prompt_goes_to_the_next_provider_where_the_caller_wishes_it() -> None:
    generation = queued(on_refusal="fallback")
    fail(generation, "first", "moderation_input")
    assert generation.next_step(NOW) == ask(1, avoid={"first"})
    fail(generation, "second", "moderation_input", others=("first",))
    assert generation.next_step(NOW) == Finish()


def test_a_withheld_picture_is_final_whatever_the_caller_wishes() -> None:
    generation = queued(on_refusal="fallback")
    fail(generation, "first", "moderation_output")
    assert generation.next_step(NOW) == Finish()


def test_when_all_have_failed_the_first_that_may_be_asked_again_is_waited_for() -> None:
    generation = queued()
    fail(generation, "first", "unavailable")
    fail(generation, "second", "rate_limited", others=("first",), retry_after=timedelta(seconds=60))
    assert generation.next_step(NOW) == Wait(until=NOW + timedelta(seconds=0.5))
    later = NOW + timedelta(seconds=0.5)
    assert generation.next_step(later) == ask(
        1, avoid={"second"}, until=NOW + timedelta(seconds=60)
    )


def test_who_can_never_do_it_is_not_asked_again_and_who_is_left_is_waited_for() -> None:
    generation = queued()
    fail(generation, "first", "out_of_funds")
    fail(generation, "second", "unavailable", others=("first",))
    assert generation.next_step(NOW) == Wait(until=NOW + timedelta(seconds=0.5))
    assert generation.next_step(NOW + timedelta(seconds=1)) == ask(1, avoid={"first"})


def test_when_nobody_is_left_the_images_are_given_up() -> None:
    generation = queued()
    fail(generation, "first", "out_of_funds")
    fail(generation, "second", "misconfigured", others=("first",))
    assert generation.next_step(NOW) == Finish()
    generation.finish(urls={}, now=NOW)
    assert generation.error is not None
    assert generation.error[0] == "misconfigured"
    assert generation.units_to_return == 1


def test_repeats_are_counted_by_provider() -> None:
    generation, now, asked = queued(), NOW, []
    while not isinstance(step := generation.next_step(now), Finish):
        if isinstance(step, Wait):
            now = step.until
            continue
        (want,) = step.wants
        provider = next(name for name in ("first", "second") if name not in want.avoid)
        other = {"first": "second", "second": "first"}[provider]
        asked.append(provider)
        fail(generation, provider, "unavailable", others=(other,), now=now)
    once_and_repeats = 1 + CONSEQUENCES["unavailable"].repeats
    assert (asked.count("first"), asked.count("second")) == (once_and_repeats, once_and_repeats)


def test_images_that_avoid_different_providers_are_asked_for_apart() -> None:
    generation = queued(count=4)
    fail(generation, "first", "unavailable", 1)
    fail(generation, "second", "unavailable", 2, others=("first",))
    fail(generation, "first", "out_of_funds", 3)
    soon = NOW + timedelta(seconds=0.5)
    assert generation.next_step(NOW) == Ask(
        (
            Want((1,), frozenset({"first"}), soon),
            Want((2,), frozenset({"second"}), soon),
            Want((3,), frozenset({"first"})),
            Want((4,)),
        )
    )


def test_what_may_be_asked_for_later_is_told_beside() -> None:
    generation = queued(count=2)
    fail(generation, "first", "unavailable", 1, others=())
    assert generation.next_step(NOW) == Ask((Want((2,)),), later=NOW + timedelta(seconds=0.5))


@pytest.mark.parametrize("then", ["fails", "is lost", "was never asked for"])
def test_what_one_provider_refuses_no_other_hears_of_for_any_image(then: str) -> None:
    generation = queued(count=2)
    first = generation.start_call(provider="first", model="m", images=(1,))
    if then != "was never asked for":
        second = generation.start_call(provider="first", model="m", images=(2,))
    refusal = Failure(kind="moderation_input")
    generation.fail_call(first, refusal, now=NOW, jitter=1.0, others=("second",))
    if then == "fails":
        failure = Failure(kind="unavailable")
        generation.fail_call(second, failure, now=NOW, jitter=1.0, others=("second",))
    elif then == "is lost":
        generation.lose_call(second, reason="no answer", repeat_costs=True)
    assert generation.next_step(NOW) == Finish()


def test_a_generation_that_is_replayed_avoids_the_same() -> None:
    generation = new_generation(NOW)
    fail(generation, "first", "out_of_funds")
    assert recorded(generation, NOW).next_step(NOW) == ask(1, avoid={"first"})


def test_what_was_cancelled_asks_nobody_any_more() -> None:
    generation = queued()
    call = generation.start_call(provider="first", model="m", images=(1,))
    generation.cancel(by=generation.user_id)
    generation.fail_call(call, Failure(kind="unavailable"), now=NOW, jitter=1.0, others=("second",))
    failed = generation.pending_events[-1]
    assert isinstance(failed, Generation.CallFailed)
    assert (failed.retry_at, failed.same_provider_at) == (None, None)


def test_after_a_lost_call_others_are_asked_first() -> None:
    generation = queued()
    call = generation.start_call(provider="first", model="m", images=(1,))
    generation.lose_call(call, reason="no answer", repeat_costs=True)
    assert generation.next_step(NOW) == Ask((Want((1,), doubted=frozenset({"first"})),))
