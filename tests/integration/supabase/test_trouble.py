"""Everything that can go wrong at Supabase, and what the image store says of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx
import pytest

from application.ports.images import (
    ImageNotFoundError,
    ImageStoreUnavailableError,
    ObjectTooLargeError,
)
from infrastructure.image_stores import supabase_outage, supabase_storage
from infrastructure.image_stores.supabase import SupabaseImageStore
from tests.image_stores import BUCKET, DATA, HASH, new_key, supabase_store
from tests.integration.supabase.asked import UPLOADS, asked
from tests.servers.supabase import KEY, SupabaseServer

COMES_BACK = [
    *("slow_down", "internal", "database_timeout", "bad_gateway", "locked", "no_bucket"),
    *("refuse", "drop", "lose_answer", "truncate", "not_json", "wrong_shape"),
]
STAYS = {
    "forbidden": "SUPABASE_KEY",
    "invalid_jwt": "SUPABASE_KEY",
    "unauthorized": "SUPABASE_KEY",
    "invalid_key": "refused a request",
    "invalid_mime_type": "image/webp",
    "redirect": "refused a request",
    "slow_down": "too much to do",
    "internal": "trouble of its own",
    "database_timeout": "status 544",
    "bad_gateway": "status 502",
    "locked": "status 423",
    "no_bucket": "not there",
    "refuse": "does not answer",
    "drop": "does not answer",
    "not_json": "cannot be understood",
    "wrong_shape": "cannot be understood",
}


@pytest.mark.parametrize("fault", COMES_BACK)
async def test_what_passes_is_asked_for_again(
    store: SupabaseImageStore, server: SupabaseServer, fault: str
) -> None:
    key = new_key()
    server.switches.tell(next=[fault], only=UPLOADS)
    await store.put(key, DATA, "image/png")
    server.switches.tell(next=[fault], only="GET .*/object/public/.*")
    assert await store.holds(key, sha256=HASH)
    server.switches.tell(next=[fault], only="GET .*/object/darkroom/.*")
    assert await store.get(key) == DATA
    server.switches.tell(next=[fault], only="GET .*/object/darkroom/.*")
    await store.put(key, DATA, "image/png")
    server.switches.tell(next=[fault], only="POST .*/object/list-v2/.*")
    assert [len(seen.objects) async for seen in store.walk(at_once=9)] == [1, 0, 0]
    server.switches.tell(next=[fault], only="DELETE .*")
    await store.delete([key])
    assert server.buckets[BUCKET].objects == {}


async def test_an_object_that_was_copied_there_under_another_type_is_one(
    store: SupabaseImageStore, server: SupabaseServer
) -> None:
    key = new_key()
    await store.put(key, DATA, "image/png")
    server.buckets[BUCKET].objects[key].content_type = "text/plain;charset=UTF-8"
    assert await store.get(key) == DATA
    assert await store.holds(key, sha256=HASH)
    await store.put(key, DATA, "image/png")


@pytest.mark.parametrize(("fault", "said"), STAYS.items())
async def test_what_does_not_pass_is_told_in_a_sentence_of_ours(
    store: SupabaseImageStore, server: SupabaseServer, fault: str, said: str
) -> None:
    key = new_key()
    server.switches.tell(always=fault)
    for asking in (
        store.put(key, DATA, "image/png"),
        store.get(key),
        store.holds(key, sha256=HASH),
        store.delete([key]),
        store.forget(key, older_than=timedelta()),
        store.marks(),
        anext(store.walk(at_once=1)),
    ):
        with pytest.raises(ImageStoreUnavailableError, match=said) as raised:
            await asking
        assert_tells_nothing(raised.value)


def assert_tells_nothing(error: BaseException) -> None:
    """Neither key, address, object nor the server's own words; nor does what is behind it."""
    assert error.__cause__ is None
    assert error.__suppress_context__ or error.__context__ is None
    for word in (KEY, "127.0.0.1", HASH, "row-level", "jwt", "html", "surprise"):
        assert word not in str(error)


@pytest.mark.parametrize("fault", ["duplicate", "too_large", "no_key"])
async def test_an_answer_to_another_question_makes_no_sense(
    store: SupabaseImageStore, server: SupabaseServer, fault: str
) -> None:
    key = new_key()
    await store.put(key, DATA, "image/png")
    server.switches.tell(always=fault)
    for asking in (
        store.marks(),
        store.delete([key]),
        store.forget(key, older_than=timedelta()),
        anext(store.walk(at_once=1)),
    ):
        with pytest.raises(ImageStoreUnavailableError, match="cannot be understood"):
            await asking
    if fault != "no_key":
        for asking in (store.get(key), store.holds(key, sha256=HASH)):
            with pytest.raises(ImageStoreUnavailableError, match="cannot be understood"):
                await asking


