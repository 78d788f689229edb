"""The server that speaks Gemini's protocol is as strict as the real one."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.servers.gemini import KEY, MOST_BYTES, server
from tests.servers.protocol import serving

HEADERS = {"x-goog-api-key": KEY}
MODEL = "gemini-3-pro-image"
TEXT: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "draw"}]}]}


def asked(**config: Any) -> dict[str, Any]:
    return {**TEXT, "generationConfig": config}


def shown(media: str, data: bytes) -> dict[str, Any]:
    blob = {"mimeType": media, "data": base64.b64encode(data).decode()}
    return {"contents": [{"parts": [{"text": "draw"}, {"inlineData": blob}]}]}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with (
        serving(server()) as address,
        httpx.AsyncClient(base_url=address, headers=HEADERS) as client,
    ):
        yield client


async def post(
    client: httpx.AsyncClient, body: Any, *, model: str = MODEL, version: str = "v1beta"
) -> httpx.Response:
    return await client.post(f"/{version}/models/{model}:generateContent", json=body)


@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_a_request_as_the_documentation_has_it_is_answered_with_a_picture(
    client: httpx.AsyncClient, version: str
) -> None:
    body = {
        **asked(
            candidateCount=1,
            seed=7,
            responseModalities=["TEXT", "IMAGE"],
            imageConfig={"aspectRatio": "16:9", "imageSize": "2K"},
        ),
        "safetySettings": [
            {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}
        ],
    }
    answer = (await post(client, body, version=version)).json()
    assert answer["candidates"][0]["content"]["parts"][0]["inlineData"]["mimeType"] == "image/png"
    assert answer["usageMetadata"]["candidatesTokensDetails"] == [
        {"modality": "IMAGE", "tokenCount": 1680}
    ]


async def test_snake_names_are_taken_as_well(client: httpx.AsyncClient) -> None:
    body = {**TEXT, "generation_config": {"image_config": {"aspect_ratio": "1:1"}}}
    assert (await post(client, body)).status_code == 200


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({**TEXT, "style": "oil"}, "Unknown name"),
        (asked(n=2), "Unknown name"),
        (asked(imageConfig={"outputMimeType": "image/jpeg"}), "Unknown name"),
        (asked(seed="7"), "Invalid value"),
        (asked(responseModalities="IMAGE"), "Invalid value"),
        (asked(responseModalities=["PICTURE"]), "Invalid value"),
        (asked(responseModalities=["TEXT"]), "modalities"),
        (asked(candidateCount=2), "candidates"),
        (asked(imageConfig={"aspectRatio": "7:3"}), "aspect_ratio"),
        (asked(imageConfig={"aspectRatio": "1:8"}), "aspect_ratio"),
        (asked(imageConfig={"imageSize": "2k"}), "image_size"),
        (asked(imageConfig={"imageSize": "512"}), "image_size"),
        ({"contents": []}, "Invalid value"),
        ({"contents": [{"parts": [{}]}]}, "parts"),
        ({"contents": [{"parts": [{"text": ""}]}]}, "prompt"),
        ([], "Invalid value"),
        (shown("image/png", b"no picture"), "input image"),
    ],
)
async def test_what_the_real_one_would_refuse_is_refused(
    client: httpx.AsyncClient, body: Any, why: str
) -> None:
    answer = await post(client, body)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert why in answer.json()["error"]["message"]


async def test_a_body_beyond_twenty_megabytes_is_refused(client: httpx.AsyncClient) -> None:
    body = {"contents": [{"parts": [{"text": "draw" + " " * MOST_BYTES}]}]}
    assert (await post(client, body)).status_code == 400


async def test_a_request_without_a_key_is_forbidden(client: httpx.AsyncClient) -> None:
    del client.headers["x-goog-api-key"]
    assert (await post(client, TEXT)).status_code == 403


async def test_another_key_than_the_one_there_is_is_invalid(client: httpx.AsyncClient) -> None:
    client.headers["x-goog-api-key"] = "another"
    answer = await post(client, TEXT)
    assert answer.status_code == 400
    assert answer.json()["error"]["details"][0]["reason"] == "API_KEY_INVALID"


@pytest.mark.parametrize(
    ("version", "called"),
    [
        ("v2", f"{MODEL}:generateContent"),
        ("v1beta", "gemini-2.0-flash:generateContent"),
        ("v1beta", f"{MODEL}:predict"),
    ],
)
async def test_what_there_is_not_is_not_found(
    client: httpx.AsyncClient, version: str, called: str
) -> None:
    answer = await client.post(f"/{version}/models/{called}", json=TEXT)
    assert (answer.status_code, answer.json()["error"]["status"]) == (404, "NOT_FOUND")


async def test_models_are_listed(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1beta/models")).json()["models"]
    assert f"models/{MODEL}" in [model["name"] for model in listed]


async def test_no_key_is_among_what_was_seen(client: httpx.AsyncClient) -> None:
    await post(client, TEXT)
    assert KEY not in (await client.get("/_control")).text
