"""Each promise, and how it was broken: a function that gives a sentence for every violation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from domain.generation import Generation
from domain.quota import WindowType
from tests.chaos.rounds.facts import CallOfLog, Facts
from tests.chaos.rounds.happened import Answer
from tests.chaos.rounds.ledger import Billed, CallId

FINAL = (Generation.Completed, Generation.Failed, Generation.Cancelled)
MOMENT = timedelta(seconds=0.3)  # between a signal, and the log's clock
UNTIL_CONNECTED_AGAIN = timedelta(seconds=6)
OF_A_PROVIDER = ((502, "provider-failed"), (504, "deadline-passed"))

CounterKey = tuple[UUID, WindowType, datetime]
Promise = Callable[[Facts], Iterator[str]]


# --- accepted, final, once -----------------------------------------------------------------------


def what_is_accepted_is_in_the_log(facts: Facts) -> Iterator[str]:
    for id_ in facts.happened.accepted:
        if id_ not in facts.streams:
            yield f"{id_} was accepted and is not in the log"
    yield from facts.happened.given_up


def a_key_makes_one_generation(facts: Facts) -> Iterator[str]:
    for key, made in facts.happened.by_key.items():
        if len(made) != 1:
            yield f"the key {key} made {len(made)} generations: {sorted(map(str, made))}"
    orders = Counter(
        events[0].event.personal.metadata.get("order")
        for events in facts.streams.values()
        if isinstance(events[0].event, Generation.Requested) and not events[0].event.retry_of
    )
    for order, times in orders.items():
        if times > 1:
            yield f"order {order} was recorded {times} times"


def everything_is_final_in_time(facts: Facts) -> Iterator[str]:
    yield from facts.happened.not_final
    for id_ in facts.streams:
        if not facts.generation(id_).closed:
            yield f"{id_} is {facts.generation(id_).status}"
    for kind, ref, worker, due_at in facts.work:
        yield f"work is left: {kind} {ref}, worker {worker}, due at {due_at}"


def everything_ends_once(facts: Facts) -> Iterator[str]:
    for id_, events in facts.streams.items():
        endings = [type(one.event).__name__ for one in events if isinstance(one.event, FINAL)]
        if len(endings) > 1:
            yield f"{id_} ended {len(endings)} times: {endings}"


def streams_miss_nothing(facts: Facts) -> Iterator[str]:
    for followed in facts.happened.followed:
        events = facts.streams[followed.generation]
        trail = [one.position for one in events]
        told = [position for position, _ in followed.told]
        end = next((one.position for one in events if isinstance(one.event, FINAL)), trail[-1])
        if told != trail[: len(told)] or (told and told[-1] < end):
            yield f"a follower of {followed.generation} was told {told}, the log has {trail}"


# --- calls and cost ------------------------------------------------------------------------------


def the_ledger_and_the_log_know_the_same_calls(facts: Facts) -> Iterator[str]:
    for id_, billed in facts.ledger.items():
        if id_ not in facts.calls:
            yield f"call {_name(id_)} was made and is not in the log"
        elif not _asked_for(billed, facts.calls[id_]):
            asked, known = billed.images or billed.pictures, facts.calls[id_].images
            yield f"call {_name(id_)} asked for {asked}, recorded {known}"
        if billed.times != 1:
            yield f"call {_name(id_)} was made {billed.times} times"
    for id_, call in facts.calls.items():
        if id_ not in facts.ledger and not call.was_abandoned:
            yield f"call {_name(id_)} was never made, and is recorded as {call.outcome}"


def _asked_for(billed: Billed, call: CallOfLog) -> bool:
    """Whether both say the same, as far as the provider heard what was asked for."""
    if billed.images:
        return billed.images == call.images
    return billed.pictures in (0, len(call.images))


def what_is_recorded_is_what_was_billed(facts: Facts) -> Iterator[str]:
    """Only of a call that is recorded as lost may the bill say more."""
    for id_, call in facts.calls.items():
        billed = facts.ledger.get(id_)
        cost = billed.cost if billed else 0
        if call.cost != cost and not (call.outcome == "lost" and call.cost == 0):
            yield f"call {_name(id_)} cost {cost}, recorded {call.cost} ({call.outcome})"
        if call.outcome == "open":
            yield f"call {_name(id_)} has no outcome"


def every_repeat_is_explained(facts: Facts) -> Iterator[str]:
    """An image is asked for again only when the call before it failed or was lost."""
    for id_, events in facts.streams.items():
        last: dict[int, int] = {}
        outcomes: dict[int, str] = {}
        for one in events:
            event = one.event
            if isinstance(event, Generation.CallStarted):
                for image in event.images:
                    before = outcomes.get(last.get(image, 0), "failed")
                    if before not in ("failed", "lost"):
                        yield f"image {image} of {id_} is asked for again, its call {before}"
                    last[image] = event.call
                outcomes[event.call] = "under way"
            elif hasattr(event, "call"):
                outcomes[event.call] = type(event).__name__.removeprefix("Call").lower()


def a_worker_is_given_up_only_when_it_was_silent(facts: Facts) -> Iterator[str]:
    for call in facts.calls.values():
        if call.was_abandoned and not in_flight_when_silent(facts, call):
            worker = facts.process_of(call)
            yield (
                f"call {_name(call.id)} of process {worker} is lost without a reason: "
                f"under way from {call.since:%X.%f} to {call.until:%X.%f}"
            )


def without_a_kill_nothing_is_lost(facts: Facts) -> Iterator[str]:
    if not facts.happened.silences:
        for call in facts.calls.values():
            if call.outcome == "lost" and facts.ledger[call.id].outcome is not None:
                yield f"call {_name(call.id)} is lost, and nothing was killed"


def no_more_is_repeated_than_was_in_flight(facts: Facts) -> Iterator[str]:
    repeated, in_flight = len(abandoned_and_repeated(facts)), len(in_flight_at_silences(facts))
    if repeated > in_flight:
        yield f"{repeated} abandoned calls were repeated, {in_flight} were in flight"


def abandoned_and_repeated(facts: Facts) -> list[CallOfLog]:
    """Calls whose worker was given up, and whose images were asked for again, in however many."""
    last: dict[tuple[UUID, int], CallOfLog] = {}
    repeated: dict[CallId, CallOfLog] = {}
    for (stream, _), call in sorted(facts.calls.items(), key=lambda item: item[1].since):
        before = [last.get((stream, image)) for image in call.images]
        repeated |= {one.id: one for one in before if one is not None and one.was_abandoned}
        last |= {(stream, image): call for image in call.images}
    return list(repeated.values())


def in_flight_at_silences(facts: Facts) -> list[CallOfLog]:
    """Calls under way when their process was killed, stopped or cut off."""
    return [call for call in facts.calls.values() if in_flight_when_silent(facts, call)]


def in_flight_when_silent(facts: Facts, call: CallOfLog) -> bool:
    """Whether its process was killed, stopped or cut off while it was under way."""
    process = facts.process_of(call)
    until = call.until or facts.log[-1].recorded_at
    return any(
        process in (None, silence.process) and silence.touches(call.since - MOMENT, until + MOMENT)
        for silence in facts.happened.silences
    )


# --- quota ---------------------------------------------------------------------------------------


def quota_is_what_the_events_say(facts: Facts) -> Iterator[str]:
    units: Counter[Any] = Counter()
    requests: Counter[Any] = Counter()
    for events in facts.streams.values():
        first = events[0].event
        assert isinstance(first, Generation.Requested)
        returned = sum(one.event.units_returned for one in events if isinstance(one.event, FINAL))
        for key in _counters(first):
            units[key] += first.units - returned
            requests[key] += 1
    expected = {(*key, requests[key], units[key]) for key in requests}
    if expected != facts.counters:
        yield f"counters say {facts.counters - expected}, events {expected - facts.counters}"


def quota_is_never_exceeded(facts: Facts) -> Iterator[str]:
    used: Counter[CounterKey] = Counter()
    counters_of: dict[UUID, list[CounterKey]] = {}
    for one in facts.log:
        event = one.event
        if isinstance(event, Generation.Requested):
            counters_of[event.originator_id] = _counters(event)
            for key in _counters(event):
                used[key] += event.units
                limit = facts.limits.get(key[1])
                if limit is not None and used[key] > limit:
                    taken = f"{used[key]} of {limit} units were taken"
                    yield f"at position {one.position} {taken}, {key[1]}"
        elif isinstance(event, FINAL):
            for key in counters_of[event.originator_id]:
                used[key] -= event.units_returned


def _counters(asked: Generation.Requested) -> list[CounterKey]:
    """Whose units count where; an end user is told apart by their name here, not by our id."""
    name = asked.personal.end_user
    end_user = uuid5(asked.user_id, name) if name else None
    return [
        (
            end_user if window.is_end_users and end_user else asked.user_id,
            window.type,
            window.starts_at,
        )
        for window in asked.windows
    ]


# --- answers -------------------------------------------------------------------------------------


def nothing_answers_5xx_without_a_reason(facts: Facts) -> Iterator[str]:
    for answer in facts.happened.answers:
        if answer.status >= 500 and not is_excused(facts, answer):
            yield (
                f"{answer.request} through api-{answer.api} was answered {answer.status} "
                f"{answer.code} at {answer.came:%X.%f} (request {answer.request_id})"
            )


def nobody_is_told_nonsense(facts: Facts) -> Iterator[str]:
    """What is accepted is found; a 4xx is one that the load provokes."""
    expected = {409, 422, 429}
    for answer in facts.happened.answers:
        if 400 <= answer.status < 500 and answer.status not in expected:
            yield f"{answer.request} was answered {answer.status} {answer.code}"
        if answer.code in ("idempotency-key-reused", "invalid-request", "no-provider"):
            yield f"{answer.request} was answered {answer.status} {answer.code}"


def is_excused(facts: Facts, answer: Answer) -> bool:
    """A provider failed, or what is needed for an answer was down, or its process stopped."""
    if (answer.status, answer.code) in OF_A_PROVIDER:
        return True
    needed = {"database", f"api-{answer.api}"}
    needed |= {"network"} if answer.api == 1 else set()
    needed |= {"disk"} if answer.uploads else set()
    since = answer.sent - UNTIL_CONNECTED_AGAIN
    return answer.status == 503 and any(
        span.what in needed and span.touches(since, answer.came) for span in facts.happened.outages
    )


def every_process_ends_as_told(facts: Facts) -> Iterator[str]:
    yield from facts.happened.ends


def _name(id_: tuple[UUID, int]) -> str:
    return f"{id_[0]}/{id_[1]}"


PROMISES: tuple[Promise, ...] = (
    what_is_accepted_is_in_the_log,
    a_key_makes_one_generation,
    everything_is_final_in_time,
    everything_ends_once,
    streams_miss_nothing,
    the_ledger_and_the_log_know_the_same_calls,
    what_is_recorded_is_what_was_billed,
    every_repeat_is_explained,
    a_worker_is_given_up_only_when_it_was_silent,
    no_more_is_repeated_than_was_in_flight,
    without_a_kill_nothing_is_lost,
    quota_is_what_the_events_say,
    quota_is_never_exceeded,
    nothing_answers_5xx_without_a_reason,
    nobody_is_told_nonsense,
    every_process_ends_as_told,
)
