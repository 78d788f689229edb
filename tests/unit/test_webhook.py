"""The endpoints of a user: who is told of what, and with which secrets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from domain.webhook import (
    EVENT_TYPES,
    MOST_ENDPOINTS,
    EndpointNotFoundError,
    TooManyDecisionsError,
    TooManyEndpointsError,
    Webhooks,
)
from tests.webhooks import URL, recorded, with_endpoint

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ME, HOOK = uuid4(), uuid4()
COMPLETED = "image.generation.completed"


@pytest.fixture
def webhooks() -> Webhooks:
    return with_endpoint(NOW, HOOK, user_id=ME)


def told(webhooks: Webhooks, at: datetime = LATER) -> list[UUID]:
    return [endpoint.id for endpoint in webhooks.wanting(COMPLETED, at)]


def test_an_endpoint_is_told_of_what_happens_once_it_is_there(webhooks: Webhooks) -> None:
    assert told(webhooks) == [HOOK]
    assert told(webhooks, NOW - timedelta(seconds=1)) == []


def test_an_endpoint_is_told_of_what_it_wants_alone(webhooks: Webhooks) -> None:
    changed = recorded(
        webhooks, NOW, lambda w: w.change(HOOK, events={"image.generation.failed"}, by=ME)
    )
    assert told(changed) == []
    assert changed.endpoint(HOOK).url == URL


def test_events_are_kept_once_and_in_order() -> None:
    webhooks = Webhooks.open(ME)
    webhooks.register(HOOK, url=URL, events=[*reversed(EVENT_TYPES), COMPLETED], by=ME)
    assert webhooks.endpoint(HOOK).events == EVENT_TYPES


def test_a_disabled_endpoint_is_told_nothing_and_an_enabled_one_not_of_the_time_between(
    webhooks: Webhooks,
) -> None:
    disabled = recorded(webhooks, NOW, lambda w: w.disable(HOOK, by=ME))
    assert told(disabled) == []
    enabled = recorded(disabled, LATER, lambda w: w.enable(HOOK, by=ME))
    assert told(enabled, LATER) == [HOOK]
    assert told(enabled, LATER - timedelta(minutes=1)) == []


def test_who_answers_that_it_is_gone_is_disabled_for_that(webhooks: Webhooks) -> None:
    webhooks.give_up(HOOK, "gone", since=LATER)
    assert webhooks.endpoint(HOOK).disabled == "gone"


def test_what_was_begun_before_somebody_enabled_it_disables_nothing(webhooks: Webhooks) -> None:
    webhooks.give_up(HOOK, "failing", since=NOW - timedelta(days=1))
    assert webhooks.endpoint(HOOK).disabled is None


def test_who_was_removed_meanwhile_is_not_disabled(webhooks: Webhooks) -> None:
    webhooks.remove(HOOK, by=ME)
    webhooks.collect_events()
    webhooks.give_up(HOOK, "gone", since=LATER)
    assert webhooks.collect_events() == []


def test_two_secrets_are_valid_while_one_is_rotated(webhooks: Webhooks) -> None:
    webhooks.rotate_secret(HOOK, now=NOW, by=ME)
    secret = webhooks.endpoint(HOOK).secret
    assert secret.numbers_at(NOW + timedelta(hours=23)) == (2, 1)
    assert secret.numbers_at(NOW + timedelta(hours=24)) == (2,)
    webhooks.rotate_secret(HOOK, now=NOW, by=ME)
    assert webhooks.endpoint(HOOK).secret.numbers_at(NOW) == (3, 2)


def test_the_secret_of_single_requests_is_rotated_apart(webhooks: Webhooks) -> None:
    webhooks.rotate_secret(None, now=NOW, by=ME)
    assert webhooks.secret.numbers_at(NOW) == (2, 1)
    assert webhooks.endpoint(HOOK).secret.numbers_at(NOW) == (1,)


def test_there_are_so_many_endpoints_and_no_more() -> None:
    webhooks = Webhooks.open(ME)
    for _ in range(MOST_ENDPOINTS):
        webhooks.register(uuid4(), url=URL, events=EVENT_TYPES, by=ME)
    with pytest.raises(TooManyEndpointsError, match="20 webhooks"):
        webhooks.register(uuid4(), url=URL, events=EVENT_TYPES, by=ME)


def test_what_is_as_wanted_is_no_decision(webhooks: Webhooks) -> None:
    webhooks.enable(HOOK, by=ME)
    webhooks.change(HOOK, url=URL, events=EVENT_TYPES, by=ME)
    assert webhooks.collect_events() == []
    webhooks.disable(HOOK, by=ME)
    webhooks.disable(HOOK, by=ME)
    assert len(webhooks.collect_events()) == 1


@pytest.mark.parametrize(
    "decide",
    [
        lambda w: w.enable(uuid4(), by=ME),
        lambda w: w.disable(uuid4(), by=ME),
        lambda w: w.change(uuid4(), by=ME),
        lambda w: w.remove(uuid4(), by=ME),
        lambda w: w.rotate_secret(uuid4(), now=NOW, by=ME),
    ],
)
def test_an_endpoint_that_is_not_there_cannot_be_changed(
    webhooks: Webhooks, decide: Callable[[Webhooks], None]
) -> None:
    with pytest.raises(EndpointNotFoundError):
        decide(webhooks)


def test_an_address_is_personal_and_stands_nowhere_else() -> None:
    webhooks = Webhooks.open(ME)
    webhooks.register(HOOK, url=URL, events=EVENT_TYPES, by=ME)
    (_, registered) = webhooks.collect_events()
    assert URL in registered.model_dump_json()
    assert URL not in registered.model_dump_json(exclude={"personal"})


def test_after_so_many_decisions_only_those_that_end_are_taken(
    webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("domain.webhook.MOST_DECISIONS", 4)
    other = uuid4()
    webhooks.register(other, url=URL, events=EVENT_TYPES, by=ME)
    webhooks.disable(other, by=ME)
    for refused in (
        lambda: webhooks.register(uuid4(), url=URL, events=EVENT_TYPES, by=ME),
        lambda: webhooks.change(HOOK, url=f"{URL}/2", by=ME),
        lambda: webhooks.rotate_secret(HOOK, now=NOW, by=ME),
        lambda: webhooks.rotate_secret(None, now=NOW, by=ME),
        lambda: webhooks.enable(other, by=ME),
    ):
        with pytest.raises(TooManyDecisionsError, match="disable and remove"):
            refused()
    webhooks.disable(HOOK, by=ME)
    webhooks.remove(HOOK, by=ME)
    webhooks.remove(other, by=ME)
    assert webhooks.endpoints == {}
