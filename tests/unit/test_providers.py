"""Administrators switch providers off and on, and say which are asked first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from uuid import UUID, uuid4

import pytest

from application.idempotency import IdempotencyKeyReusedError
from application.ports.event_store import Outcome, StoreUnavailableError, UnknownEventError
from application.providers import ProviderChanges, ProviderNotFoundError, ProviderWish
from application.switches import Switches
from domain.aggregate import Event, caused_by
from domain.provider import PROVIDERS, Providers
from tests.fakes import MemoryEventStore
from tests.processes import eventually

CONFIGURED = ("openai", "gemini", "stability")
BOSS = uuid4()


def changes(store: MemoryEventStore) -> ProviderChanges:
    return ProviderChanges(store, Switches(store), configured=CONFIGURED)


async def order(store: MemoryEventStore) -> tuple[str, ...]:
    """As a process sees it that has just started."""
    switches = Switches(store)
    await switches.look()
    return switches.order(CONFIGURED)


def topics(store: MemoryEventStore) -> list[str]:
    return [row.stored.topic for row in store.rows]


# --- the rules -------------------------------------------------------------------------------


def test_what_nobody_decided_is_as_configured() -> None:
    providers = Providers.list(CONFIGURED, by=BOSS)
    assert providers.arranged(CONFIGURED) == CONFIGURED
    assert providers.switched_off == frozenset()


@pytest.mark.parametrize(
    ("name", "to", "expected"),
    [
        ("stability", 1, ("stability", "openai", "gemini")),
        ("openai", 2, ("gemini", "openai", "stability")),
        ("openai", 99, ("gemini", "stability", "openai")),
    ],
)
def test_a_provider_comes_to_its_place(name: str, to: int, expected: tuple[str, ...]) -> None:
    providers = Providers.list(CONFIGURED, by=BOSS)
    providers.move(name, to=to, among=CONFIGURED, by=BOSS)
    assert providers.arranged(CONFIGURED) == expected
    (_, moved) = providers.collect_events()
    assert isinstance(moved, Providers.Reordered)
    assert (moved.place, moved.order) == (expected.index(name) + 1, expected)


def test_what_is_as_wanted_is_no_decision() -> None:
    providers = Providers.list(CONFIGURED, by=BOSS)
    providers.enable("openai", by=BOSS)
    providers.move("gemini", to=2, among=CONFIGURED, by=BOSS)
    providers.disable("openai", by=BOSS)
    providers.disable("openai", by=BOSS)
    assert [type(event) for event in providers.collect_events()] == [
        Providers.Listed,
        Providers.Disabled,
    ]


def test_what_is_configured_later_comes_behind_and_what_is_no_more_leaves_no_gap() -> None:
    providers = Providers.list(CONFIGURED, by=BOSS)
    providers.move("stability", to=1, among=CONFIGURED, by=BOSS)
    assert providers.arranged(("sketch", "gemini", "stability")) == (
        "stability",
        "gemini",
        "sketch",
    )


# --- the command -----------------------------------------------------------------------------


async def test_a_provider_is_switched_off_on_and_moved() -> None:
    store = MemoryEventStore()
    await changes(store).change("openai", ProviderWish(enabled=False), by=BOSS)
    assert await order(store) == ("gemini", "stability")
    await changes(store).change("openai", ProviderWish(enabled=True, place=3), by=BOSS)
    assert await order(store) == ("gemini", "stability", "openai")
    assert topics(store) == [
        "provider.listed@1",
        "provider.disabled@1",
        "provider.enabled@1",
        "provider.reordered@1",
    ]


async def test_the_events_say_who_did_it() -> None:
    store = MemoryEventStore()
    with caused_by(actor=f"user:{BOSS}", correlation_id="a-request"):
        await changes(store).change("openai", ProviderWish(enabled=False), by=BOSS)
    (_, disabled) = await store.read(after=0, limit=9)
    assert isinstance(disabled.event, Providers.Disabled)
    assert (disabled.event.by, disabled.event.metadata.actor) == (BOSS, f"user:{BOSS}")


async def test_who_is_not_configured_cannot_be_switched() -> None:
    store = MemoryEventStore()
    with pytest.raises(ProviderNotFoundError, match="one of openai, gemini, stability"):
        await changes(store).change("dall-e", ProviderWish(enabled=False), by=BOSS)
    assert store.rows == []


async def test_a_repeated_command_is_done_once() -> None:
    store = MemoryEventStore()
    off, on = ProviderWish(enabled=False), ProviderWish(enabled=True)
    assert not await changes(store).change("openai", off, by=BOSS, idempotency_key="one")
    await changes(store).change("openai", on, by=BOSS)
    assert await changes(store).change("openai", off, by=BOSS, idempotency_key="one")
    assert await order(store) == CONFIGURED
    with pytest.raises(IdempotencyKeyReusedError):
        await changes(store).change("openai", on, by=BOSS, idempotency_key="one")


class RacingStore(MemoryEventStore):
    """All of them look before any of them appends."""

    async def append(self, command: object) -> Outcome:
        await asyncio.sleep(0)
        return await super().append(command)


async def test_administrators_who_decide_at_once_are_all_heard() -> None:
    store = RacingStore()
    await asyncio.gather(
        *(changes(store).change(name, ProviderWish(enabled=False), by=BOSS) for name in CONFIGURED)
    )
    assert await order(store) == ()


# --- what a process knows --------------------------------------------------------------------


class News:
    """Tells of something whenever `told` is called."""

    def __init__(self) -> None:
        self._woken: asyncio.Queue[bool] = asyncio.Queue()
        self._woken.put_nowait(True)
        self.watched: list[UUID] = []

    def tell(self) -> None:
        self._woken.put_nowait(True)

    async def watch(
        self,
        stream: UUID,
        *,
        kinds: Sequence[type[Event]] = (),
        after: int | None = None,
        every: float | None = None,
    ) -> AsyncGenerator[bool]:
        self.watched.append(stream)
        while True:
            yield await self._woken.get()


async def test_a_process_hears_of_what_was_decided_elsewhere() -> None:
    store, news = MemoryEventStore(), News()
    here = Switches(store)
    following = asyncio.create_task(here.follow(news))
    await changes(store).change("openai", ProviderWish(enabled=False), by=BOSS)
    news.tell()

    async def heard() -> bool:
        return not here.is_on("openai")

    await eventually(heard)
    assert news.watched == [PROVIDERS]
    following.cancel()


async def test_the_process_in_which_it_was_decided_knows_at_once() -> None:
    store = MemoryEventStore()
    here = Switches(store)
    commands = ProviderChanges(store, here, configured=CONFIGURED)
    await commands.change("openai", ProviderWish(enabled=False), by=BOSS)
    assert here.order(CONFIGURED) == ("gemini", "stability")


async def test_what_was_seen_holds_while_the_store_is_away() -> None:
    store, news = MemoryEventStore(), News()
    here = Switches(store)
    await ProviderChanges(store, here, configured=CONFIGURED).change(
        "openai", ProviderWish(enabled=False), by=BOSS
    )
    store.fail_next_read = [StoreUnavailableError("away")]
    following = asyncio.create_task(here.follow(news))

    async def looked() -> bool:
        return not store.fail_next_read

    await eventually(looked)
    assert not here.is_on("openai")
    assert not following.done()
    following.cancel()


async def test_a_decision_of_a_newer_release_is_left_to_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = MemoryEventStore()
    here = Switches(store)
    store.fail_next_read = [UnknownEventError("provider.praised@1") for _ in range(2)]
    await here.look()
    await here.look()
    assert here.order(CONFIGURED) == CONFIGURED
    assert len(caplog.records) == 1
