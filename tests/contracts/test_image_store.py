"""What every image store does, shown over the ones on the disk, in memory and at Supabase."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from application.ports.images import (
    ImageKeyRefusedError,
    ImageNotFoundError,
    ImageStore,
    ImageStoreUnavailableError,
    Mark,
    ObjectDiffersError,
)
from domain.image import image_key, reference_key
from infrastructure.image_stores import supabase_storage
from tests.image_stores import BROKEN, DATA, HASH, STORES, StoreUnderTest, new_key

A_MOMENT = timedelta(seconds=5)  # as exactly as a server tells the time
NO_KEYS = [
    "",
    "images",
    "images/",
    "/images/a/b.png",
    "images/../secret.png",
    "images/../../etc/passwd.png",
    "images/a/../b.png",
    "images/./a.png",
    "images//a.png",
    "images/a/b.png\n",
    "images/a/b\0.png",
    "images/a\\b/c.png",
    "images/a/b/c.png",
    "images/a/.unfinished-1.png",
    "images/a/b.svg",
    "images/ä/b.png",
    "spool/a/b.png",
    "images/" + "a" * 65 + "/b.png",
]


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for again is asked for at once."""
    monkeypatch.setattr(supabase_storage, "PAUSES", (0, 0))


@pytest.fixture(params=STORES)
async def under_test(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[StoreUnderTest]:
    async with STORES[request.param](tmp_path) as under_test:
        yield under_test


@pytest.fixture
def store(under_test: StoreUnderTest) -> ImageStore:
    return under_test.store


@pytest.fixture(params=BROKEN)
async def broken_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ImageStore]:
    async with BROKEN[request.param](tmp_path) as broken:
        yield broken.store


async def test_what_was_put_can_be_got(store: ImageStore) -> None:
    for key in (new_key(), reference_key(uuid4(), HASH, "image/webp")):
        await store.put(key, DATA, "image/png")
        assert await store.get(key) == DATA


async def test_the_same_bytes_again_are_no_error(store: ImageStore) -> None:
    key = new_key()
    await store.put(key, DATA, "image/png")
    await store.put(key, DATA, "image/png")
    assert await store.get(key) == DATA


async def test_an_object_never_changes(store: ImageStore) -> None:
    key = new_key()
    await store.put(key, DATA, "image/png")
    with pytest.raises(ObjectDiffersError):
        await store.put(key, DATA + b"!", "image/png")
    assert await store.get(key) == DATA


async def test_what_was_never_put_is_not_found(store: ImageStore) -> None:
    with pytest.raises(ImageNotFoundError):
        await store.get(new_key())


async def test_a_store_holds_exactly_the_bytes_of_the_hash(store: ImageStore) -> None:
    key = new_key()
    assert not await store.holds(key, sha256=HASH)
    await store.put(key, DATA, "image/png")
    assert await store.holds(key, sha256=HASH)
    assert not await store.holds(key, sha256="0" * 64)


async def test_deleted_objects_are_gone_and_others_stay(store: ImageStore) -> None:
    generation = uuid4()
    first, second = (image_key(generation, n, HASH, "image/png") for n in (1, 2))
    await store.put(first, DATA, "image/png")
    await store.put(second, DATA, "image/png")
    await store.delete([first, new_key()])
    assert not await store.holds(first, sha256=HASH)
    assert await store.holds(second, sha256=HASH)


async def all_seen(store: ImageStore, at_once: int = 100) -> dict[str, timedelta]:
    return {
        seen.key: seen.age async for page in store.walk(at_once=at_once) for seen in page.objects
    }


async def test_a_walk_sees_every_object_a_few_at_a_time(store: ImageStore) -> None:
    generation = uuid4()
    keys = {image_key(generation, n, HASH, "image/png") for n in range(5)}
    keys |= {new_key(), new_key(), reference_key(uuid4(), HASH, "image/png")}
    for key in keys:
        await store.put(key, DATA, "image/png")
    assert set(await all_seen(store, at_once=3)) == keys
    async for page in store.walk(at_once=3):
        assert len(page.objects) <= 3


