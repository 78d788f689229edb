"""The image store at Supabase, over its SDK and HTTP: what is particular to it."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, tzinfo
from hashlib import sha256
from uuid import uuid4

import httpx
import pytest

from application.ports.images import (
    ImageStoreUnavailableError,
    ObjectDiffersError,
)
from domain.image import image_key, reference_key
from infrastructure.image_stores import supabase_storage
from infrastructure.image_stores.supabase import SupabaseImageStore
from tests.image_stores import BUCKET, DATA, HASH, REFERENCES, new_key, supabase_store
from tests.integration.supabase.asked import UPLOADS, asked
from tests.servers.supabase import SupabaseServer
from tests.servers.supabase_objects import Bucket

MB = 1024 * 1024


# --- buckets -------------------------------------------------------------------------------------


async def test_pictures_are_public_and_references_private(
    store: SupabaseImageStore, server: SupabaseServer
) -> None:
    picture, reference = new_key(), reference_key(uuid4(), HASH, "image/webp")
    await store.put(picture, DATA, "image/png")
    await store.put(reference, DATA, "image/webp")
    pictures, references = server.buckets[BUCKET], server.buckets[REFERENCES]
    assert (pictures.public, list(pictures.objects)) == (True, [picture])
    assert (references.public, list(references.objects)) == (False, [reference])
    async with httpx.AsyncClient() as stranger:
        seen = await stranger.get(store.url(picture))
        hidden = await stranger.get(store.url(picture).replace(picture, reference))
    assert (seen.content, seen.headers["content-type"]) == (DATA, "image/png")
    assert seen.headers["cache-control"] == "max-age=3600"
    assert hidden.status_code == 400


async def test_the_url_is_the_one_that_the_sdk_makes(store: SupabaseImageStore) -> None:
    key = new_key()
    made = await store._storage.ask(lambda client: client.from_(BUCKET).get_public_url(key))
    assert made == store.url(key)


async def test_a_bucket_that_vanishes_is_made_again(
    store: SupabaseImageStore, server: SupabaseServer
) -> None:
    await store.put(new_key(), DATA, "image/png")
    del server.buckets[BUCKET]
    key = new_key()
    await store.put(key, DATA, "image/png")
    assert await store.get(key) == DATA


async def test_two_processes_may_make_the_buckets_at_once(server: SupabaseServer, url: str) -> None:
    stores = [supabase_store(url) for _ in range(8)]
    keys = [new_key() for _ in stores]
    await asyncio.gather(
        *(store.put(key, DATA, "image/png") for store, key in zip(stores, keys, strict=True))
    )
    assert set(server.buckets[BUCKET].objects) == set(keys)
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    ("bucket", "public", "said"),
    [(BUCKET, False, "Make it public"), (REFERENCES, True, "Make it private")],
)
async def test_buckets_that_are_open_to_the_wrong_people_are_not_used(
    store: SupabaseImageStore, server: SupabaseServer, bucket: str, public: bool, said: str
) -> None:
    server.buckets[bucket] = Bucket(bucket, public=public)
    with pytest.raises(ImageStoreUnavailableError, match=said):
        await store.put(new_key(), DATA, "image/png")
    assert server.uploads(BUCKET) == []


# --- answers that are lost, and objects that are there -------------------------------------------


async def test_an_upload_whose_answer_is_lost_has_happened_once(
    store: SupabaseImageStore, server: SupabaseServer
) -> None:
    key = new_key()
    server.switches.tell(next=["lose_answer"], only=UPLOADS)
    await store.put(key, DATA, "image/png")
    assert len(server.uploads(BUCKET)) == 1
    assert await store.holds(key, sha256=HASH)


async def test_of_a_large_upload_too(store: SupabaseImageStore, server: SupabaseServer) -> None:
    data = DATA * (64 * MB // len(DATA))
    key = image_key(uuid4(), 1, sha256(data).hexdigest(), "image/png")
    server.switches.tell(next=["lose_answer"], only=UPLOADS)
    await store.put(key, data, "image/png")
    await store.put(key, data, "image/png")
    assert len(server.uploads(BUCKET)) == 1
    assert await store.holds(key, sha256=sha256(data).hexdigest())


async def test_what_is_a_duplicate_of_other_bytes_is_no_success(
    store: SupabaseImageStore, server: SupabaseServer
) -> None:
    key = new_key()
    await store.put(key, DATA[:-1], "image/png")
    server.let_it_age(days=2)
    with pytest.raises(ObjectDiffersError):
        await store.put(key, DATA, "image/png")
    assert await store.get(key) == DATA[:-1]
    assert not await store.holds(key, sha256=HASH)


async def test_a_duplicate_that_is_gone_when_one_looks_is_uploaded_again(
    store: SupabaseImageStore, server: SupabaseServer
) -> None:
    key = new_key()
    server.switches.tell(next=["duplicate"], only=UPLOADS)
    await store.put(key, DATA, "image/png")
    assert await store.get(key) == DATA


async def test_nothing_is_uploaded_in_the_place_of_what_is_young(
    store: SupabaseImageStore, server: SupabaseServer
) -> None:
    key = new_key()
    await store.put(key, DATA, "image/png")
    await store.put(key, DATA, "image/png")
    assert asked(server, "PUT") == 0


async def test_what_the_cdn_does_not_show_yet_is_not_held(
    store: SupabaseImageStore, server: SupabaseServer
) -> None:
    server.switches.options["appears_after"] = 2
    key = new_key()
    await store.put(key, DATA, "image/png")
    looks = [await store.holds(key, sha256=HASH) for _ in range(3)]
    assert looks == [False, False, True]


async def test_more_objects_are_deleted_than_one_request_may_name(
    store: SupabaseImageStore, server: SupabaseServer
) -> None:
    key, reference = new_key(), reference_key(uuid4(), HASH, "image/png")
    await store.put(key, DATA, "image/png")
    await store.put(reference, DATA, "image/png")
    await store.delete([*(new_key() for _ in range(1200)), key, reference])
    assert [bucket.objects for bucket in server.buckets.values()] == [{}, {}]


class ThreeDaysAgo(datetime):
    """The time on a machine whose clock is wrong."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> ThreeDaysAgo:
        return super().now(tz) - timedelta(days=3)


async def test_ages_go_by_the_clock_of_the_server(
    store: SupabaseImageStore, server: SupabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supabase_storage, "datetime", ThreeDaysAgo)
    key = new_key()
    await store.put(key, DATA, "image/png")
    server.let_it_age(hours=2)
    (seen,) = [one async for page in store.walk(at_once=9) for one in page.objects]
    assert timedelta(hours=1) < seen.age < timedelta(hours=3)


async def test_a_proxy_of_the_environment_is_gone_through(
    server: SupabaseServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", url)
    store = supabase_store("http://project.example")
    key = new_key()
    await store.put(key, DATA, "image/png")
    assert await store.get(key) == DATA
    assert list(server.buckets[BUCKET].objects) == [key]
    await store.close()
