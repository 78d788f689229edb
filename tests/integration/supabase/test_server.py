"""What Supabase's SDK can do with the server beyond what the image store asks it for."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from storage3 import AsyncStorageClient
from storage3.exceptions import StorageApiError

from tests.servers.supabase import KEY

DATA = b"a picture"


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncStorageClient]:
    headers = {"apiKey": KEY, "Authorization": f"Bearer {KEY}"}
    async with AsyncStorageClient(f"{url}/storage/v1/", headers) as client:
        await client.create_bucket("a-bucket")
        await client.from_("a-bucket").upload("a/b/c.png", DATA, {"content-type": "image/png"})
        yield client


async def test_an_object_can_be_looked_at_and_listed(client: AsyncStorageClient) -> None:
    bucket = client.from_("a-bucket")
    assert await bucket.exists("a/b/c.png")
    assert not await bucket.exists("a/b/d.png")
    info = await bucket.info("a/b/c.png")
    assert (info["size"], info["content_type"]) == (len(DATA), "image/png")
    assert [(row["name"], row["id"] is None) for row in await bucket.list("a")] == [("b", True)]
    assert [row["name"] for row in await bucket.list("a/b")] == ["c.png"]
    assert await bucket.list("a", {"offset": 1}) == []


async def test_a_signed_address_opens_a_private_object(client: AsyncStorageClient) -> None:
    bucket = client.from_("a-bucket")
    signed = await bucket.create_signed_url("a/b/c.png", 60)
    async with httpx.AsyncClient() as stranger:
        opened = await stranger.get(str(signed["signedURL"]))
        shut = await stranger.get(str(signed["signedURL"]).replace("token=", "token=x"))
        hidden = await stranger.get(await bucket.get_public_url("a/b/c.png"))
    assert opened.content == DATA
    assert (shut.status_code, shut.json()["code"]) == (400, "InvalidJWT")
    assert (hidden.status_code, hidden.json()["statusCode"]) == (400, "404")


async def test_what_the_sdk_raises_has_the_true_status(client: AsyncStorageClient) -> None:
    bucket = client.from_("a-bucket")
    with pytest.raises(StorageApiError) as duplicate:
        await bucket.upload("a/b/c.png", DATA, {"content-type": "image/png"})
    with pytest.raises(StorageApiError) as strange:
        await bucket.upload("ä.png", DATA, {"content-type": "image/png"})
    with pytest.raises(StorageApiError) as nowhere:
        await client.from_("another").download("a/b/c.png")
    assert (duplicate.value.status, duplicate.value.code) == ("409", "Duplicate")
    assert (strange.value.status, strange.value.code) == ("400", "InvalidKey")
    assert (nowhere.value.status, nowhere.value.code) == ("404", "Bucket not found")