async def test_a_walk_through_an_empty_store_ends(store: ImageStore) -> None:
    assert await all_seen(store) == {}


async def test_an_object_that_is_put_again_is_young_again(under_test: StoreUnderTest) -> None:
    store = under_test.store
    old, again = new_key(), new_key()
    await store.put(old, DATA, "image/png")
    await store.put(again, DATA, "image/png")
    under_test.let_it_age(days=2)
    await store.put(again, DATA, "image/png")
    ages = await all_seen(store)
    assert ages[old] >= timedelta(days=2) - A_MOMENT
    assert ages[again] < timedelta(days=1)


async def test_only_an_object_that_is_old_is_forgotten(under_test: StoreUnderTest) -> None:
    store = under_test.store
    old, young = new_key(), new_key()
    await store.put(old, DATA, "image/png")
    under_test.let_it_age(days=2)
    await store.put(young, DATA, "image/png")
    assert await store.forget(old, older_than=timedelta(days=1))
    assert not await store.forget(young, older_than=timedelta(days=1))
    assert not await store.forget(old, older_than=timedelta(days=1)), "it is gone already"
    assert set(await all_seen(store)) == {young}
    await store.put(old, DATA, "image/png")
    assert await store.get(old) == DATA


async def test_marks_lie_beside_each_other_until_they_are_replaced(store: ImageStore) -> None:
    assert list(await store.marks()) == []
    mine, another, later = a_mark(1), a_mark(0), a_mark(2)
    for mark in (mine, another, mine):
        await store.mark(mark)
    assert set(await store.marks()) == {mine, another}
    await store.mark(later, instead_of=[mine, a_mark(7)])
    assert set(await store.marks()) == {another, later}
    await store.mark(later, instead_of=[later])
    assert set(await store.marks()) == {another, later}
    assert await all_seen(store) == {}, "a mark is no object"


def a_mark(position: int) -> Mark:
    return Mark(uuid4(), position, datetime(2026, 11, 25, 4, 5, 6, 789, tzinfo=UTC))


async def test_deleting_twice_is_no_error_and_one_can_put_again(store: ImageStore) -> None:
    key = new_key()
    await store.put(key, DATA, "image/png")
    await store.delete([key])
    await store.delete([key])
    await store.put(key, DATA, "image/png")
    assert await store.get(key) == DATA


async def test_the_url_of_an_image_is_permanent(under_test: StoreUnderTest) -> None:
    key = new_key()
    assert under_test.store.url(key) == f"{under_test.public_url}/{key}"


async def test_a_reference_has_no_public_url(store: ImageStore) -> None:
    with pytest.raises(ImageKeyRefusedError):
        store.url(reference_key(uuid4(), HASH, "image/png"))


@pytest.mark.parametrize("key", NO_KEYS)
async def test_only_keys_of_images_and_references_are_taken(store: ImageStore, key: str) -> None:
    with pytest.raises(ImageKeyRefusedError, match="letters, digits and hyphens"):
        await store.put(key, DATA, "image/png")
    with pytest.raises(ImageKeyRefusedError):
        await store.get(key)
    with pytest.raises(ImageKeyRefusedError):
        await store.delete([key])
    with pytest.raises(ImageKeyRefusedError):
        await store.forget(key, older_than=timedelta())
    with pytest.raises(ImageKeyRefusedError):
        store.url(key)


async def test_an_unavailable_store_says_so_without_a_path(broken_store: ImageStore) -> None:
    key = new_key()
    with pytest.raises(ImageStoreUnavailableError) as put:
        await broken_store.put(key, DATA, "image/png")
    with pytest.raises(ImageStoreUnavailableError):
        await broken_store.get(key)
    with pytest.raises(ImageStoreUnavailableError):
        await broken_store.holds(key, sha256=HASH)
    with pytest.raises(ImageStoreUnavailableError):
        await broken_store.mark(a_mark(1))
    with pytest.raises(ImageStoreUnavailableError):
        await broken_store.forget(key, older_than=timedelta())
    assert "/" not in str(put.value)
