"""One try of a delivery, on the in-memory store: signed as receivers check it, and recorded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from application.announcing import Announcer
from application.delivering import Deliverer
from application.ports.event_store import Accepted, Command, StoreUnavailableError
from domain.delivery import Delivery
from domain.retries import Answer, Retries
from domain.webhook import Webhooks, webhooks_id
from infrastructure.webhooks.secrets import DerivedSecrets
from interfaces.rest.webhook_bodies import body_of
from tests.fakes import FakeClock, MemoryEventStore
from tests.fakes_webhooks import (
    FakeDeliveryQueue,
    FakeSender,
    MemoryDeliveryBoard,
    MemoryEndedGenerations,
)
from tests.webhooks import URL, end_one, register

ME = uuid4()
KEY = "a-secret-key-for-tests"
DOWN = Answer(trouble="unreachable")


@dataclass
class Office:
    """Everything but the network."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(datetime.now(UTC)))
    sender: FakeSender = field(default_factory=FakeSender)
    queue: FakeDeliveryQueue = field(default_factory=FakeDeliveryQueue)
    key: str | None = KEY
    retries: Retries = field(default_factory=lambda: Retries((0, 10)))

    def __post_init__(self) -> None:
        self.store = MemoryEventStore(clock=self.clock)
        self.secrets = DerivedSecrets(self.key)
        self.announcer = Announcer(self.store, MemoryEndedGenerations(self.store))

    @property
    def deliverer(self) -> Deliverer:
        return Deliverer(
            store=self.store,
            board=MemoryDeliveryBoard(self.store),
            queue=self.queue,
            sender=self.sender,
            secrets=self.secrets,
            retries=self.retries,
            jitter=lambda: 0.0,
            body=body_of,
        )

    async def announced(self, **wanted: str) -> UUID:
        await end_one(self.store, user_id=ME, **wanted)
        (due,) = (await self.announcer.announce()).new
        return due.id

    async def tried(self, id_: UUID, attempt: int = 1) -> Delivery:
        await self.deliverer.deliver(id_, attempt)
        delivery = await self.store.get(Delivery, id_)
        assert delivery is not None
        return delivery

    async def webhooks(self) -> Webhooks:
        webhooks = await self.store.get(Webhooks, webhooks_id(ME))
        assert webhooks is not None
        return webhooks

    async def decide(self, decide: Callable[[Webhooks], object]) -> None:
        webhooks = await self.webhooks()
        decide(webhooks)
        assert isinstance(await self.store.append(Command(webhooks.collect_events())), Accepted)


@pytest.fixture
def office() -> Office:
    return Office()


def secret(owner: UUID, number: int = 1) -> str:
    return DerivedSecrets(KEY).secret(owner, number)


async def test_what_is_sent_is_what_receivers_verify(office: Office) -> None:
    hook = await register(office.store, ME)
    delivery = await office.tried(await office.announced())
    (sent,) = office.sender.sent
    told = Webhook(secret(hook)).verify(sent.body, dict(sent.headers))
    assert sent.url == URL
    assert sent.headers["webhook-id"] == str(delivery.id)
    assert told["type"] == "image.generation.cancelled"
    assert told["data"]["id"] == str(delivery.generation)
    assert told["data"]["status"] == "cancelled"
    assert delivery.status == "delivered"


async def test_the_address_of_a_request_is_told_under_the_users_own_secret(office: Office) -> None:
    await office.tried(await office.announced(webhook_url="https://once.example/"))
    (sent,) = office.sender.sent
    assert sent.url == "https://once.example/"
    Webhook(secret(ME)).verify(sent.body, dict(sent.headers))


