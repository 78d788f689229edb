"""Stability's test server refuses what the real one would: what passes it may be trusted."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.servers.protocol import ProtocolServer, serving
from tests.servers.stability import KEY
from tests.servers.stability import server as stability_server

HEADERS = {"authorization": f"Bearer {KEY}", "accept": "image/*"}
Form = dict[str, Any]


def png(width: int = 64, height: int = 64) -> tuple[str, bytes, str]:
    out = io.BytesIO()
    Image.new("RGB", (width, height)).save(out, "PNG")
    return "picture.png", out.getvalue(), "image/png"


def fields(**wanted: str) -> Form:
    return {name: (None, value) for name, value in {"prompt": "a lighthouse", **wanted}.items()}


@pytest.fixture
def server() -> ProtocolServer:
    return stability_server()


@pytest.fixture
async def client(server: ProtocolServer) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        serving(server) as address,
        httpx.AsyncClient(
            base_url=f"{address}/v2beta/stable-image/generate/", headers=HEADERS
        ) as client,
    ):
        yield client


BY_IMAGE = {"mode": "image-to-image"}
REFUSED: dict[str, tuple[str, Form]] = {
    "prompt: is required": ("core", {"seed": (None, "1")}),
    "prompt: must be 1 to 10000 characters long": ("core", fields(prompt="a" * 10_001)),
    "prompt: must be given once": ("core", {**fields(), "none": (None, "x")}),
    "style: is not allowed": ("core", fields(style="anime")),
    "mode: is not allowed": ("ultra", fields(mode="text-to-image")),
    "model: is not allowed": ("core", fields(model="sd3.5-large")),
    "aspect_ratio: must be one of 21:9": ("core", fields(aspect_ratio="4:3")),
    "seed: must be between 0 and 4294967294": ("core", fields(seed="4294967295")),
    "seed: must be a number": ("core", fields(seed="seven")),
    "output_format: must be one of png, jpeg, webp": ("core", fields(output_format="gif")),
    "style_preset: must be one of": ("core", fields(style_preset="sepia")),
    "cfg_scale: must be between 1 and 10": ("sd3", fields(cfg_scale="11")),
    "model: must be one of sd3.5-large": ("sd3", fields(model="sd3-large-9")),
    "image: is not allowed": ("core", {**fields(), "image": png()}),
    "strength: is required": ("ultra", {**fields(), "image": png()}),
    "strength: must be between 0 and 1": ("ultra", {**fields(strength="2"), "image": png()}),
    "image: sides must be between 64": ("ultra", {**fields(strength="1"), "image": png(63)}),
    "image: is not an image": ("ultra", {**fields(strength="1"), "image": ("a", b"a", "a/b")}),
    "image: is required": ("sd3", fields(strength="1", **BY_IMAGE)),
    "aspect_ratio: is not allowed": (
        *("sd3", {**fields(strength="1", aspect_ratio="1:1", **BY_IMAGE), "image": png()}),
    ),
    "strength: is not allowed": ("sd3", fields(strength="1")),
}


@pytest.mark.parametrize("error", REFUSED)
async def test_a_form_that_is_not_as_it_should_be_is_refused_by_name(
    client: httpx.AsyncClient, error: str
) -> None:
    route, form = REFUSED[error]
    if error == "prompt: must be given once":
        answer = await client.post(route, data={"prompt": ["a", "b"]}, files={"none": b""})
    else:
        answer = await client.post(route, files=form)
    assert answer.status_code == 400
    body = answer.json()
    assert body["name"] == "bad_request"
    assert len(body["id"]) == 32
    assert any(said.startswith(error) for said in body["errors"]), body


async def test_only_forms_in_parts_are_taken(client: httpx.AsyncClient) -> None:
    answer = await client.post("core", data={"prompt": "a lighthouse"})
    assert answer.json()["errors"] == ["content-type: must be multipart/form-data"]
    assert (await client.post("core", json={"prompt": "a lighthouse"})).status_code == 400


async def test_a_request_of_more_than_ten_mebibytes_is_refused(client: httpx.AsyncClient) -> None:
    form = {**fields(strength="0.5"), "image": ("picture", bytes(10 * 1024 * 1024), "image/png")}
    answer = await client.post("ultra", files=form)
    assert (answer.status_code, answer.json()["name"]) == (413, "payload_too_large")


async def test_without_a_key_nothing_is_answered(client: httpx.AsyncClient) -> None:
    answer = await client.post("core", files=fields(), headers={"authorization": "Basic sk-test"})
    assert (answer.status_code, answer.json()["name"]) == (401, "unauthorized")


async def test_an_answer_says_its_seed_and_why_it_ended(client: httpx.AsyncClient) -> None:
    answer = await client.post("core", files=fields(seed="343940597", output_format="webp"))
    assert answer.headers["finish-reason"] == "SUCCESS"
    assert answer.headers["seed"] == "343940597"
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["x-request-id"]


async def test_as_json_the_picture_is_base64_and_the_reason_has_another_name(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post(
        "core", files=fields(seed="7"), headers={"accept": "application/json"}
    )
    assert answer.headers["content-type"] == "application/json; type=image/png"
    body = answer.json()
    assert (body["seed"], body["finish_reason"]) == (7, "SUCCESS")
    assert Image.open(io.BytesIO(base64.b64decode(body["image"]))).format == "PNG"


@pytest.mark.parametrize("accept", ["image/*", "application/json"])
async def test_a_filtered_picture_is_a_200_that_is_billed(
    server: ProtocolServer, client: httpx.AsyncClient, accept: str
) -> None:
    server.switches.tell(next=["content_filtered"])
    answer = await client.post("core", files=fields(), headers={"accept": accept})
    reason = answer.headers.get("finish-reason") or answer.json()["finish_reason"]
    assert (answer.status_code, reason) == (200, "CONTENT_FILTERED")
    assert server.switches.billed == 1


async def test_whoever_asks_too_often_is_told_so_without_a_time(
    server: ProtocolServer, client: httpx.AsyncClient
) -> None:
    server.switches.tell(next=["rate_limit_exceeded"])
    answer = await client.post("core", files=fields())
    assert (answer.status_code, answer.json()["id"]) == (429, "rate_limit_exceeded")
    assert "retry-after" not in answer.headers
