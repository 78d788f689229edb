"""What is told about requests in the log, and in the headers of answers."""

from __future__ import annotations

import io
import json
from uuid import UUID, uuid4

import pytest

from tests.e2e.stack import Stack
from tests.processes import ADMIN_KEY, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL = "/api/v1/generations"
SECRET = "an unrepeatable wish"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def stack(shared: Stack) -> Stack:
    return shared


async def test_a_request_is_one_line(stack: Stack, lines: io.StringIO) -> None:
    await stack.client.get(f"{URL}/{uuid4()}?secret={SECRET}", headers={"X-Request-Id": "r-1"})

    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    [line] = [line for line in told if line["event"] == "request"]
    assert line["actor"].startswith("user:")
    assert (line["method"], line["route"]) == ("GET", "/api/v1/generations/{id}")
    assert (line["status"], line["problem"]) == (404, "not-found")
    assert line["correlation_id"] == "r-1"
    assert line["milliseconds"] >= 0


async def test_a_request_is_followed_through_the_log_to_the_provider(
    stack: Stack, lines: io.StringIO
) -> None:
    headers = {"X-Request-Id": "r-2", "Prefer": "respond-async"}
    await stack.client.post(URL, json={"prompt": SECRET}, headers=headers)
    await stack.perform_all()

    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    mine = [line["event"] for line in told if line.get("correlation_id") == "r-2"]
    assert "request" in mine
    assert "calling sketch" in mine


@pytest.mark.parametrize("sent", ["", "two words", "x" * 129, "new\tline", "ü", "<script>"])
async def test_an_odd_request_id_is_replaced(stack: Stack, sent: str) -> None:
    answer = await stack.client.get("/livez", headers={"X-Request-Id": sent.encode()})

    assert UUID(answer.headers["x-request-id"])


async def test_a_sane_request_id_is_kept(stack: Stack) -> None:
    answer = await stack.client.get("/livez", headers={"X-Request-Id": "req_1:a/b=="})

    assert answer.headers["x-request-id"] == "req_1:a/b=="


async def test_nothing_secret_is_logged(stack: Stack, lines: io.StringIO) -> None:
    key = {"Idempotency-Key": "a-private-idempotency-key"}
    wish = {"prompt": SECRET, "metadata": {"name": "a-private-value"}, "size": "64x64"}
    async with stack.at_work():
        made = await stack.client.post(URL, json=wish, headers=key)
    for bad in (
        {"prompt": SECRET, "size": SECRET},
        {"prompt": SECRET, "referenceImages": ["aGVsbG8="]},
    ):
        await stack.client.post(URL, json=bad)
    await stack.client.post(URL, content=f'{{"prompt": "{SECRET}"'.encode(), headers=JSON)
    await stack.client.get(
        f"{URL}?cursor={SECRET}", headers={"Authorization": "Bearer mistyped-key"}
    )
    await stack.client.get(made.json()["imageUrl"])

    async def all_are_told() -> bool:
        return lines.getvalue().count('"request"') >= 6

    await eventually(all_are_told, why="not every request is logged")
    text = lines.getvalue()
    for secret in (SECRET, ADMIN_KEY, "mistyped", "a-private", "aGVsbG8=", "iVBORw0KGgo"):
        assert secret not in text
    assert stack.container.database_url() not in text


async def test_every_answer_is_safe_for_browsers(stack: Stack) -> None:
    for path in ("/livez", "/nowhere", URL):
        headers = (await stack.client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
