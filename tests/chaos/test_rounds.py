"""The short form of `make chaos`, and that its promises notice when they are broken."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.ports.event_store import Recorded
from domain.image import Cost
from tests.chaos.rounds import promises
from tests.chaos.rounds.facts import Billed, Facts
from tests.chaos.rounds.happened import Answer, Followed, Happened, Silence, Span
from tests.chaos.rounds.plan import plan_of
from tests.chaos.rounds.round import play, sentences
from tests.generations import new_generation, stored_image

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
WORKER = 4711
COST = Cost(amount=Decimal("0.0010"), price_list="sketch-2026-11")


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_a_short_round_of_chaos_keeps_every_promise(tmp_path: Path) -> None:
    verdict = await play(plan_of(7, 90), tmp_path)
    assert not verdict.broken, "\n".join(sentences(verdict))


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_so_does_one_with_openai_and_supabase_failing_by_chance(tmp_path: Path) -> None:
    verdict = await play(plan_of(5, 40, outside="servers"), tmp_path)
    assert not verdict.broken, "\n".join(sentences(verdict))
    assert verdict.others is not None
    assert verdict.others.openai.switches.billed > 0
    assert verdict.others.supabase.uploads("darkroom")


@pytest.mark.slow
@pytest.mark.timeout(240)
async def test_where_nothing_is_killed_no_call_is_lost_or_repeated(tmp_path: Path) -> None:
    plan = plan_of(1, 30, "redis")
    unhurried = tuple(replace(order, deadline=None) for order in plan.orders)
    verdict = await play(replace(plan, orders=unhurried), tmp_path)
    assert not verdict.broken, "\n".join(sentences(verdict))
    assert all(call.outcome != "lost" for call in verdict.facts.calls.values())


def test_a_seed_decides_everything() -> None:
    assert plan_of(3, 50) == plan_of(3, 50)
    assert plan_of(3, 50).faults != plan_of(4, 50).faults


# --- the promises notice -------------------------------------------------------------------------


def told(facts: Facts, promise: promises.Promise) -> str:
    return "\n".join(promise(facts))


class Story:
    """A generation of one picture, told as a log, with the ledger and the counters that fit."""

    def __init__(self) -> None:
        self.id = uuid4()
        self.generation = new_generation(NOON, id=self.id)
        self.generation._created_on = NOON  # as if it had been recorded
        self.happened = Happened()
        self.ledger: dict[tuple[UUID, int], Billed] = {}
        self.units = 1
        self.limit = 10

    def call(self, *, times: int = 1, outcome: str | None = None) -> int:
        number = self.generation.start_call(provider="sketch", model="sketch-1", images=(1,))
        cost = COST.amount if outcome == "answered" else Decimal(0)
        self.ledger[self.id, number] = Billed(times, WORKER, (1,), 1, outcome, cost)
        return number

    def answered(self) -> Story:
        call = self.call(outcome="answered")
        self.answer(call)
        return self.finished()

    def answer(self, call: int, **changed: Any) -> None:
        self.generation.answer_call(
            call,
            provider_request_id=None,
            usage={},
            images=(stored_image(self.id, 1),),
            **{"cost": COST, **changed},
        )

    def finished(self) -> Story:
        urls = {1: "http://pictures.test/1.png"}
        self.generation.finish(urls=urls, now=NOON)
        self.units -= self.generation.units_to_return
        return self

    def facts(self) -> Facts:
        events = self.generation.pending_events
        log = [Recorded(n, NOON + timedelta(seconds=n), event) for n, event in enumerate(events, 1)]
        requested = self.generation
        counters = {
            (requested.user_id, window.type, window.starts_at, 1, self.units)
            for window in requested.windows
        }
        return Facts(
            self.happened, log, self.ledger, counters, work=[], limits={"daily": self.limit}
        )

    def answer_of(self, status: int, code: str | None = None) -> Story:
        self.happened.answers.append(
            Answer(1, 0, "GET /", status, code, None, NOON, NOON + timedelta(seconds=1))
        )
        return self


def test_a_story_in_which_all_is_well_breaks_no_promise() -> None:
    facts = Story().answered().facts()
    assert [told(facts, promise) for promise in promises.PROMISES] == [""] * len(promises.PROMISES)


def test_an_accepted_request_that_is_not_in_the_log_is_noticed() -> None:
    story = Story().answered()
    story.happened.accepted[UUID(int=1)] = plan_of(1, 1).orders[0]
    assert "not in the log" in told(story.facts(), promises.what_is_accepted_is_in_the_log)


def test_a_key_that_made_two_generations_is_noticed() -> None:
    story = Story().answered()
    story.happened.by_key["8e03"] = {story.id, UUID(int=1)}
    assert "made 2" in told(story.facts(), promises.a_key_makes_one_generation)


def test_what_stays_open_is_noticed() -> None:
    story = Story()
    story.call()
    assert "is processing" in told(story.facts(), promises.everything_is_final_in_time)


def test_a_second_end_is_noticed() -> None:
    facts = Story().answered().facts()
    facts.streams[next(iter(facts.streams))].append(replace(facts.log[-1], position=9))
    assert "ended 2 times" in told(facts, promises.everything_ends_once)


def test_an_event_that_a_follower_missed_is_noticed() -> None:
    story = Story().answered()
    story.happened.followed.append(Followed(story.id, [(1, "a"), (3, "b")], ended=True))
    assert "was told" in told(story.facts(), promises.streams_miss_nothing)


def test_a_call_that_nobody_recorded_is_noticed() -> None:
    story = Story().answered()
    story.ledger[story.id, 2] = Billed(1, WORKER, (1,), 1, "answered", COST.amount)
    told_of = told(story.facts(), promises.the_ledger_and_the_log_know_the_same_calls)
    assert "is not in the log" in told_of


def test_a_call_made_twice_is_noticed() -> None:
    story = Story()
    story.answer(story.call(times=2, outcome="answered"))
    facts = story.finished().facts()
    assert "made 2 times" in told(facts, promises.the_ledger_and_the_log_know_the_same_calls)


def test_a_cost_that_the_provider_did_not_bill_is_noticed() -> None:
    story = Story()
    story.answer(story.call(), cost=COST)
    facts = story.finished().facts()
    assert "cost 0" in told(facts, promises.what_is_recorded_is_what_was_billed)


def test_a_repeat_of_a_call_under_way_is_noticed() -> None:
    story = Story()
    story.call()
    story.call()
    assert "asked for again" in told(story.facts(), promises.every_repeat_is_explained)


def lost() -> Story:
    story = Story()
    story.generation.lose_call(story.call(), reason="its worker is gone", repeat_costs=True)
    return story


def test_a_call_lost_by_a_worker_that_was_never_silent_is_noticed() -> None:
    promise = promises.a_worker_is_given_up_only_when_it_was_silent
    assert "without a reason" in told(lost().facts(), promise)


def test_a_kill_explains_the_calls_under_way_in_that_process_alone() -> None:
    promise = promises.a_worker_is_given_up_only_when_it_was_silent
    story, other = lost(), lost()
    killed_at = NOON + timedelta(seconds=2.5)
    story.happened.silences.append(Silence("killed", killed_at, process=WORKER))
    other.happened.silences.append(Silence("killed", killed_at, process=WORKER + 1))
    assert told(story.facts(), promise) == ""
    assert "without a reason" in told(other.facts(), promise)


def test_a_kill_explains_a_call_whose_beginning_was_committed_after_it() -> None:
    story, ended = lost(), lost()
    story.happened.silences.append(Silence("killed", NOON, process=WORKER))
    ended.happened.silences.append(Silence("killed", NOON + timedelta(hours=1), process=WORKER))
    promise = promises.a_worker_is_given_up_only_when_it_was_silent
    assert told(story.facts(), promise) == ""
    assert "without a reason" in told(ended.facts(), promise)


def test_a_unit_that_leaked_is_noticed() -> None:
    story = Story().answered()
    story.units += 1
    assert "counters say" in told(story.facts(), promises.quota_is_what_the_events_say)


def test_a_quota_that_was_exceeded_is_noticed() -> None:
    story = Story().answered()
    story.limit = 0
    assert "1 of 0 units" in told(story.facts(), promises.quota_is_never_exceeded)


def test_a_503_is_excused_by_an_outage_alone() -> None:
    promise = promises.nothing_answers_5xx_without_a_reason
    story, other = Story().answered(), Story().answered()
    for each in (story, other):
        each.answer_of(503)
    story.happened.outages.append(Span("database", NOON, NOON + timedelta(seconds=1)))
    assert told(story.facts(), promise) == ""
    assert "was answered 503" in told(other.facts(), promise)


def test_a_500_is_never_excused() -> None:
    story = Story().answered().answer_of(500, "internal-error")
    story.happened.outages.append(Span("database", NOON, NOON + timedelta(seconds=1)))
    assert "500" in told(story.facts(), promises.nothing_answers_5xx_without_a_reason)
