"""A client that a public generator made of the document does everything that it tells of."""

from __future__ import annotations

import asyncio
import base64
import compileall
import io
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from tests.e2e.stack import Stack, encoded
from tests.node import run
from tests.processes import ADMIN_KEY
from tests.surface import generated
from tests.surface.stored import STORED


@pytest.fixture
async def api(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[generated.Api]:
    """The client, freshly generated."""
    generated.generate(tmp_path)
    assert compileall.compile_dir(tmp_path / generated.PACKAGE, quiet=1)
    monkeypatch.syspath_prepend(tmp_path)
    api = generated.Api(stack.settings.public_url, ADMIN_KEY)
    yield api
    await api.close()


async def test_the_generated_client_does_everything(
    api: generated.Api, document: dict[str, Any]
) -> None:
    first = await _asks_for_pictures(api)
    await _follows_it(api, first)
    await _looks_back(api, first)
    await _acts(api, first)
    await _has_keys_and_preferences(api)
    await _has_it_told(api, first)
    await _ends_sessions(api)
    await _administers(api)
    await _looks_around(api)

    told = {o["operationId"] for path in document["paths"].values() for o in path.values()}
    assert told - api.called == set()


async def _asks_for_pictures(api: generated.Api) -> Any:
    models = api.models
    picture = f"data:image/png;base64,{base64.b64encode(encoded('PNG')).decode()}"
    body = models.GenerationRequest(
        prompt="a lighthouse", size="64x64", count=2, reference_images=[picture]
    )
    made = await api("createGeneration", body=body, idempotency_key='"4711"')

    assert made.status_code == 201
    assert isinstance(made.parsed, models.Generation)
    assert len(made.parsed.images) == 2
    again = await api("generateImage", body=body, idempotency_key='"4711"')
    assert again.parsed.id == made.parsed.id
    assert again.headers["idempotent-replayed"] == "true"
    form = models.GenerationForm(
        prompt="a lighthouse",
        size="64x64",
        reference_images=[
            api.types.File(io.BytesIO(encoded("WEBP")), "dog.webp", "image/webp"),
        ],
        metadata=models.GenerationFormMetadata.from_dict({"order": "4711"}),
    )
    sent = await api("generateImage", body=form, prefer="respond-async")
    assert sent.status_code == 202
    assert sent.parsed.metadata.to_dict() == {"order": "4711"}
    assert sent.parsed.reference_images[0].content_type == "image/webp"
    return made.parsed


async def _follows_it(api: generated.Api, generation: Any) -> None:
    shown = await api("getGeneration", generation.id)
    assert shown.parsed == generation
    assert (await api("getJob", generation.id)).parsed.result.images == [
        image.url for image in generation.images
    ]
    trail = (await api("listGenerationEvents", generation.id)).parsed.items
    assert (trail[0].type_, trail[-1].type_) == ("generation.requested", "generation.completed")
    name = urlsplit(generation.image_url).path.rsplit("/", 1)[1]
    picture = await api("getImage", generation.id, name)
    assert picture.parsed.payload.read(8) == b"\x89PNG\r\n\x1a\n"
    reference = trail[0].data["references"][0]["key"].split("/")
    assert (await api("getReferenceImage", *reference[1:])).parsed.payload.read(4) == b"\x89PNG"


async def _looks_back(api: generated.Api, generation: Any) -> None:
    statuses = api.models.ListGenerationsStatusItem
    async with asyncio.timeout(10):
        while True:
            found = await api(
                "listGenerations", status=[statuses.COMPLETED], q="lighthouse", limit=1
            )
            if found.parsed.items and found.parsed.next_cursor:
                break
    rest = await api("listGenerations", cursor=found.parsed.next_cursor)
    assert isinstance(rest.parsed, api.models.GenerationList)
    assert generation.id in {one.id for one in [*found.parsed.items, *rest.parsed.items]}


async def _acts(api: generated.Api, generation: Any) -> None:
    retried = await api("retryGeneration", generation.id)
    assert (retried.status_code, retried.parsed.retry_of) == (201, generation.id)
    refused = await api("cancelGeneration", retried.parsed.id)
    assert isinstance(refused.parsed, api.models.Problem)
    assert (refused.status_code, refused.parsed.code) == (409, "generation-closed")
    deleted = await api("deleteGeneration", retried.parsed.id)
    assert deleted.parsed.deleted_at is not None


async def _has_keys_and_preferences(api: generated.Api) -> None:
    me = (await api("getMe")).parsed
    assert (me.role, me.api_key_id) == ("administrator", "admin")
    wanted = api.models.KeyRequest(name="shop", scopes=[api.models.KeyRequestScopesItem.READ])
    issued = (await api("issueKey", body=wanted)).parsed
    assert issued.key.startswith(issued.prefix)
    assert (await api("listKeys")).parsed.next_cursor is None
    assert (await api("revokeKey", issued.id)).status_code == 204
    preferred = api.models.Preferences(size="64x64")
    assert (await api("setPreferences", body=preferred)).parsed.size == "64x64"


async def _has_it_told(api: generated.Api, generation: Any) -> None:
    wanted = api.models.WebhookRequest(url="https://receiver.example/hooks")
    made = (await api("createWebhook", body=wanted)).parsed
    assert made.secret.startswith("whsec_")
    assert (await api("rotateWebhookSecret", made.id)).parsed.secret != made.secret
    assert [one.id for one in (await api("listWebhooks")).parsed.items] == [made.id]
    off = api.models.WebhookChange(enabled=False)
    assert (await api("changeWebhook", made.id, body=off)).parsed.enabled is False
    assert (await api("getWebhook", made.id)).parsed.enabled is False
    assert (await api("testWebhook", made.id)).parsed.code == "webhook-disabled"
    assert (await api("listDeliveries", made.id)).parsed.items == []
    nowhere = await api("resendDelivery", made.id, UUID(int=0))
    assert nowhere.parsed.code == "not-found"
    assert (await api("listGenerationDeliveries", generation.id)).parsed.items == []
    nowhere = await api("resendGenerationDelivery", generation.id, UUID(int=0))
    assert nowhere.parsed.code == "not-found"
    assert (await api("deleteWebhook", made.id)).status_code == 204
    own = (await api("getWebhookSecret")).parsed.secret
    assert (await api("rotateOwnWebhookSecret")).parsed.secret != own


async def _ends_sessions(api: generated.Api) -> None:
    me = (await api("getMe")).parsed
    assert (await api("listSessions")).parsed.items == []
    assert (await api("endSession", UUID(int=0))).status_code == 404
    assert (await api("endSessions")).status_code == 204
    assert (await api("endUsersSessions", me.id)).status_code == 204


async def _administers(api: generated.Api) -> None:
    me = (await api("getMe")).parsed
    assert (await api("getUser", me.id)).parsed.suspended is False
    assert (await api("listUsers", q="nobody of this name")).parsed.items == []
    refused = await api("changeUser", me.id, body=api.models.UserChange(suspended=True))
    assert refused.parsed.code == "locks-out"
    trail = (await api("listUserEvents", me.id)).parsed.items
    assert trail[0].type_ == "user.registered"
    limited = (await api("limitUser", me.id, body=api.models.Limits(daily=400))).parsed
    assert limited.windows[0].limit == 400
    assert (await api("getQuotaOf", me.id)).parsed == limited
    wanted = api.models.KeyRequest(name="for them")
    issued = (await api("issueKeyFor", me.id, body=wanted)).parsed
    assert (await api("listKeysOf", me.id, limit=1)).status_code == 200
    assert (await api("revokeAnyKey", issued.id)).status_code == 204


async def _looks_around(api: generated.Api) -> None:
    quota = (await api("getQuota")).parsed
    assert [window.used for window in quota.windows] == [5, 5]
    kinds = (await api("listProblemTypes")).parsed.items
    for kind in kinds:
        assert (await api("getProblemType", kind.code)).parsed == kind
    (sketch,) = (await api("listProviders")).parsed.items
    assert (sketch.name, sketch.health.state) == ("sketch", "closed")
    change = api.models.ProviderChange(enabled=True)
    assert (await api("changeProvider", "sketch", body=change)).parsed.enabled
    assert (await api("isAlive")).parsed.status == "alive"
    assert (await api("isReady")).parsed.reasons is not None


def test_the_generated_client_is_well_typed(tmp_path: Path) -> None:
    generated.generate(tmp_path)
    cache = ("--config-file", os.devnull, "--cache-dir", str(tmp_path / "cache"))

    command = [sys.executable, "-m", "mypy", "--strict", *cache, generated.PACKAGE]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert found.returncode == 0, found.stdout


# --- TypeScript ----------------------------------------------------------------------------------

PROGRAM = """
import type { components, operations } from "./darkroom";

type Generation = components["schemas"]["Generation"];
type Request = operations["createGeneration"]["requestBody"]["content"]["application/json"];
type Created = operations["createGeneration"]["responses"][201]["content"]["application/json"];

export async function paint(url: string, key: string): Promise<string | null> {
  const wish: Request = { prompt: "a lighthouse", count: 1, onUnknown: "repeat" };
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/json" };
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify(wish) });
  const made: Created = await answer.json();
  const generation: Generation = made;
  return generation.status === "completed" ? generation.imageUrl : null;
}
"""


def test_a_program_in_typescript_compiles_with_the_types_of_the_document(tmp_path: Path) -> None:
    options = ("--default-non-nullable=false", "--output", str(tmp_path / "darkroom.ts"))
    made = run("openapi-typescript", str(STORED), *options, cwd=tmp_path)
    assert made.returncode == 0, made.stdout + made.stderr
    (tmp_path / "program.ts").write_text(PROGRAM)

    options = ("--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom")
    compiled = run("tsc", *options, str(tmp_path / "program.ts"), cwd=tmp_path)

    assert compiled.returncode == 0, compiled.stdout + compiled.stderr
