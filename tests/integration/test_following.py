"""Following is bounded, and what was followed is let go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from application.following import Following, TooManyFollowersError
from application.ports.event_store import Accepted, Command, Recorded
from application.queue_places import QueuePlaces
from domain.generation import ENDINGS, Generation
from infrastructure.event_store.news import PostgresNews
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.event_store.work import PostgresWorkBoard
from tests.generations import new_generation, request_command
from tests.processes import eventually
from tests.proxy import Proxy

SECONDS_WITHOUT_NEWS = 0.5


@pytest.fixture
async def news(database_url: str) -> AsyncIterator[PostgresNews]:
    listening = PostgresNews(database_url)
    await listening.open()
    yield listening
    await listening.close()


async def placed(store: PostgresEventStore) -> Generation:
    generation = new_generation(store.now())
    await store.append(request_command(generation))
    found = await store.get(Generation, generation.id)
    assert found is not None
    return found


@pytest.mark.parametrize("limits", [{"most_of_a_user": 1}, {"most_of_all": 1}])
async def test_who_follows_too_many_is_refused_until_one_is_let_go(
    store: PostgresEventStore, news: PostgresNews, limits: dict[str, int]
) -> None:
    places = QueuePlaces(PostgresWorkBoard(store), store.now)
    following = Following(store, news, places, **limits)
    generation = await placed(store)
    with following.seat(generation.user_id):
        async with aclosing(following.follow(generation, after=0)) as stream:
            assert isinstance(await anext(stream), Recorded)
            with (
                pytest.raises(TooManyFollowersError, match="Close a stream"),
                following.seat(generation.user_id),
            ):
                pass

    with following.seat(generation.user_id):
        assert not news._watchers


async def test_another_user_is_not_refused_for_it(
    store: PostgresEventStore, news: PostgresNews
) -> None:
    places = QueuePlaces(PostgresWorkBoard(store), store.now)
    following = Following(store, news, places, most_of_a_user=1)
    one, other = await placed(store), await placed(store)

    with following.seat(one.user_id), following.seat(other.user_id):
        assert following._followers.total() == 2


async def until_listening(store: PostgresEventStore, news: PostgresNews) -> None:
    """Until something recorded is told: before, everybody is woken for nothing."""
    generation = await placed(store)
    async with aclosing(news.watch(generation.id)) as watching:
        await anext(watching)
        generation.cancel(by=generation.user_id)
        await store.append(Command(events=generation.collect_events()))
        await anext(watching)


async def test_who_has_seen_a_stream_and_waits_for_its_end_is_told_nothing_else(
    store: PostgresEventStore, news: PostgresNews
) -> None:
    await until_listening(store, news)
    generation = new_generation(store.now())
    placed_at = await store.append(request_command(generation))
    assert isinstance(placed_at, Accepted)
    watching = news.watch(
        generation.id, kinds=ENDINGS, after=placed_at.position, every=SECONDS_WITHOUT_NEWS
    )
    async with aclosing(watching):
        assert not await anext(watching), "it has seen all there is"
        generation.start_call(provider="sketch", model="sketch", images=(1,))
        await store.append(Command(events=generation.collect_events()))
        assert not await anext(watching), "a call is not the end"
        generation.cancel(by=generation.user_id)
        await store.append(Command(events=generation.collect_events()))
        async with asyncio.timeout(10):
            while not await anext(watching):
                pass


async def test_an_end_that_was_recorded_before_one_watches_is_told(
    store: PostgresEventStore, news: PostgresNews
) -> None:
    generation = await placed(store)
    generation.cancel(by=generation.user_id)
    await store.append(Command(events=generation.collect_events()))
    for after in (None, 0):
        watching = news.watch(generation.id, kinds=ENDINGS, after=after)
        async with aclosing(watching), asyncio.timeout(10):
            assert await anext(watching)


async def test_who_listens_over_a_connection_that_says_nothing_any_more_takes_a_new_one(
    database_url: str, store: PostgresEventStore, caplog: pytest.LogCaptureFixture
) -> None:
    async with Proxy(database_url) as proxy:
        news = PostgresNews(proxy.url, silent_after=2.0)
        await news.open()
        generation = await placed(store)
        async with aclosing(news.watch(generation.id)) as woken:
            await anext(woken)
            proxy.pause()

            async def given_up() -> bool:
                return "cannot listen" in caplog.text

            await eventually(given_up)
            proxy.go_on()
            await store.append(request_command(new_generation(store.now())))
            assert await anext(woken)
        await news.close()