async def test_too_large_is_said_at_once_and_for_good(
    store: SupabaseImageStore, server: SupabaseServer
) -> None:
    server.switches.options["file_size_limit"] = len(DATA) - 1
    with pytest.raises(ObjectTooLargeError, match="Raise its limit"):
        await store.put(new_key(), DATA, "image/png")
    assert asked(server, "POST /storage/v1/object/darkroom/") == 1


async def test_a_key_that_is_refused_is_not_tried_again(
    store: SupabaseImageStore, server: SupabaseServer
) -> None:
    server.switches.options["key"] = "another"
    with pytest.raises(ImageStoreUnavailableError, match="SUPABASE_KEY"):
        await store.put(new_key(), DATA, "image/png")
    assert len(server.switches.seen) == 1


async def test_a_server_that_hangs_does_not_answer(
    store: SupabaseImageStore, server: SupabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supabase_outage, "PATIENCE", 0.05)
    server.switches.tell(always="hang")
    with pytest.raises(ImageStoreUnavailableError, match="does not answer"):
        await store.put(new_key(), DATA, "image/png")
    with pytest.raises(ImageStoreUnavailableError, match="does not answer"):
        await store.marks()


async def test_while_it_is_away_one_at_a_time_finds_out(
    store: SupabaseImageStore, server: SupabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supabase_outage, "PATIENCE", 0.2)
    server.switches.tell(always="hang")
    with pytest.raises(ImageStoreUnavailableError):
        await store.marks()
    server.switches.seen.clear()
    keys = [new_key() for _ in range(9)]
    tries = await asyncio.gather(
        *(store.put(key, DATA, "image/png") for key in keys), return_exceptions=True
    )
    assert {type(end) for end in tries} == {ImageStoreUnavailableError}
    assert len(server.switches.seen) == 1
    server.switches.tell(always=None)
    await store.marks()
    await asyncio.gather(*(store.put(key, DATA, "image/png") for key in keys))
    assert len(server.uploads(BUCKET)) == 9


async def test_a_server_that_gives_no_sign_of_life_is_away(
    url: str, server: SupabaseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supabase_storage, "TIMEOUT", httpx.Timeout(0.2))
    assert supabase_outage.PATIENCE > 0.2
    store = supabase_store(url)
    server.switches.tell(always="hang")
    with pytest.raises(ImageStoreUnavailableError, match="does not answer"):
        await store.marks()
    assert len(server.switches.seen) == 1, "no time to ask again"
    tries = await asyncio.gather(
        *(store.put(new_key(), DATA, "image/png") for _ in range(9)), return_exceptions=True
    )
    assert all(isinstance(end, ImageStoreUnavailableError) for end in tries)
    assert len(server.switches.seen) == 2, "one of nine finds out"
    await store.close()


async def test_where_most_goes_well_a_failure_holds_nobody_else(
    store: SupabaseImageStore, server: SupabaseServer
) -> None:
    await store.marks()
    server.switches.tell(next=["internal"] * 3)
    with pytest.raises(ImageStoreUnavailableError):
        await store.marks()
    await asyncio.gather(*(store.put(new_key(), DATA, "image/png") for _ in range(9)))
    assert len(server.uploads(BUCKET)) == 9


async def test_an_answer_without_end_is_not_read(
    store: SupabaseImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_key()
    await store.put(key, DATA, "image/png")
    monkeypatch.setattr(supabase_storage, "MOST_BYTES", len(DATA) - 1)
    with pytest.raises(ImageStoreUnavailableError, match="larger than any picture"):
        await store.get(key)
    with pytest.raises(ImageStoreUnavailableError, match="larger than any picture"):
        await store.holds(key, sha256=HASH)


async def test_a_server_without_pages_is_told_from_an_object_that_is_not_there(
    store: SupabaseImageStore, server: SupabaseServer
) -> None:
    server.switches.options["no_list_v2"] = True
    with pytest.raises(ImageStoreUnavailableError, match="too old"):
        await store.marks()


async def test_another_web_site_is_no_empty_store(url: str) -> None:
    store = supabase_store(f"{url}/elsewhere")
    with pytest.raises(ImageStoreUnavailableError, match="no Supabase Storage at SUPABASE_URL"):
        await store.get(new_key())
    await store.close()


async def test_what_is_not_there_is_not_found(
    store: SupabaseImageStore, server: SupabaseServer
) -> None:
    with pytest.raises(ImageNotFoundError):
        await store.get(new_key())
    assert asked(server, "GET /storage/v1/object/darkroom/") == 1
