"""Whatever is wrong with a request has its problem type, stores nothing and uses no unit."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio
from PIL import Image

from application.accounts import ADMINISTRATOR
from interfaces.rest.app import MOST_BODY_BYTES
from interfaces.rest.problems import uri_reference
from tests.e2e.stack import Stack, encoded
from tests.processes import ADMIN_KEY

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL = "/api/v1/generations"
SOMEBODYS = UUID("0b5b1a3e-5a6c-4c0e-9b39-6c1f0c6f6c11")
PROMPT = "an unrepeatable wish"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def stack(shared: Stack) -> Stack:
    return shared


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def nothing_is_stored(stack: Stack) -> AsyncIterator[None]:
    yield
    assert await stack.recorded() == 0
    assert await stack.rows("SELECT units FROM quota_counters") == []
    assert await stack.rows("SELECT kind FROM work") == []
    assert not list((stack.settings.data_dir / "objects").rglob("*.*"))


async def post(stack: Stack, **fields: Any) -> httpx.Response:
    return await stack.client.post(URL, json={"prompt": PROMPT, **fields})


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["type"].endswith(code)
    assert problem["instance"] == uri_reference(answer.request.url.raw_path.partition(b"?")[0])
    assert problem["requestId"] == answer.headers["x-request-id"]
    assert problem["title"]
    assert problem["detail"]
    assert PROMPT not in answer.text
    return problem


# --- bodies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"prompt": "a", "prompt": "b"}',
        b'{"prompt": "caf\xe9"}',
        b"[" * 50_000,
        b'{"seed": NaN}',
        b'{"prompt": "' + b"a" * 100_000,
    ],
    ids=lambda body: repr(body[:20]),
)
async def test_a_body_that_cannot_be_read_is_400(stack: Stack, body: bytes) -> None:
    answer = await stack.client.post(URL, content=body, headers=JSON)

    assert_problem(answer, 400, "malformed-body")


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp"]
)
async def test_a_body_that_is_no_json_is_415(stack: Stack, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    answer = await stack.client.post(URL, content=b'{"prompt": "a"}', headers=headers)

    assert_problem(answer, 415, "unsupported-media-type")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"prompt": ""}, "#/prompt"),
        ({"prompt": " \n"}, "#/prompt"),
        ({"prompt": "x" * 40_000}, "#/prompt"),
        ({"prompt": "nul\x00"}, "#/prompt"),
        ({"prompt": "\ud800"}, "#/prompt"),
        ({"prompt": 7}, "#/prompt"),
        ({"surprise": PROMPT}, "#/surprise"),
        ({"count": 0}, "#/count"),
        ({"count": 1000}, "#/count"),
        ({"size": "0x0"}, "#/size"),
        ({"size": "99999x99999"}, "#/size"),
        ({"size": "1024"}, "#/size"),
        ({"metadata": {"a": 1}}, "#/metadata/a"),
        ({"referenceImages": ["aGVsbG8="] * 17}, "#/referenceImages"),
    ],
    ids=lambda value: str(value)[:40].encode("ascii", "replace").decode(),
)
async def test_a_wrong_field_is_422(stack: Stack, fields: dict[str, Any], pointer: str) -> None:
    body = json.dumps({"prompt": PROMPT, **fields})
    answer = await stack.client.post(URL, content=body, headers=JSON)

    problem = assert_problem(answer, 422, "invalid-request")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_a_body_that_announces_to_be_too_large_is_refused_unread(stack: Stack) -> None:
    head = (
        f"POST {URL} HTTP/1.1\r\nHost: darkroom\r\nAuthorization: Bearer {ADMIN_KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {200 * 2**20}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", stack.settings.port)
    writer.write(head.encode())

    answer = await reader.readuntil(b"\r\n")

    writer.close()
    assert answer.startswith(b"HTTP/1.1 413")


async def test_a_body_that_turns_out_too_large_is_refused_while_reading(stack: Stack) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(MOST_BODY_BYTES // 2**20 + 2):
            yield b" " * 2**20

    answer = await stack.client.post(URL, content=chunks(), headers=JSON)

    assert_problem(answer, 413, "body-too-large")


async def test_a_body_that_is_cut_off_leaves_nothing(stack: Stack) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", stack.settings.port)
    head = f"POST {URL} HTTP/1.1\r\nHost: d\r\nAuthorization: Bearer {ADMIN_KEY}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{{".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()

    assert (await stack.client.get("/livez")).status_code == 200


# --- reference images ----------------------------------------------------------------------------


def animated_gif() -> bytes:
    frames = [Image.new("P", (8, 8), colour) for colour in (0, 1)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    return stream.getvalue()


BAD_IMAGES = {
    "no image": b"hello",
    "html called png": b"<html><script>alert(1)</script></html>",
    "animated gif": animated_gif(),
    "truncated jpeg": encoded("JPEG", (64, 64))[:-40],
    "decompression bomb": encoded("PNG", (12_000, 12_000), compress_level=9),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
async def test_a_reference_that_is_no_image_is_422(stack: Stack, name: str) -> None:
    good = base64.b64encode(encoded("PNG")).decode()
    bad = base64.b64encode(BAD_IMAGES[name]).decode()

    answer = await post(stack, referenceImages=[good, f"data:image/png;base64,{bad}"])

    problem = assert_problem(answer, 422, "unusable-reference-image")
    assert [error["pointer"] for error in problem["errors"]] == ["#/referenceImages/1"]
    assert bad[:200] not in answer.text


@pytest.mark.parametrize("text", ["not base64!", "data:text/html;base64,aGVsbG8=", "ü"])
async def test_a_reference_that_is_not_base64_is_422(stack: Stack, text: str) -> None:
    problem = assert_problem(
        await post(stack, referenceImages=[text]), 422, "unusable-reference-image"
    )

    assert problem["errors"][0]["pointer"] == "#/referenceImages/0"


# --- what no provider can do ---------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"provider": "nobody"}, {"model": "no-such-model"}])
async def test_what_no_provider_can_do_is_422(stack: Stack, fields: dict[str, str]) -> None:
    assert_problem(await post(stack, **fields), 422, "no-provider")


async def test_references_of_what_nobody_can_do_are_not_even_stored(stack: Stack) -> None:
    image = base64.b64encode(encoded("PNG")).decode()

    answer = await post(stack, provider="nobody", referenceImages=[image])

    assert_problem(answer, 422, "no-provider")


# --- who asks, and for what ----------------------------------------------------------------------

PRIVATE = [
    ("POST", URL),
    ("POST", "/api/v1/generate-image"),
    ("GET", URL),
    ("GET", f"{URL}/{SOMEBODYS}"),
    ("GET", f"{URL}/{SOMEBODYS}/events"),
    ("GET", "/api/v1/me/quota"),
    ("GET", f"/references/{ADMINISTRATOR}/{'0' * 64}.png"),
]


@pytest.mark.parametrize(("method", "path"), PRIVATE)
@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic YWRtaW46YWRtaW4="])
async def test_without_a_valid_key_nothing_private_is_told(
    stack: Stack, method: str, path: str, header: str | None
) -> None:
    async with httpx.AsyncClient(base_url=stack.settings.public_url) as stranger:
        headers = {"Authorization": header} if header else {}
        answer = await stranger.request(method, path, headers=headers)

    assert_problem(answer, 401, "not-authenticated")
    assert answer.headers["www-authenticate"].startswith('Bearer realm="darkroom"')
    assert ("invalid_token" in answer.headers["www-authenticate"]) == (header is not None)


@pytest.mark.parametrize("suffix", ["", "/events"])
@pytest.mark.parametrize(
    "id_", [str(SOMEBODYS), str(ADMINISTRATOR), "no-id", "0", "%00", "{}", f"urn:uuid:{SOMEBODYS}"]
)
async def test_what_is_no_generation_is_404(stack: Stack, id_: str, suffix: str) -> None:
    assert_problem(await stack.client.get(f"{URL}/{id_}{suffix}"), 404, "not-found")


@pytest.mark.parametrize("path", ["/api", "/api/v1", f"{URL}/", "/images", "/favicon.ico"])
async def test_what_is_nowhere_is_404(stack: Stack, path: str) -> None:
    assert_problem(await stack.client.get(path), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "offered"),
    [
        ("PUT", URL, "GET, HEAD, POST"),
        ("PUT", f"{URL}/{SOMEBODYS}", "DELETE, GET, HEAD"),
        ("GET", f"{URL}/{SOMEBODYS}/cancel", "POST"),
        ("GET", "/api/v1/generate-image", "POST"),
        ("DELETE", "/livez", "GET, HEAD"),
        ("POST", "/openapi.json", "GET, HEAD"),
        ("OPTIONS", "/images/x/y", "GET, HEAD"),
    ],
)
async def test_a_method_that_is_not_offered_is_405(
    stack: Stack, method: str, path: str, offered: str
) -> None:
    answer = await stack.client.request(method, path)

    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == offered


@pytest.mark.parametrize(
    ("path", "status"),
    [
        *[(p, 200) for p in ("/livez", "/readyz", URL, "/api/v1/me/quota", "/openapi.json")],
        *[(p, 404) for p in (f"{URL}/x", f"{URL}/x/events", "/images/x/y", "/nowhere")],
    ],
)
async def test_head_is_answered_like_get(stack: Stack, path: str, status: int) -> None:
    answer = await stack.client.head(path)

    assert (answer.status_code, answer.content) == (status, b"")
    assert int(answer.headers["content-length"]) > 0


@pytest.mark.parametrize("cursor", ["made-up", "", "A" * 32, "%00", "ü"])
async def test_a_made_up_cursor_is_400(stack: Stack, cursor: str) -> None:
    assert_problem(await stack.client.get(f"{URL}?cursor={cursor}"), 400, "cursor-refused")


@pytest.mark.parametrize("limit", ["0", "101", "-1", "many", "1.5", ""])
async def test_a_page_has_1_to_100_items(stack: Stack, limit: str) -> None:
    answer = await stack.client.get(f"{URL}?limit={limit}")

    problem = assert_problem(answer, 422, "invalid-request")
    assert problem["errors"][0]["parameter"] == "limit"


async def test_a_header_of_100_kb_is_431(stack: Stack) -> None:
    answer = await stack.client.get("/livez", headers={"X-Large": "x" * 100_000})

    assert (answer.status_code, answer.json()["code"]) == (431, "head-too-large")
    assert answer.json()["requestId"] == answer.headers["x-request-id"]
    assert (await stack.client.get("/livez")).status_code == 200
