"""The same request as a form with files."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.e2e.stack import Stack, encoded

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL = "/api/v1/generations"
ASYNC = {"Prefer": "respond-async"}
BOUNDARY = "b"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@pytest.fixture
def stack(shared: Stack) -> Stack:
    return shared


def part(name: str, value: bytes, *, file: str | None = None) -> bytes:
    named = f'; filename="{file}"' if file else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + value + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


async def post(stack: Stack, *parts: bytes, end: bytes = END) -> httpx.Response:
    content = b"".join(parts) + end
    return await stack.client.post(URL, content=content, headers={**FORM, **ASYNC})


async def test_a_form_asks_for_the_same_as_json(stack: Stack) -> None:
    photo = encoded("JPEG", (32, 16))
    fields = {
        "prompt": "a fox, smiling – 🦊",
        "size": "64x64",
        "count": "2",
        "seed": "7",
        "metadata": json.dumps({"order": "4711"}),
        "deadlineSeconds": "60",
        "onUnknown": "fail",
    }
    files = [
        ("referenceImages", ("a.jpg", photo, "image/jpeg")),
        ("referenceImages", ("b.html", encoded("PNG"), "text/html")),
    ]

    answer = await stack.client.post(URL, data=fields, files=files, headers=ASYNC)

    assert answer.status_code == 202, answer.text
    told: dict[str, Any] = answer.json()
    assert (told["prompt"], told["size"], told["count"], told["seed"]) == (
        "a fox, smiling – 🦊",
        "64x64",
        2,
        7,
    )
    assert (told["metadata"], told["onUnknown"]) == ({"order": "4711"}, "fail")
    assert [image["contentType"] for image in told["referenceImages"]] == [
        "image/jpeg",
        "image/png",
    ]


async def test_the_same_form_with_another_boundary_is_the_same_request(stack: Stack) -> None:
    key = {**ASYNC, "Idempotency-Key": "form"}
    fields, files = {"prompt": "a fox", "size": "64x64"}, {"referenceImages": encoded("PNG")}

    first = await stack.client.post(URL, data=fields, files=files, headers=key)
    again = await stack.client.post(URL, data=fields, files=files, headers=key)

    assert first.request.headers["content-type"] != again.request.headers["content-type"]
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_form_without_files_is_taken_too(stack: Stack) -> None:
    answer = await post(stack, part("prompt", b"a fox"), part("size", b"64x64"))

    assert answer.status_code == 202


# --- what is wrong with a form -------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def nothing_is_stored(stack: Stack) -> AsyncIterator[None]:
    before = await stack.recorded(), await stack.rows("SELECT sum(units) FROM quota_counters")
    files = len([*(stack.settings.data_dir / "objects").rglob("*.*")])
    yield
    after = await stack.recorded(), await stack.rows("SELECT sum(units) FROM quota_counters")
    assert after == before
    assert len([*(stack.settings.data_dir / "objects").rglob("*.*")]) == files


@pytest.mark.parametrize(
    ("parts", "end"),
    [
        ((part("prompt", b"a fox"),), b""),
        ((part("prompt", b"a fox"),), b"--b"),
        ((part("prompt", b"caf\xe9"),), END),
        ((part("prompt", b"a fox"), part("prompt", b"a wolf")), END),
        ((b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n",), END),
        ((b"--b\r\nno header\r\n\r\nx\r\n",), END),
        ((), b"garbage"),
        ((part("x", b"", file="f"),) * 1001, END),
    ],
    ids=["no end", "half an end", "no utf-8", "twice", "no name", "no header", "garbage", "many"],
)
@pytest.mark.usefixtures("nothing_is_stored")
async def test_a_form_that_cannot_be_read_is_400(
    stack: Stack, parts: tuple[bytes, ...], end: bytes
) -> None:
    answer = await post(stack, *parts, end=end)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-body"), answer.text


@pytest.mark.usefixtures("nothing_is_stored")
async def test_a_form_without_a_boundary_is_400(stack: Stack) -> None:
    headers = {"Content-Type": "multipart/form-data"}
    answer = await stack.client.post(URL, content=END, headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-body")


PROMPT = part("prompt", b"a fox")


@pytest.mark.parametrize(
    ("parts", "pointer"),
    [
        ((part("size", b"64x64"),), "#/prompt"),
        ((part("prompt", b" "),), "#/prompt"),
        ((part("prompt", b"a fox", file="prompt.txt"),), "#/prompt"),
        ((PROMPT, part("count", b"two")), "#/count"),
        ((PROMPT, part("count", b"0")), "#/count"),
        ((PROMPT, part("count", b"9" * 6000)), "#/count"),
        ((PROMPT, part("metadata", b"order")), "#/metadata"),
        ((PROMPT, part("metadata", b'{"a": "1", "a": "2"}')), "#/metadata"),
        ((PROMPT, part("metadata", b"[]")), "#/metadata"),
        ((PROMPT, part("surprise", b"")), "#/surprise"),
        ((PROMPT, part("image", encoded("PNG"), file="a.png")), "#/image"),
        ((PROMPT, *(part("referenceImages", encoded("PNG"), file="a"),) * 17), "#/referenceImages"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.usefixtures("nothing_is_stored")
async def test_a_wrong_part_is_422(stack: Stack, parts: tuple[bytes, ...], pointer: str) -> None:
    answer = await post(stack, *parts)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid-request"), answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("data", [b"", b"hello", b"<html>", encoded("JPEG", (64, 64))[:-40]])
@pytest.mark.usefixtures("nothing_is_stored")
async def test_a_file_that_is_no_image_is_422(stack: Stack, data: bytes) -> None:
    good = part("referenceImages", encoded("PNG"), file="good.png")
    answer = await post(stack, PROMPT, good, part("referenceImages", data, file="bad.png"))

    assert (answer.status_code, answer.json()["code"]) == (422, "unusable-reference-image")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/referenceImages/1"]
