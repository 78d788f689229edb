"""Pictures at their permanent URLs."""

from __future__ import annotations

import base64
import os
from hashlib import sha256
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.e2e.stack import Stack, encoded

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def stack(shared: Stack) -> Stack:
    return shared


@pytest_asyncio.fixture(loop_scope="module")
async def picture(stack: Stack) -> dict[str, Any]:
    generation = await stack.generate()
    await stack.perform_all()
    shown = await stack.client.get(generation["links"]["self"])
    image: dict[str, Any] = shown.json()["images"][0]
    return image


async def test_whoever_has_the_url_sees_the_picture_for_ever(
    stack: Stack, picture: dict[str, Any]
) -> None:
    async with httpx.AsyncClient() as stranger:
        answer = await stranger.get(picture["url"])

    assert answer.status_code == 200
    assert sha256(answer.content).hexdigest() == picture["sha256"]
    assert len(answer.content) == picture["bytes"]
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["etag"] == f'"{picture["sha256"]}"'
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_head_tells_all_but_the_picture(stack: Stack, picture: dict[str, Any]) -> None:
    answer = await stack.client.head(picture["url"])

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(picture["bytes"])
    assert answer.headers["etag"] == f'"{picture["sha256"]}"'


@pytest.mark.parametrize("sent", ['"{}"', 'W/"{}"', '"other", "{}"', "*"])
async def test_who_has_it_is_not_sent_it_again(
    stack: Stack, picture: dict[str, Any], sent: str
) -> None:
    headers = {"If-None-Match": sent.format(picture["sha256"])}
    answer = await stack.client.get(picture["url"], headers=headers)

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == f'"{picture["sha256"]}"'
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_who_has_another_is_sent_it(stack: Stack, picture: dict[str, Any]) -> None:
    answer = await stack.client.get(picture["url"], headers={"If-None-Match": '"other"'})

    assert answer.status_code == 200


async def test_a_part_of_a_picture_can_be_had(stack: Stack, picture: dict[str, Any]) -> None:
    answer = await stack.client.get(picture["url"], headers={"Range": "bytes=0-7"})

    assert (answer.status_code, answer.content) == (206, b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(
    "sent",
    ["bytes=9-2", "bytes=-", "bytes=", "bytes=a-b", "lines=0-1", "nonsense", "bytes=0-1,4-5"],
)
async def test_a_range_that_is_none_is_ignored(
    stack: Stack, picture: dict[str, Any], sent: str
) -> None:
    answer = await stack.client.get(picture["url"], headers={"Range": sent})

    assert (answer.status_code, len(answer.content)) == (200, picture["bytes"])


@pytest.mark.parametrize("sent", ["bytes=99999999-", "bytes=99999999-99999999", "bytes=-0"])
async def test_a_range_behind_the_end_is_416(
    stack: Stack, picture: dict[str, Any], sent: str
) -> None:
    answer = await stack.client.get(picture["url"], headers={"Range": sent})

    assert (answer.status_code, answer.json()["code"]) == (416, "range-not-satisfiable")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["content-range"] == f"bytes */{picture['bytes']}"


@pytest.mark.parametrize("sent", ["bytes=-8", "bytes=4-", "BYTES=0-0"])
async def test_other_parts_can_be_had(stack: Stack, picture: dict[str, Any], sent: str) -> None:
    answer = await stack.client.get(picture["url"], headers={"Range": sent})

    assert answer.status_code == 206


async def test_a_part_of_another_picture_is_not_sent(stack: Stack, picture: dict[str, Any]) -> None:
    headers = {"Range": "bytes=99999999-", "If-Range": '"another"'}
    answer = await stack.client.get(picture["url"], headers=headers)

    assert answer.status_code == 200


async def test_a_path_leads_nowhere_else(stack: Stack, picture: dict[str, Any]) -> None:
    objects = stack.settings.data_dir / "objects"
    (stack.settings.data_dir / "secret.png").write_bytes(b"secret")
    generation = picture["url"].split("/")[-2]
    os.symlink(stack.settings.data_dir / "secret.png", objects / "images" / generation / "1-a.png")
    ways = [
        "/images/../../secret.png",
        "/images/%2e%2e/secret.png",
        "/images/..%2f..%2fsecret.png/x",
        "/images/x/..%2f..%2f..%2fsecret.png",
        "/images//secret.png",
        "/images/x/%00.png",
        f"/images/{generation}/1-a.png",
        f"/images/{generation}/",
        f"/images/{generation}/.",
        f"/images/{generation}/1-{'0' * 64}.png",
        f"/images/{generation}/{'x' * 5000}.png",
    ]

    for way in ways:
        request = httpx.Request("GET", stack.settings.public_url + "/x")
        request.url = httpx.URL(stack.settings.public_url).copy_with(raw_path=way.encode())
        answer = await stack.client.send(request)
        assert (answer.status_code, answer.json()["code"]) == (404, "not-found"), way


# --- reference images ----------------------------------------------------------------------------


async def test_a_reference_image_goes_in_and_is_its_owners_alone(stack: Stack) -> None:
    image = encoded("JPEG")
    digest = sha256(image).hexdigest()
    url = f"data:image/png;base64,{base64.b64encode(image).decode()}"  # its content counts

    generation = await stack.generate(referenceImages=[url])
    await stack.perform_all()

    shown = (await stack.client.get(generation["links"]["self"])).json()
    assert shown["status"] == "completed"
    told = {"sha256": digest, "contentType": "image/jpeg", "width": 8, "height": 8}
    told |= {"generation": None, "number": None}
    url = shown["referenceImages"][0].pop("url")
    assert shown["referenceImages"] == [told]
    answer = await stack.client.get(url)
    assert answer.content == image
    assert answer.headers["cache-control"].startswith("private")
    async with httpx.AsyncClient(base_url=stack.settings.public_url) as stranger:
        assert (await stranger.get(url)).status_code == 401


async def test_somebody_elses_reference_image_is_not_found(stack: Stack) -> None:
    theirs = f"references/0d2f0a39-2f0e-4a52-9f3c-0a3b6e9a8d11/{'a' * 64}.png"
    await stack.container.image_store().put(theirs, encoded("PNG"), "image/png")

    answer = await stack.client.get(f"/{theirs}")

    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_references_are_not_served_as_images(stack: Stack) -> None:
    theirs = f"references/0d2f0a39-2f0e-4a52-9f3c-0a3b6e9a8d11/{'a' * 64}.png"
    await stack.container.image_store().put(theirs, encoded("PNG"), "image/png")

    assert (await stack.client.get(f"/images/{theirs}")).status_code == 404
