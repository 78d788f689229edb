"""Alive, ready, told in the log, and stopped in good order."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from domain.generation import Generation
from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.event_store.mapper import event_classes
from infrastructure.readiness import PATIENCE
from infrastructure.settings import Settings
from interfaces.rest.problem_types import (
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    OF_LOGINS,
    PROBLEM_TYPES,
)
from interfaces.rest.serve import serve
from tests.conftest import PostgresServer
from tests.e2e.stack import LEASE, Stack, encoded, free_port, running, settings_for
from tests.processes import ADMIN_KEY

URL = "/api/v1/generations"
SECRET = "an unrepeatable wish"
A_GENERATION = r"[0-9a-f-]{36}(/[0-9]+)?"


# --- readiness -----------------------------------------------------------------------------------


async def readiness(stack: Stack) -> tuple[int, dict[str, Any]]:
    async with httpx.AsyncClient(base_url=stack.settings.public_url) as stranger:
        answer = await stranger.get("/readyz")
    return answer.status_code, answer.json()


async def test_a_live_process_says_so_without_looking_further(stack: Stack) -> None:
    answer = await stack.client.get("/livez")

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert answer.headers["cache-control"] == "no-store"


async def test_with_everything_there_it_is_ready(stack: Stack) -> None:
    await stack.container.board().register(uuid4(), slots=8, lease=LEASE)

    status, told = await readiness(stack)

    assert (status, told["status"], told["reasons"]) == (200, "ready", [])
    assert told["checks"]["workers"] == {"state": "ok", "count": 1, "slots": 8}
    assert told["checks"]["readModels"]["image_generations"]["behind"] >= 0
    assert told["checks"]["readModels"]["image_generations"]["parked"] == 0


async def test_without_workers_it_is_degraded(stack: Stack) -> None:
    status, told = await readiness(stack)

    assert (status, told["status"]) == (200, "degraded")
    assert told["reasons"] == ["Nobody is at work. Start `darkroom worker`."]


async def test_without_redis_it_is_degraded(tmp_path: Path, database_url: str) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}"
    async with running(settings_for(tmp_path, database_url, nowhere)) as stack:
        status, told = await readiness(stack)

    assert (status, told["checks"]["redis"]["state"]) == (200, "degraded")


async def test_with_another_logs_mark_in_the_image_store_it_is_degraded(stack: Stack) -> None:
    await stack.container.board().register(uuid4(), slots=8, lease=LEASE)
    await stack.container.image_store().mark(await stack.container.log().end())
    assert (await readiness(stack))[1]["status"] == "ready"
    mark = replace(await stack.container.log().end(), log=uuid4())
    await stack.container.image_store().mark(mark)

    status, told = await readiness(stack)

    assert (status, told["status"]) == (200, "degraded")
    assert told["checks"]["imageStore"] == {"state": "degraded", "marks": 1}
    assert f"logs/{mark.log}" in told["reasons"][0]


async def test_a_read_model_that_stands_still_shows(stack: Stack) -> None:
    await stack.rows("UPDATE follower_positions SET error = 'why' WHERE name = 'image_generations'")

    status, told = await readiness(stack)

    assert (status, told["checks"]["readModels"]["state"]) == (200, "degraded")
    assert told["checks"]["readModels"]["image_generations"]["error"] == "why"


async def test_without_read_models_it_is_not_ready(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with running(settings_for(tmp_path, database_url, redis_url), ready=False) as stack:
        status, told = await readiness(stack)

    assert (status, told["status"]) == (503, "not ready")
    assert "image_generations" in told["reasons"][0]


async def test_until_this_releases_read_models_were_built_once_it_is_not_ready(
    stack: Stack,
) -> None:
    await stack.rows("UPDATE follower_positions SET caught_up_at = NULL WHERE name = 'jobs'")
    await stack.rows(
        "INSERT INTO follower_positions SELECT 'jobs', 99, log_identity, 0 FROM follower_positions"
        " WHERE name = 'jobs'"
    )

    status, told = await readiness(stack)

    assert (status, told["status"]) == (503, "not ready")
    assert "Being built for this release: jobs (" in told["reasons"][0]


async def test_while_a_read_model_that_had_served_is_made_anew_it_is_degraded_and_serves(
    stack: Stack,
) -> None:
    await stack.rows("DROP TABLE jobs_v1.jobs CASCADE")
    await ensure_tables(stack.container.database_url())

    status, told = await readiness(stack)

    assert (status, told["status"]) == (200, "degraded")
    assert told["checks"]["readModels"]["state"] == "degraded"
    assert "Being made anew, because tables were not there: jobs (1 events" in told["reasons"][0]
    assert (await stack.client.post(URL, json={"prompt": "a lighthouse"})).status_code == 202


async def test_a_read_model_that_is_made_anew_for_another_log_makes_it_not_ready(
    stack: Stack,
) -> None:
    await stack.rows("UPDATE log SET identity = gen_random_uuid()")
    await ensure_tables(stack.container.database_url())

    status, told = await readiness(stack)

    assert status == 503
    assert "Being built for this release: api_keys (1 " in told["reasons"][0]


async def test_without_a_schema_it_is_not_ready(
    tmp_path: Path, postgres_server: PostgresServer, redis_url: str
) -> None:
    empty = postgres_server.new_database()
    async with running(settings_for(tmp_path, empty, redis_url), ready=False) as stack:
        status, told = await readiness(stack)

    assert status == 503
    assert told["checks"]["database"]["state"] == "failing"
    assert "darkroom migrate" in told["reasons"][0]


@pytest.fixture
def nowhere(tmp_path: Path) -> Settings:
    """Settings with a database that is not there."""
    database = f"postgresql://user:password@127.0.0.1:{free_port()}/none"
    return settings_for(tmp_path, database, f"redis://127.0.0.1:{free_port()}")


async def test_without_a_database_it_is_soon_not_ready(nowhere: Settings) -> None:
    async with (
        running(nowhere, ready=False, patience=PATIENCE) as stack,
        asyncio.timeout(3 * PATIENCE),
    ):
        status, told = await readiness(stack)

    assert (status, told["checks"]["database"]["state"]) == (503, "failing")


async def test_without_a_database_a_request_is_told_to_come_back(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with running(settings_for(tmp_path, database_url, redis_url)) as stack:
        stack.container.store()._appender._patience = 0.1
        await cut_off(database_url)
        answer = await stack.client.post(URL, json={"prompt": SECRET})
        await let_in(database_url)

    assert answer.status_code == 503
    assert answer.json()["code"] == "temporary-reduced-capacity"
    assert int(answer.headers["retry-after"]) > 0
    assert "password" not in answer.text


async def test_what_was_accepted_and_cannot_be_shown_is_told_with_its_place(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    async with running(settings_for(tmp_path, database_url, redis_url)) as stack:
        stack.container.store().pool.timeout = 0.1
        headers = {"Prefer": "wait=5"}
        waiting = asyncio.create_task(
            stack.client.post(URL, json={"prompt": SECRET}, headers=headers)
        )
        while not await queued(database_url):
            await asyncio.sleep(0.01)
        await cut_off(database_url)
        answer = await waiting
        await let_in(database_url)
        async with asyncio.timeout(20):
            while (shown := await stack.client.get(answer.headers["location"])).status_code == 503:
                await asyncio.sleep(0.05)

    assert answer.status_code == 503
    assert answer.json()["generationId"] == shown.json()["id"]
    assert int(answer.headers["retry-after"]) > 0


async def test_without_an_image_store_references_are_told_to_come_back(stack: Stack) -> None:
    (stack.settings.data_dir / "objects").write_bytes(b"a file where the folder should be")
    image = base64.b64encode(encoded("PNG")).decode()

    answer = await stack.client.post(URL, json={"prompt": SECRET, "referenceImages": [image]})

    assert answer.status_code == 503
    assert answer.json()["code"] == "temporary-reduced-capacity"
    assert await stack.recorded() == 0


async def cut_off(database_url: str) -> None:
    """Nobody gets into the database any more, and who is in is thrown out."""
    name = database_url.rpartition("/")[2]
    await administrate(database_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await administrate(
        database_url,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
    )


async def let_in(database_url: str) -> None:
    name = database_url.rpartition("/")[2]
    await administrate(database_url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


async def administrate(database_url: str, statement: str) -> None:
    url = f"{database_url.rpartition('/')[0]}/postgres"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement.encode())


# --- what nobody thought of -----------------------------------------------------------------------


async def test_what_nobody_thought_of_is_logged_and_not_told(
    stack: Stack, lines: io.StringIO
) -> None:
    await stack.rows("ALTER TABLE quota_limits RENAME TO quota_limit")

    answer = await stack.client.get("/api/v1/me/quota")

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "internal-error"
    assert answer.json()["requestId"] == answer.headers["x-request-id"]
    assert "quota_limits" not in answer.text
    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    [line] = [line for line in told if line["event"] == "a request failed unexpectedly"]
    assert "UndefinedTable" in line["exception"]
    assert line["correlation_id"] == answer.headers["x-request-id"]


# --- stopping ------------------------------------------------------------------------------------


async def test_who_waits_when_the_process_stops_is_answered(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    settings = settings_for(tmp_path, database_url, redis_url)
    stopping = asyncio.Event()
    serving = asyncio.create_task(serve(settings, stopping))
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with httpx.AsyncClient(base_url=settings.public_url, headers=headers) as client:
        await reachable(client)
        waiting = asyncio.create_task(client.post(URL, json={"prompt": SECRET}, timeout=30))
        while not await queued(database_url):
            await asyncio.sleep(0.01)
        stopping.set()
        answer = await waiting

    async with asyncio.timeout(5):
        await serving
    assert answer.status_code == 202
    assert answer.headers["location"]


async def reachable(client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await client.get("/livez")
            except httpx.ConnectError:
                await asyncio.sleep(0.01)
            else:
                return


async def queued(database_url: str) -> bool:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        cursor = await connection.execute("SELECT FROM work")
        return await cursor.fetchone() is not None


# --- the document --------------------------------------------------------------------------------


async def test_the_document_names_every_operation_once(stack: Stack) -> None:
    document = (await stack.client.get("/openapi.json")).json()

    operations = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    ]
    assert sorted(operations) == [
        "cancelGeneration",
        "changeProvider",
        "changeUser",
        "changeWebhook",
        "createGeneration",
        "createWebhook",
        "deleteGeneration",
        "deleteWebhook",
        "endSession",
        "endSessions",
        "endUsersSessions",
        "generateImage",
        "getGeneration",
        "getImage",
        "getJob",
        "getMe",
        "getProblemType",
        "getQuota",
        "getQuotaOf",
        "getReferenceImage",
        "getUser",
        "getWebhook",
        "getWebhookSecret",
        "isAlive",
        "isReady",
        "issueKey",
        "issueKeyFor",
        "limitUser",
        "listDeliveries",
        "listGenerationDeliveries",
        "listGenerationEvents",
        "listGenerations",
        "listKeys",
        "listKeysOf",
        "listProblemTypes",
        "listProviders",
        "listSessions",
        "listUserEvents",
        "listUsers",
        "listWebhooks",
        "resendDelivery",
        "resendGenerationDelivery",
        "retryGeneration",
        "revokeAnyKey",
        "revokeKey",
        "rotateOwnWebhookSecret",
        "rotateWebhookSecret",
        "setPreferences",
        "testWebhook",
    ]
    public = {"getImage", "isAlive", "isReady", "getProblemType", "listProblemTypes"}
    for path in document["paths"].values():
        for operation in path.values():
            assert ("security" in operation) == (operation["operationId"] in public)
    for path in ("/images/{generation}/{name}", "/references/{user}/{name}"):
        assert {"200", "206", "304", "404", "416"} <= document["paths"][path]["get"][
            "responses"
        ].keys()
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    references = {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert references <= document["components"]["schemas"].keys()
    assert (await stack.client.get("/docs")).status_code == 200


async def test_the_document_and_the_table_name_the_same_problems(stack: Stack) -> None:
    document = (await stack.client.get("/openapi.json")).json()

    named = document["components"]["schemas"]["Problem"]["properties"]["code"]
    examples = document["components"]["examples"]
    answered = {
        (examples[code]["value"]["status"], examples[code]["value"]["type"])
        for path in document["paths"].values()
        for operation in path.values()
        for answer in operation["responses"].values()
        for code in answer.get("content", {})
        .get("application/problem+json", {})
        .get("examples", {})
    }

    assert named["x-extensible-enum"] == [kind.code for kind in PROBLEM_TYPES]
    of_no_operation = {(kind.status, kind.type) for kind in (METHOD_NOT_ALLOWED, *OF_LOGINS)}
    assert answered | of_no_operation == {(kind.status, kind.type) for kind in PROBLEM_TYPES}


@pytest.mark.parametrize("accept", ["text/html,*/*;q=0.8", "*/*"])
async def test_where_a_problems_type_leads_is_told(stack: Stack, accept: str) -> None:
    headers = {"Accept": accept}
    type_ = (await stack.client.get("/nowhere")).json()["type"]

    one = await stack.client.get(type_, headers=headers)
    all_ = await stack.client.get("/problems", headers=headers)

    assert (one.status_code, all_.status_code) == (200, 200)
    media_type = "text/html" if "html" in accept else "application/json"
    assert one.headers["content-type"].startswith(media_type)
    assert NOT_FOUND.title in one.text
    for kind in PROBLEM_TYPES:
        assert kind.code in all_.text
    assert (await stack.client.get("/problems/unheard-of")).status_code == 404


async def test_every_example_of_a_request_is_taken(stack: Stack) -> None:
    document = (await stack.client.get("/openapi.json")).json()
    body = document["paths"]["/api/v1/generations"]["post"]["requestBody"]["content"]
    examples = body["application/json"]["examples"]
    assert len(examples) >= 2

    for name in examples:
        request = document["components"]["examples"][name]["value"]
        request = await _with_pictures_that_are_there(stack, request)
        answer = await stack.client.post(
            "/api/v1/generations", json=request, headers={"Prefer": "respond-async"}
        )
        assert answer.status_code == 202, (name, answer.text)


async def _with_pictures_that_are_there(stack: Stack, request: dict[str, Any]) -> dict[str, Any]:
    """An example names an earlier generation of somebody: here it is one of ours."""
    named = [
        sent for sent in request.get("referenceImages", ()) if re.fullmatch(A_GENERATION, sent)
    ]
    if not named:
        return request
    generation = await stack.generate()
    await stack.perform_all()
    others = [sent for sent in request["referenceImages"] if sent not in named]
    return {**request, "referenceImages": [generation["id"], *others]}


async def test_the_bare_address_leads_to_the_documentation(stack: Stack) -> None:
    answer = await stack.client.get("/", follow_redirects=True)

    assert (answer.status_code, answer.url.path) == (200, "/docs")


async def test_the_document_names_every_event(stack: Stack) -> None:
    document = (await stack.client.get("/openapi.json")).json()

    told = document["components"]["schemas"]["Event"]["properties"]["type"]["x-extensible-enum"]
    assert sorted(told) == sorted(event_classes([Generation]))
