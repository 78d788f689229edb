"""References and masks over HTTP: without what is private, with their lineage."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from dependency_injector import providers
from PIL import Image

from tests.e2e.stack import Stack, encoded, running, settings_for
from tests.fakes_images import FakeProvider, offering
from tests.photographs import opened, photograph, says_nothing_private, scene, written

URL = "/api/v1/generations"
ASYNC = {"Prefer": "respond-async"}


@pytest.fixture
async def stack(tmp_path: Path, database_url: str, redis_url: str) -> AsyncIterator[Stack]:
    """With a provider that takes masks."""
    made = {"fake": FakeProvider(capabilities=offering(mask=True))}
    async with running(settings_for(tmp_path, database_url, redis_url)) as stack:
        stack.container.configured_providers.override(providers.Object(made))
        yield stack


def as_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def completed(stack: Stack, **fields: Any) -> dict[str, Any]:
    asked = await stack.generate(**fields)
    await stack.perform_all()
    shown: dict[str, Any] = (await stack.client.get(asked["links"]["self"])).json()
    assert shown["status"] == "completed", shown
    return shown


def refused(answer: httpx.Response) -> dict[str, str]:
    assert (answer.status_code, answer.json()["code"]) == (422, "unusable-reference-image")
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


async def test_where_a_photograph_was_taken_is_nowhere_in_the_service(stack: Stack) -> None:
    photo = photograph("jpeg", 6)

    shown = await completed(stack, referenceImages=[as_text(photo)])

    (reference,) = shown["referenceImages"]
    assert (reference["width"], reference["height"]) == (32, 48)
    assert (reference["generation"], reference["number"]) == (None, None)
    kept = (await stack.client.get(reference["url"])).content
    says_nothing_private(kept)
    files = [path for path in (stack.settings.data_dir / "objects").rglob("*.*") if path.is_file()]
    assert [path.read_bytes() for path in files if path.suffix == ".jpg"] == [kept]


async def test_a_picture_made_before_is_a_reference_by_its_id(stack: Stack) -> None:
    first = await completed(stack, count=2)

    second = await completed(stack, referenceImages=[first["id"], f"{first['id']}/2"])

    lineage = [(one["generation"], one["number"]) for one in second["referenceImages"]]
    assert lineage == [(first["id"], 1), (first["id"], 2)]
    hashes = [one["sha256"] for one in second["referenceImages"]]
    assert hashes == [image["sha256"] for image in first["images"]]
    trail = (await stack.client.get(second["links"]["events"])).json()["items"]
    assert trail[0]["data"]["references"][1]["generation"] == first["id"]


async def test_a_reference_outlives_the_generation_that_it_was_taken_from(stack: Stack) -> None:
    first = await completed(stack)
    asked = await stack.generate(referenceImages=[first["id"]])

    await stack.client.delete(first["links"]["self"])

    await stack.perform_all()
    shown = (await stack.client.get(asked["links"]["self"])).json()
    assert shown["status"] == "completed"
    assert (await stack.client.get(shown["referenceImages"][0]["url"])).status_code == 200
    again = await stack.client.post(
        URL, json={"prompt": "a", "referenceImages": [first["id"]]}, headers=ASYNC
    )
    assert "was deleted" in refused(again)["#/referenceImages/0"]


async def test_a_repeated_request_is_answered_though_its_reference_was_deleted(
    stack: Stack,
) -> None:
    first = await completed(stack)
    asked = {"prompt": "a", "size": "64x64", "referenceImages": [first["id"]]}
    headers = {**ASYNC, "Idempotency-Key": "again"}
    made = await stack.client.post(URL, json=asked, headers=headers)
    await stack.client.delete(first["links"]["self"])

    repeated = await stack.client.post(URL, json=asked, headers=headers)

    assert repeated.json()["id"] == made.json()["id"]
    assert repeated.headers["idempotent-replayed"] == "true"
    other = {**asked, "referenceImages": [f"{first['id']}/2"]}
    reused = await stack.client.post(URL, json=other, headers=headers)
    assert reused.json()["code"] == "idempotency-key-reused"


async def test_generations_without_such_a_picture_are_told_by_their_place(stack: Stack) -> None:
    made, queued = await completed(stack), await stack.generate()
    names = [str(uuid4()), as_text(encoded("PNG")), queued["id"], f"{made['id']}/2"]
    before = await stack.recorded()

    answer = await stack.client.post(URL, json={"prompt": "a", "referenceImages": names})

    reasons = refused(answer)
    assert list(reasons) == [f"#/referenceImages/{place}" for place in (0, 2, 3)]
    assert "not yours" in reasons["#/referenceImages/0"]
    assert "is queued" in reasons["#/referenceImages/2"]
    assert "no picture 2" in reasons["#/referenceImages/3"]
    assert await stack.recorded() == before


async def test_a_form_takes_files_and_ids_in_their_order_and_a_mask(stack: Stack) -> None:
    made = await completed(stack)
    mask = written(Image.new("RGBA", (32, 48)), "png")
    parts = [
        ("referenceImages", ("photo.jpg", photograph("jpeg", 6))),
        ("referenceImages", (None, made["id"])),
        ("mask", ("mask.png", mask)),
    ]

    answer = await stack.client.post(
        URL, data={"prompt": "a", "size": "64x64"}, files=parts, headers=ASYNC
    )

    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert [one["generation"] for one in told["referenceImages"]] == [None, made["id"]]
    assert (told["mask"]["width"], told["mask"]["contentType"]) == (32, "image/png")
    assert (await stack.client.get(told["mask"]["url"])).content == mask


async def test_a_mask_is_kept_in_the_history_and_by_a_retry(stack: Stack) -> None:
    picture, mask = written(scene(), "png"), written(Image.new("LA", (48, 32)), "png")
    first = await completed(stack, referenceImages=[as_text(picture)], mask=as_text(mask))

    again = await stack.client.post(f"{first['links']['self']}/retry", headers=ASYNC)

    assert again.json()["mask"] == first["mask"]
    async with stack.followed(), asyncio.timeout(10):
        while len(listed := (await stack.client.get(URL)).json()["items"]) < 2:
            await asyncio.sleep(0.01)
    assert [item["mask"] for item in listed] == [first["mask"]] * 2


async def test_a_mask_that_does_not_fit_is_told(stack: Stack) -> None:
    picture = as_text(written(scene(), "png"))
    small, opaque = written(Image.new("RGBA", (9, 9)), "png"), written(scene(), "png")
    for mask, words in ((small, "9x9"), (opaque, "alpha channel"), (b"hello", "no PNG")):
        fields = {"prompt": "a", "referenceImages": [picture], "mask": as_text(mask)}
        assert words in refused(await stack.client.post(URL, json=fields))["#/mask"]
    alone = await stack.client.post(URL, json={"prompt": "a", "mask": as_text(small)})
    assert "Send that image" in refused(alone)["#/mask"]
    for fields in ({"mask": ""}, {"mask": 7}, {"mask": [picture]}):
        answer = await stack.client.post(URL, json={"prompt": "a", **fields})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request")
        assert [error["pointer"] for error in answer.json()["errors"]] == ["#/mask"]


async def test_two_masks_are_one_too_many(stack: Stack) -> None:
    parts = [("mask", ("a.png", encoded("PNG"))), ("mask", ("b.png", encoded("PNG")))]
    answer = await stack.client.post(URL, data={"prompt": "a"}, files=parts)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-body")


async def test_what_is_converted_is_said(stack: Stack) -> None:
    shown = await completed(stack, format="jpeg")
    (image,) = shown["images"]
    data = (await stack.client.get(image["url"])).content
    assert (image["contentType"], opened(data).format) == ("image/jpeg", "JPEG")
