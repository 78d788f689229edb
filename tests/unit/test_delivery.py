"""A delivery is tried until the receiver has it, wants no more, or was asked often enough."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from domain.delivery import MOST_RESENDS, Delivery, TooManyResendsError, delivery_id
from domain.retries import RETRIES, SENTENCES, Answer, Problem, Retries
from tests.webhooks import due_delivery, recorded

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DOWN = Answer(trouble="unreachable")
USUAL = Retries()


def tried(delivery: Delivery, *answers: Answer, retries: Retries = USUAL) -> Delivery:
    for answer in answers:
        delivery = recorded(
            delivery, NOW, lambda d, a=answer: d.take(a, now=NOW, retries=retries, jitter=0)
        )
    return delivery


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_two_hundred_and_something_is_an_arrival(status: int) -> None:
    delivery = tried(due_delivery(NOW), Answer(status))
    assert (delivery.status, delivery.attempts, delivery.last_status) == ("delivered", 1, status)
    assert (delivery.ended_at, delivery.next_try_at, delivery.problem) == (NOW, None, None)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer(500), "refused"),
        (Answer(404), "refused"),
        (Answer(199), "refused"),
        (Answer(301), "redirected"),
        (Answer(304), "redirected"),
        (Answer(trouble="timed_out"), "timed_out"),
        (Answer(trouble="forbidden_address"), "forbidden_address"),
    ],
)
def test_anything_else_is_tried_again(answer: Answer, problem: Problem) -> None:
    delivery = tried(due_delivery(NOW), answer)
    assert (delivery.status, delivery.problem) == ("due", problem)
    assert delivery.next_try_at == NOW + timedelta(seconds=5)


def test_the_tries_of_the_scheme_are_made_and_then_no_more() -> None:
    delivery, pauses = due_delivery(NOW), []
    while delivery.status == "due":
        assert delivery.next_try_at is not None
        pauses.append((delivery.next_try_at - NOW).total_seconds())
        delivery = tried(delivery, DOWN)
    assert tuple(pauses) == RETRIES
    assert (delivery.status, delivery.attempts) == ("given_up", 10)


def test_who_is_gone_is_given_up_at_once() -> None:
    delivery = tried(due_delivery(NOW), Answer(410))
    assert (delivery.status, delivery.problem, delivery.last_status) == ("given_up", "gone", 410)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (Answer(503, retry_after=timedelta(seconds=90)), 90),
        (Answer(503, retry_after=timedelta(seconds=1)), 5),
        (Answer(429), 60),
        (Answer(502), 60),
        (Answer(504), 60),
        (Answer(429, retry_after=timedelta(seconds=7)), 7),
        (Answer(503), 5),
    ],
)
def test_who_is_overloaded_is_left_alone_for_as_long_as_it_wants(
    answer: Answer, seconds: float
) -> None:
    delivery = tried(due_delivery(NOW), answer)
    assert delivery.next_try_at == NOW + timedelta(seconds=seconds)


def test_chance_puts_tries_off_never_forward() -> None:
    pauses = [Retries((0, 100)).pause_after(1, DOWN, jitter=jitter) for jitter in (0, 1)]
    assert pauses == [timedelta(seconds=100), timedelta(seconds=110)]


def test_what_is_sent_again_is_due_at_once_and_has_all_its_tries() -> None:
    once = Retries((0, 1))
    given_up = tried(due_delivery(NOW), DOWN, DOWN, retries=once)
    later = NOW + timedelta(days=1)
    again = recorded(given_up, later, lambda d: d.resend(by=uuid4()))
    assert (again.status, again.next_try_at, again.ended_at) == ("due", later, None)
    assert again.awaits(3)
    assert tried(again, DOWN, retries=once).status == "due"
    assert tried(again, DOWN, DOWN, retries=once).status == "given_up"
    assert tried(again, DOWN, Answer(200), retries=once).attempts == 4


def test_by_hand_it_is_sent_again_so_often_and_no_more() -> None:
    delivery = tried(due_delivery(NOW), Answer(200))
    again = recorded(delivery, NOW, *[lambda d: d.resend(by=uuid4())] * MOST_RESENDS)
    with pytest.raises(TooManyResendsError, match="100 times"):
        again.resend(by=uuid4())


def test_a_try_is_awaited_until_it_was_made() -> None:
    delivery = due_delivery(NOW)
    assert (delivery.awaits(1), delivery.awaits(2)) == (True, False)
    failed = tried(delivery, DOWN)
    assert (failed.awaits(1), failed.awaits(2)) == (False, True)
    assert not tried(failed, Answer(200)).awaits(3)


def test_a_test_is_tried_once() -> None:
    test = recorded(Delivery.of_test(uuid4(), user_id=uuid4(), endpoint=uuid4()), NOW)
    assert tried(test, DOWN).status == "given_up"


def test_without_a_receiver_it_is_given_up_without_a_try() -> None:
    delivery = recorded(due_delivery(NOW), NOW, lambda d: d.give_up("endpoint_removed"))
    assert (delivery.status, delivery.attempts) == ("given_up", 0)
    delivery.give_up("endpoint_removed")
    assert delivery.collect_events() == []


def test_an_event_is_one_delivery_for_each_receiver() -> None:
    endpoint, generation, event = uuid4(), uuid4(), uuid4()
    assert delivery_id(endpoint, event) == delivery_id(endpoint, event)
    made = [
        Delivery.of_end(
            event,
            "image.generation.failed",
            user_id=uuid4(),
            generation=generation,
            endpoint=receiver,
        ).id
        for receiver in (endpoint, None)
    ]
    assert made == [delivery_id(endpoint, event), delivery_id(generation, event)]


def test_every_problem_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Problem.__args__)  # type: ignore[attr-defined]  # a Literal's
