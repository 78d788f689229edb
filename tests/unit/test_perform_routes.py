"""Which provider a worker calls, whom it passes over, and what the gatekeeper hears of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from application.ports.health import Admitted, Obstruction, TurnedAway, Verdict
from application.ports.providers import Answer, CallFailedError, CallRequest, OutcomeUnknownError
from domain.failure import Failure, FailureKind
from domain.generation import Generation
from infrastructure.always_open import AlwaysOpen
from tests.fakes_images import HANG, FakeProvider, offering
from tests.studio import Studio, until

SECOND = "second"


class ToldGate(AlwaysOpen):
    """Turns away from whom it is told, lets only so many in, and keeps what it hears."""

    def __init__(self) -> None:
        self.closed: dict[str, tuple[Obstruction, datetime]] = {}
        self.most: dict[str, int] = {}
        self.inside: dict[str, int] = defaultdict(int)
        self.heard: list[tuple[str, str, Verdict]] = []

    async def enter(self, provider: str, model: str, /) -> Admitted | TurnedAway:
        if provider in self.closed:
            return TurnedAway(*self.closed[provider])
        if self.inside[provider] >= self.most.get(provider, 99):
            return TurnedAway("busy", datetime.max.replace(tzinfo=UTC))
        self.inside[provider] += 1
        return Admitted(f"{provider}-{self.inside[provider]}")

    async def leave(self, provider: str, model: str, ticket: str, outcome: Verdict, /) -> None:
        assert ticket.startswith(provider)
        self.inside[provider] -= 1
        self.heard.append((provider, model, outcome))


@pytest.fixture
def two() -> Studio:
    """A studio with a second provider and a gatekeeper that can be told."""
    studio = Studio(FakeProvider(name=SECOND))
    studio.gate = ToldGate()
    studio.performer = studio.another_process()
    return studio


def gate_of(studio: Studio) -> ToldGate:
    assert isinstance(studio.gate, ToldGate)
    return studio.gate


def failing(kind: FailureKind, times: int = 1) -> list[CallFailedError]:
    return [CallFailedError(Failure(kind=kind, message="As told.")) for _ in range(times)]


def providers_of(generation: Generation) -> list[str]:
    return [call.provider for call in generation.calls.values()]


@pytest.mark.parametrize(
    "kind",
    ["unavailable", "rate_limited", "out_of_funds", "misconfigured", "no_image", "invalid_request"],
)
async def test_a_provider_that_fails_is_followed_by_the_next_at_once(
    two: Studio, kind: FailureKind
) -> None:
    two.provider.told = failing(kind)
    generation = await two.perform(await two.place())
    assert generation.status == "completed"
    assert providers_of(generation) == ["fake", SECOND]
    assert generation.calls[2].passed_over == {"fake": "failed for this request"}
    assert [what for _, _, what in gate_of(two).heard] == [
        Failure(kind=kind, message="As told."),
        "answered",
    ]
    assert two.units() == {1}


async def test_a_provider_that_was_asked_for_is_not_replaced(two: Studio) -> None:
    two.provider.told = failing("out_of_funds")
    generation = await two.perform(await two.place(spec={"provider": "fake"}))
    assert generation.status == "failed"
    assert generation.error is not None
    assert generation.error[0] == "out_of_funds"
    assert two.units() == {0}


async def test_a_refusal_reaches_no_other_provider(two: Studio) -> None:
    two.provider.told = failing("moderation_input")
    generation = await two.perform(await two.place())
    assert (generation.status, providers_of(generation)) == ("failed", ["fake"])


async def test_a_refusal_reaches_the_next_where_the_caller_wishes_it(two: Studio) -> None:
    two.provider.told = failing("moderation_input")
    generation = await two.perform(await two.place(on_refusal="fallback"))
    assert (generation.status, providers_of(generation)) == ("completed", ["fake", SECOND])


async def test_who_is_turned_away_from_the_first_goes_to_the_second(two: Studio) -> None:
    gate_of(two).closed["fake"] = ("circuit_open", two.clock.now + timedelta(seconds=30))
    generation = await two.perform(await two.place())
    assert providers_of(generation) == [SECOND]
    assert generation.calls[1].passed_over == {"fake": "circuit_open"}
    assert not two.provider.asked


async def test_who_cannot_do_it_is_passed_over_with_the_reason() -> None:
    studio = Studio(FakeProvider(name=SECOND))
    studio.provider.capabilities = offering(seed=False)
    generation = await studio.perform(await studio.place(spec={"seed": 7}))
    assert providers_of(generation) == [SECOND]
    assert generation.calls[1].passed_over == {"fake": "takes no seed, leave it out"}


async def test_where_all_are_closed_the_first_to_open_is_waited_for(two: Studio) -> None:
    soon, later = (two.clock.now + timedelta(seconds=s) for s in (30, 60))
    gate_of(two).closed = {"fake": ("circuit_open", later), SECOND: ("rate_limited", soon)}
    ref = await two.place()
    assert (await two.perform(ref)).status == "queued"
    assert two.store.work["generate", ref].due_at == soon
    gate_of(two).closed.clear()
    two.clock.advance(seconds=30)
    assert (await two.perform(ref)).status == "completed"


async def test_nobody_waits_longer_than_his_deadline(two: Studio) -> None:
    never = two.clock.now + timedelta(days=1)
    gate_of(two).closed = {"fake": ("busy", never), SECOND: ("busy", never)}
    ref = await two.place(deadline=timedelta(seconds=90))
    await two.perform(ref)
    assert two.store.work["generate", ref].due_at == two.clock.now + timedelta(seconds=90)
    two.clock.advance(seconds=90)
    generation = await two.perform(ref)
    assert generation.error is not None
    assert generation.error[0] == "deadline_passed"
    assert two.units() == {0}


@pytest.mark.parametrize("why", ["out_of_funds", "misconfigured"])
async def test_nobody_waits_for_what_only_an_operator_can_mend(
    two: Studio, why: Obstruction
) -> None:
    later = two.clock.now + timedelta(seconds=60)
    gate_of(two).closed = {"fake": (why, later), SECOND: (why, later)}
    generation = await two.perform(await two.place())
    assert generation.error is not None
    assert generation.error[0] == why
    assert two.units() == {0}


async def test_as_many_calls_are_made_as_are_admitted_and_the_rest_after_them(two: Studio) -> None:
    gate_of(two).most["fake"] = 2
    generation = await two.perform(await two.place(count=5, spec={"provider": "fake"}))
    assert (generation.status, generation.missing) == ("completed", 0)
    assert [request.images for request in two.provider.asked] == [(1,), (2,), (3,), (4,), (5,)]
    assert dict(gate_of(two).inside) == {"fake": 0}


async def test_every_ticket_is_given_back_whatever_comes_of_the_call(two: Studio) -> None:
    two.provider.told = [OutcomeUnknownError("The connection was lost."), *failing("unavailable")]
    generation = await two.perform(await two.place(count=2))
    assert generation.status == "completed"
    assert set(gate_of(two).inside.values()) == {0}
    assert ("fake", "fake-1", "lost") in gate_of(two).heard


async def test_a_lost_call_is_repeated_by_another_provider_where_there_is_one(
    two: Studio,
) -> None:
    lost = OutcomeUnknownError("The connection was lost.")
    two.provider.told = [lost, lost]
    generation = await two.perform(await two.place())
    assert (generation.status, providers_of(generation)) == ("completed", ["fake", SECOND])
    assert generation.calls[2].passed_over == {"fake": "lost a call for this request"}
    alone = await two.perform(await two.place(spec={"provider": "fake"}))
    assert (alone.status, providers_of(alone)) == ("completed", ["fake", "fake"])


async def test_what_is_done_otherwise_than_asked_is_recorded_with_the_call(two: Studio) -> None:
    generation = await two.perform(await two.place(spec={"size": "200x100", "moderation": "low"}))
    (bridge,) = generation.calls[1].bridges
    assert (bridge.what, bridge.asked, bridge.got) == ("moderation", "low", "not offered")


async def test_one_image_that_nobody_can_make_leaves_the_others_alone(two: Studio) -> None:
    later = two.clock.now + timedelta(seconds=60)
    gate_of(two).closed[SECOND] = ("out_of_funds", later)
    gate_of(two).most["fake"] = 1
    two.provider.told = failing("no_image", 2)
    generation = await two.perform(await two.place(count=3))
    while not generation.closed:
        two.clock.advance(seconds=1)
        generation = await two.perform(generation.id)
    assert (generation.status, generation.missing) == ("completed", 0)


async def test_an_image_that_has_to_wait_holds_up_no_other(two: Studio) -> None:
    gate_of(two).closed[SECOND] = ("circuit_open", two.clock.now + timedelta(seconds=30))
    gate_of(two).most["fake"] = 1
    two.provider.told = failing("invalid_request")
    ref = await two.place(count=2)
    generation = await two.perform(ref)
    assert set(generation.images) == {2}
    assert two.store.work["generate", ref].due_at == two.clock.now + timedelta(seconds=30)


async def test_the_gatekeeper_hears_of_a_call_whose_generation_was_cancelled(two: Studio) -> None:
    ref = await two.place()

    async def cancelled_meanwhile(request: CallRequest) -> Answer:
        await two.cancel(ref)
        raise failing("out_of_funds")[0]

    two.provider.told = [cancelled_meanwhile]
    await two.perform(ref)
    assert gate_of(two).heard == [
        ("fake", "fake-1", Failure(kind="out_of_funds", message="As told."))
    ]


async def test_what_ends_before_it_began_for_want_of_time_says_nothing_of_the_provider(
    two: Studio,
) -> None:
    two.performer.calls.timeout = timedelta(seconds=5)
    two.provider.told = [HANG]
    ref = await two.place(deadline=timedelta(seconds=0.05))
    await two.perform(ref)
    assert gate_of(two).heard[0] == ("fake", "fake-1", "given_up")


async def test_who_is_cancelled_while_tickets_come_gives_them_back(two: Studio) -> None:
    gate, entered = gate_of(two), 0
    enter = gate.enter

    async def slow_for_the_second(provider: str, model: str, /) -> Admitted | TurnedAway:
        nonlocal entered
        entered += 1
        if entered == 2:
            await asyncio.sleep(0.05)
        return await enter(provider, model)

    gate.enter = slow_for_the_second
    performing = asyncio.create_task(two.perform(await two.place(count=2)))
    await until(lambda: entered == 2)
    performing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await performing
    assert set(gate.inside.values()) == {0}


async def test_only_those_that_are_preferred_are_passed_over(two: Studio) -> None:
    assert isinstance(two.providers[1], FakeProvider)
    two.providers[1].capabilities = offering(seed=False)
    generation = await two.perform(await two.place(spec={"seed": 7}))
    assert (providers_of(generation), generation.calls[1].passed_over) == (["fake"], {})
