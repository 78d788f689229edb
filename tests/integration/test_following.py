"""Following is bounded, and what was followed is let go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from application.following import Following, TooManyFollowersError
from application.ports import Recorded
from application.queue_places import QueuePlaces
from domain.generation import Generation
from infrastructure.event_store.news import PostgresNews
from infrastructure.event_store.store import PostgresEventStore
from infrastructure.event_store.work import PostgresWorkBoard
from tests.generations import new_generation, request_command


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresEventStore]:
    opened = PostgresEventStore(database_url)
    await opened.open()
    yield opened
    await opened.close()


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