async def test_both_secrets_sign_until_the_old_one_ends(office: Office) -> None:
    hook = await register(office.store, ME)
    now = office.clock()
    await office.decide(lambda webhooks: webhooks.rotate_secret(hook, now=now, by=ME))
    await office.tried(await office.announced())
    office.clock.advance(hours=24)
    await office.tried(await office.announced())
    during, after = office.sender.sent
    for number in (1, 2):
        Webhook(secret(hook, number)).verify(during.body, dict(during.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(secret(hook, 3)).verify(during.body, dict(during.headers))
    assert len(during.headers["webhook-signature"].split()) == 2
    assert len(after.headers["webhook-signature"].split()) == 1


async def test_a_try_that_comes_twice_is_made_once(office: Office) -> None:
    await register(office.store, ME)
    id_ = await office.announced()
    await office.tried(id_)
    await office.tried(id_)
    await office.tried(id_, attempt=2)
    assert len(office.sender.sent) == 1


async def test_a_try_that_is_under_way_is_not_begun_again_beside_itself(office: Office) -> None:
    await register(office.store, ME)
    id_, deliverer = await office.announced(), office.deliverer
    await asyncio.gather(*(deliverer.deliver(id_, 1) for _ in range(5)))
    assert len(office.sender.sent) == 1


async def test_the_id_stays_over_tries_and_the_time_does_not(office: Office) -> None:
    await register(office.store, ME)
    office.sender.answers = [Answer(500), Answer(200)]
    id_ = await office.announced()
    await office.tried(id_)
    office.clock.advance(seconds=10)
    await office.tried(id_, attempt=2)
    first, second = (sent.headers for sent in office.sender.sent)
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) == int(first["webhook-timestamp"]) + 10


async def test_who_is_gone_is_disabled_together_with_the_delivery(office: Office) -> None:
    hook = await register(office.store, ME)
    office.sender.answers = [Answer(410)]
    delivery = await office.tried(await office.announced())
    assert (delivery.status, delivery.problem) == ("given_up", "gone")
    assert (await office.webhooks()).endpoint(hook).disabled == "gone"
    await end_one(office.store, user_id=ME)
    assert (await office.announcer.announce()).new == []


async def test_who_took_nothing_until_a_delivery_was_given_up_is_disabled(office: Office) -> None:
    hook = await register(office.store, ME)
    office.sender.answers = [DOWN]
    id_ = await office.announced()
    await office.tried(id_)
    assert (await office.webhooks()).endpoint(hook).disabled is None
    office.clock.advance(days=1)
    delivery = await office.tried(id_, attempt=2)
    assert delivery.status == "given_up"
    assert (await office.webhooks()).endpoint(hook).disabled == "failing"


async def test_who_failed_for_less_than_a_day_stays_enabled(office: Office) -> None:
    hook = await register(office.store, ME)
    office.retries, office.sender.answers = Retries((0,)), [DOWN]
    id_ = await office.announced()
    office.clock.advance(hours=23, minutes=59)
    assert (await office.tried(id_)).status == "given_up"
    assert (await office.webhooks()).endpoint(hook).disabled is None


async def test_who_took_another_one_meanwhile_stays_enabled(office: Office) -> None:
    hook = await register(office.store, ME)
    office.sender.answers = [DOWN, Answer(200), DOWN]
    id_ = await office.announced()
    await office.tried(id_)
    office.clock.advance(days=1)
    await office.tried(await office.announced())
    await office.tried(id_, attempt=2)
    assert (await office.webhooks()).endpoint(hook).disabled is None


async def test_who_was_enabled_again_is_not_disabled_by_what_was_begun_before(
    office: Office,
) -> None:
    hook = await register(office.store, ME)
    office.sender.answers = [DOWN]
    id_ = await office.announced()
    await office.tried(id_)
    office.clock.advance(days=1)
    await office.decide(lambda webhooks: webhooks.disable(hook, by=ME))
    await office.decide(lambda webhooks: webhooks.enable(hook, by=ME))
    delivery = await office.tried(id_, attempt=2)
    assert delivery.status == "given_up"
    assert (await office.webhooks()).endpoint(hook).disabled is None


@pytest.mark.parametrize(
    ("decide", "problem"),
    [
        (lambda w, hook: w.give_up(hook, "gone", since=w.endpoint(hook).since), "disabled"),
        (lambda w, hook: w.remove(hook, by=ME), "removed"),
    ],
    ids=["gone", "removed"],
)
async def test_who_is_not_to_be_told_any_more_is_sent_nothing(
    office: Office, decide: Callable[[Webhooks, UUID], None], problem: str
) -> None:
    hook, problem = await register(office.store, ME), f"endpoint_{problem}"
    id_ = await office.announced()
    await office.decide(lambda webhooks: decide(webhooks, hook))
    delivery = await office.tried(id_)
    assert (delivery.status, delivery.problem, delivery.attempts) == ("given_up", problem, 0)
    assert office.sender.sent == []


async def test_who_was_disabled_by_its_owner_for_a_moment_is_told_later(office: Office) -> None:
    hook = await register(office.store, ME)
    id_ = await office.announced()
    await office.decide(lambda webhooks: webhooks.disable(hook, by=ME))
    put_off = await office.tried(id_)
    assert (put_off.status, put_off.problem) == ("due", "endpoint_disabled")
    assert office.sender.sent == []
    await office.decide(lambda webhooks: webhooks.enable(hook, by=ME))
    assert (await office.tried(id_, attempt=2)).status == "delivered"


async def test_who_stays_disabled_through_all_tries_is_sent_nothing(office: Office) -> None:
    hook = await register(office.store, ME)
    id_ = await office.announced()
    await office.decide(lambda webhooks: webhooks.disable(hook, by=ME))
    await office.tried(id_)
    delivery = await office.tried(id_, attempt=2)
    assert (delivery.status, delivery.problem) == ("given_up", "endpoint_disabled")
    assert office.sender.sent == []


async def test_what_fails_for_a_reason_nobody_thought_of_is_tried_again_and_ends(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    hook = await register(office.store, ME)
    id_ = await office.announced()

    async def fail(*_: object) -> Answer:
        raise ValueError("nobody thought of it")

    office.sender.send = fail  # type: ignore[method-assign]  # of this one
    first = await office.tried(id_)
    assert (first.status, first.problem, first.attempts) == ("due", "broken", 1)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "a try failed for us"
    ]
    office.clock.advance(days=2)
    assert (await office.tried(id_, attempt=2)).status == "given_up"
    assert (await office.webhooks()).endpoint(hook).disabled is None


async def test_a_users_webhooks_that_cannot_be_read_are_no_reason_to_keep_a_delivery(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is recorded by what is known of the delivery itself."""
    await register(office.store, ME)
    id_ = await office.announced()

    def unreadable(*_: object) -> None:
        raise ValueError("an event that nobody can read")

    monkeypatch.setattr("application.delivering.webhooks_id", unreadable)
    await office.tried(id_)
    assert (await office.tried(id_, attempt=2)).status == "given_up"


async def test_a_try_that_somebody_else_is_at_is_left_to_them(office: Office) -> None:
    await register(office.store, ME)
    id_ = await office.announced()
    assert await office.queue.begin(id_, 1)
    assert (await office.tried(id_)).attempts == 0
    office.queue.available = False
    assert (await office.tried(id_)).attempts == 1, "who cannot ask makes it"


async def test_nobody_is_disabled_because_there_was_nothing_to_sign_with() -> None:
    office = Office(key=None, retries=Retries((0,)))
    hook = await register(office.store, ME)
    id_ = await office.announced()
    office.clock.advance(days=2)
    delivery = await office.tried(id_)
    assert (delivery.status, delivery.problem) == ("given_up", "unsigned")
    assert (await office.webhooks()).endpoint(hook).disabled is None


async def test_without_a_secret_key_it_waits_for_one() -> None:
    office = Office(key=None)
    await register(office.store, ME)
    delivery = await office.tried(await office.announced())
    assert (delivery.status, delivery.problem) == ("due", "unsigned")
    assert office.sender.sent == []


async def test_what_somebody_decided_while_it_was_sent_is_kept(office: Office) -> None:
    """A resend by hand, while the try is under way: the try counts, and answers it."""
    await register(office.store, ME)
    id_ = await office.announced()
    send = office.sender.send

    async def meanwhile(*told: object) -> Answer:
        delivery = await office.store.get(Delivery, id_)
        assert delivery is not None
        delivery.resend(by=ME)
        await office.store.append(Command(delivery.collect_events()))
        return await send(*told)  # type: ignore[arg-type]  # as it came

    office.sender.send = meanwhile  # type: ignore[method-assign]  # of this one
    delivery = await office.tried(id_)
    assert (delivery.status, delivery.attempts) == ("delivered", 1)


async def test_an_outcome_is_recorded_however_long_the_store_is_away(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("application.recording.PAUSES", (0.0,))
    await register(office.store, ME)
    id_ = await office.announced()
    office.store.fail_next = [StoreUnavailableError("away")] * 3
    assert (await office.tried(id_)).status == "delivered"


async def test_a_test_says_whom_it_is_for_and_disables_nobody(office: Office) -> None:
    hook, id_ = await register(office.store, ME), uuid4()
    test = Delivery.of_test(id_, user_id=ME, endpoint=hook)
    await office.store.append(Command(test.collect_events()))
    office.sender.answers = [Answer(500)]
    delivery = await office.tried(id_)
    told = json.loads(office.sender.sent[0].body)
    assert (told["type"], told["data"]) == ("webhook.test", {"endpointId": str(hook)})
    assert delivery.status == "given_up"
    assert (await office.webhooks()).endpoint(hook).disabled is None


def test_secrets_differ_by_key_owner_and_number() -> None:
    made = {
        DerivedSecrets(key).secret(owner, number)
        for key in (KEY, "another-key-for-tests")
        for owner in (ME, uuid4())
        for number in (1, 2)
    }
    assert len(made) == 8
    assert all(one.startswith("whsec_") and len(one) == 50 for one in made)
    assert secret(ME) == secret(ME)
