"""What every gatekeeper does: the fake, Redis's, and Redis's while Redis is away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from application.ports.health import Circuit, Gatekeeper
from domain.failure import FailureKind
from infrastructure.redis_line import Line
from tests.fakes import FakeClock
from tests.fakes_gate import LIFE, FakeGatekeeper
from tests.gates import (
    DOORS,
    NOBODY_LISTENS,
    RULES,
    fails,
    failure,
    redis_gatekeeper,
    succeeds,
    ticket,
    turned_away,
)

DOWN: tuple[FailureKind, ...] = ("unavailable",) * 3


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["fake", "redis", "redis away"])
async def gate(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Gatekeeper]:
    if request.param == "fake":
        yield FakeGatekeeper(clock, doors=DOORS, rules=RULES)
        return
    away = request.param == "redis away"
    url = NOBODY_LISTENS if away else request.getfixturevalue("redis_url")
    made = redis_gatekeeper(url, clock, line=Line() if away else None)
    yield made
    await made.close()


async def circuit(gate: Gatekeeper, provider: str = "openai") -> Circuit:
    return (await gate.health([provider]))[provider].circuit


def in_seconds(clock: FakeClock, seconds: float) -> object:
    return clock() + timedelta(seconds=seconds)


# --- circuits --------------------------------------------------------------------------------


async def test_who_is_not_known_to_be_in_trouble_may_be_asked(gate: Gatekeeper) -> None:
    mine = await ticket(gate)
    assert (await gate.health(["openai"]))["openai"].calls_under_way == 1
    await gate.leave("openai", "m", mine, "answered")
    health = (await gate.health(["openai"]))["openai"]
    assert (health.calls_under_way, health.circuit.why) == (0, None)


async def test_failures_in_a_row_open_the_circuit(gate: Gatekeeper, clock: FakeClock) -> None:
    await fails(gate, "unavailable", "outcome_unknown")
    await gate.leave("openai", "m", await ticket(gate), "lost")

    refused = await turned_away(gate)

    assert (refused.why, refused.until) == ("circuit_open", in_seconds(clock, RULES.open))
    assert await circuit(gate) == Circuit("open", "circuit_open", refused.until)


async def test_an_answer_between_them_begins_the_row_anew(gate: Gatekeeper) -> None:
    await fails(gate, "unavailable", "unavailable")
    await succeeds(gate)
    await fails(gate, "unavailable", "unavailable")
    await succeeds(gate)


async def test_failures_long_apart_are_no_row(gate: Gatekeeper, clock: FakeClock) -> None:
    for _ in range(5):
        await fails(gate, "unavailable")
        clock.advance(seconds=RULES.window / 2)
    assert (await circuit(gate)).why is None


@pytest.mark.parametrize("kind", ["out_of_funds", "misconfigured"])
async def test_want_of_funds_or_of_a_right_key_opens_at_once(
    gate: Gatekeeper, clock: FakeClock, kind: FailureKind
) -> None:
    await fails(gate, kind)
    refused = await turned_away(gate)
    assert (refused.why, refused.until) == (kind, in_seconds(clock, RULES.cool_down))
    await ticket(gate, provider="narrow")


@pytest.mark.parametrize("kind", ["moderation_input", "invalid_request", "no_image"])
async def test_who_says_no_is_there(gate: Gatekeeper, kind: FailureKind) -> None:
    await fails(gate, "unavailable", "unavailable", kind, "unavailable", "unavailable")
    await ticket(gate)


@pytest.mark.parametrize("kind", ["image_store_unavailable", "reference_gone", "deadline_passed"])
async def test_trouble_of_ours_says_nothing_of_a_provider(
    gate: Gatekeeper, kind: FailureKind
) -> None:
    await fails(gate, "unavailable", "unavailable", kind, kind, kind)
    await gate.leave("openai", "m", await ticket(gate), "given_up")
    await fails(gate, "unavailable")
    assert (await turned_away(gate)).why == "circuit_open"


async def test_later_one_call_finds_out_whether_it_is_well_again(
    gate: Gatekeeper, clock: FakeClock
) -> None:
    await fails(gate, *DOWN)
    clock.advance(seconds=RULES.open)
    assert await circuit(gate) == Circuit("half_open", "circuit_open")

    probe = await ticket(gate)
    refused = await turned_away(gate)
    assert refused.why == "circuit_open"
    assert clock() < refused.until < clock() + timedelta(seconds=RULES.open)

    await gate.leave("openai", "m", probe, "answered")
    assert (await circuit(gate)).why is None
    await ticket(gate)
    await ticket(gate)


async def test_where_it_is_not_the_circuit_stays_open(gate: Gatekeeper, clock: FakeClock) -> None:
    await fails(gate, "out_of_funds")
    clock.advance(seconds=RULES.cool_down)
    await fails(gate, "unavailable")
    refused = await turned_away(gate)
    assert (refused.why, refused.until) == ("circuit_open", in_seconds(clock, RULES.open))


async def test_a_probe_that_was_given_up_is_another_calls_to_be(
    gate: Gatekeeper, clock: FakeClock
) -> None:
    await fails(gate, *DOWN)
    clock.advance(seconds=RULES.open)
    await gate.leave("openai", "m", await ticket(gate), "given_up")
    await ticket(gate)
    assert (await turned_away(gate)).why == "circuit_open"


async def test_a_probe_whose_worker_is_gone_is_another_calls_to_be(
    gate: Gatekeeper, clock: FakeClock
) -> None:
    await fails(gate, *DOWN)
    clock.advance(seconds=RULES.open)
    await ticket(gate)
    clock.advance(seconds=LIFE.total_seconds())
    await ticket(gate)


async def test_an_answer_to_a_call_of_before_heals_nothing(gate: Gatekeeper) -> None:
    before = await ticket(gate)
    await fails(gate, "out_of_funds")
    await gate.leave("openai", "m", before, "answered")
    assert (await turned_away(gate)).why == "out_of_funds"


async def test_a_failed_call_of_before_does_not_hinder_the_probe(
    gate: Gatekeeper, clock: FakeClock
) -> None:
    before = await ticket(gate)
    await fails(gate, *DOWN)
    clock.advance(seconds=RULES.open)
    probe = await ticket(gate)
    await gate.leave("openai", "m", before, failure("unavailable"))
    await gate.leave("openai", "m", probe, "answered")
    await ticket(gate)


async def test_trouble_of_a_model_closes_nothing_else(gate: Gatekeeper, clock: FakeClock) -> None:
    await fails(gate, "misconfigured", of_model=True)

    assert (await turned_away(gate)).why == "misconfigured"
    await succeeds(gate, model="another")
    health = (await gate.health(["openai"]))["openai"]
    assert health.circuit.why is None
    assert health.models == {
        "m": Circuit("open", "misconfigured", clock() + timedelta(seconds=RULES.cool_down))
    }

    clock.advance(seconds=RULES.cool_down)
    await succeeds(gate)
    assert not (await gate.health(["openai"]))["openai"].models


async def test_the_circuit_of_a_provider_goes_before_its_models(
    gate: Gatekeeper, clock: FakeClock
) -> None:
    await fails(gate, "misconfigured", of_model=True)
    await fails(gate, *DOWN, model="another")
    assert (await turned_away(gate)).why == "circuit_open"
    clock.advance(seconds=RULES.cool_down)
    await fails(gate, "unavailable")
    clock.advance(seconds=RULES.open)
    await succeeds(gate)
    await ticket(gate)


# --- pauses, rates, tickets ------------------------------------------------------------------


async def test_a_provider_that_accepts_no_more_is_left_alone_for_as_long_as_it_says(
    gate: Gatekeeper, clock: FakeClock
) -> None:
    await fails(gate, "rate_limited", retry_after=timedelta(seconds=42))
    refused = await turned_away(gate)
    assert (refused.why, refused.until) == ("rate_limited", in_seconds(clock, 42))
    clock.advance(seconds=42)
    await ticket(gate)
    await ticket(gate)
    assert (await circuit(gate)).why is None


async def test_one_that_does_not_say_for_how_long_as_is_usual(
    gate: Gatekeeper, clock: FakeClock
) -> None:
    await fails(gate, "rate_limited")
    assert (await turned_away(gate)).until == in_seconds(clock, RULES.pause)


async def test_nobody_is_left_alone_for_longer_than_an_hour(
    gate: Gatekeeper, clock: FakeClock
) -> None:
    await fails(gate, "rate_limited", retry_after=timedelta(days=30))
    assert (await turned_away(gate)).until == in_seconds(clock, 3600)


async def test_of_two_pauses_the_longer_counts(gate: Gatekeeper, clock: FakeClock) -> None:
    one, other = await ticket(gate), await ticket(gate)
    long, short = timedelta(seconds=50), timedelta(seconds=5)
    await gate.leave("openai", "m", one, failure("rate_limited", retry_after=long))
    await gate.leave("openai", "m", other, failure("rate_limited", retry_after=short))
    assert (await turned_away(gate)).until == in_seconds(clock, 50)


async def test_what_an_operator_has_to_mend_is_looked_at_again_soon_whatever_pause_there_was(
    gate: Gatekeeper, clock: FakeClock
) -> None:
    one, other = await ticket(gate), await ticket(gate)
    pause = failure("rate_limited", retry_after=timedelta(hours=1))
    await gate.leave("openai", "m", one, pause)
    await gate.leave("openai", "m", other, failure("misconfigured"))
    assert (await turned_away(gate)).until == in_seconds(clock, RULES.cool_down)


async def test_no_more_calls_are_under_way_than_may_be(gate: Gatekeeper, clock: FakeClock) -> None:
    first, _ = await ticket(gate, "narrow"), await ticket(gate, "narrow")
    refused = await turned_away(gate, "narrow")
    assert refused.why == "busy"
    assert clock() < refused.until < clock() + timedelta(seconds=30)
    await gate.leave("narrow", "m", first, "answered")
    await ticket(gate, "narrow")


async def test_a_killed_worker_gives_its_tickets_back(gate: Gatekeeper, clock: FakeClock) -> None:
    await ticket(gate, "narrow")
    await ticket(gate, "narrow")
    clock.advance(seconds=LIFE.total_seconds())
    assert (await gate.health(["narrow"]))["narrow"].calls_under_way == 0
    await ticket(gate, "narrow")


async def test_a_ticket_of_nobody_knows_when_is_taken_back(gate: Gatekeeper) -> None:
    await gate.leave("narrow", "m", "a-ticket-of-before", "answered")
    await ticket(gate, "narrow")


async def test_no_more_calls_begin_in_a_time_than_may(gate: Gatekeeper, clock: FakeClock) -> None:
    await succeeds(gate, "slow")
    await ticket(gate, "slow")
    refused = await turned_away(gate, "slow")
    assert refused.why == "rate_limited"
    assert clock() < refused.until <= clock() + timedelta(hours=1, seconds=30)
    assert (await gate.health(["slow"]))["slow"].calls_under_way == 1


# --- switches --------------------------------------------------------------------------------


async def test_where_nobody_decided_the_order_is_the_configured_one(gate: Gatekeeper) -> None:
    assert tuple(await gate.order(["b", "a", "c"])) == ("b", "a", "c")
