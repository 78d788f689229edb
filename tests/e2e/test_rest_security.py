"""What every answer tells browsers, and which pages of other sites may ask."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from infrastructure.embedded import EmbeddedRedis
from interfaces.rest.access import NEEDS
from interfaces.rest.security import NO_PAGE, ONLY_OVER_TLS, SECURITY_HEADERS
from tests.conftest import PostgresServer
from tests.e2e.stack import Stack, running, settings_for

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE, STRANGER = "https://app.example.com", "https://elsewhere.example"
ANONYMOUS = {"Authorization": ""}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    migrated_template: str,
    redis_server: EmbeddedRedis,
) -> AsyncIterator[Stack]:
    """Reached over TLS, and open to one page of another site."""
    database_url = postgres_server.new_database(migrated_template)
    settings = settings_for(
        tmp_path_factory.mktemp("data"),
        database_url,
        redis_server.url,
        cors_origins=PAGE,
        public_url="https://pictures.example.com",
    )
    async with running(settings) as started:
        yield started


# --- security headers ----------------------------------------------------------------------------


def assert_secure(answer: httpx.Response) -> None:
    told = {name.decode(): answer.headers.get(name.decode()) for name, _ in SECURITY_HEADERS}
    assert None not in told.values(), (answer.request.url, told)
    assert told["x-content-type-options"] == "nosniff"
    assert told["x-frame-options"] == "DENY"
    assert "default-src 'none'" in str(told["content-security-policy"])
    assert "frame-ancestors 'none'" in str(told["content-security-policy"])


def asked_of(row: str) -> tuple[str, str]:
    """Method and path of a row of the access table, of something that is not there."""
    method, _, path = row.partition(" ")
    return method, re.sub(r"\{[^}]*\}", str(uuid4()), path)


@pytest.mark.parametrize("row", NEEDS)
async def test_every_route_answers_with_them_whoever_asks(shared: Stack, row: str) -> None:
    method, path = asked_of(row)
    for headers in ({}, ANONYMOUS):
        answer = await shared.client.request(method, path, headers=headers)
        assert_secure(answer)
        assert answer.headers["x-request-id"]


async def test_so_does_what_is_no_route_no_method_or_no_request(shared: Stack) -> None:
    client = shared.client
    answers = {
        404: await client.get("/nowhere"),
        405: await client.put("/livez"),
        415: await client.post("/api/v1/generations", content=b"x"),
        431: await client.get("/livez", headers={"X-Long": "x" * 70_000}),
        307: await client.get("/"),
    }
    for status, answer in answers.items():
        assert answer.status_code == status
        assert_secure(answer)
        assert answer.headers["content-security-policy"] == NO_PAGE


async def test_a_picture_can_be_shown_anywhere_and_runs_nothing(shared: Stack) -> None:
    async with shared.at_work():
        answer = await shared.client.post(
            "/api/v1/generations", json={"prompt": "a cat", "size": "64x64"}
        )
    path = httpx.URL(answer.json()["imageUrl"]).path
    picture = await shared.client.get(path, headers=ANONYMOUS)
    part = await shared.client.get(path, headers={"Range": "bytes=0-9"})
    known = await shared.client.get(path, headers={"If-None-Match": picture.headers["etag"]})
    assert [one.status_code for one in (picture, part, known)] == [200, 206, 304]
    for one in (picture, part, known):
        assert_secure(one)
        assert one.headers["cross-origin-resource-policy"] == "cross-origin"
        assert one.headers["content-security-policy"].endswith("; sandbox")


async def test_what_is_private_is_for_this_site_alone(shared: Stack) -> None:
    answer = await shared.client.get("/api/v1/generations")
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


async def test_pages_have_policies_of_their_own(shared: Stack) -> None:
    docs = await shared.client.get("/docs")
    errors = await shared.client.get("/problems", headers={"Accept": "text/html"})
    assert "script-src 'self'" in docs.headers["content-security-policy"]
    assert errors.headers["content-security-policy"] == f"{NO_PAGE}; style-src 'unsafe-inline'"


async def test_tls_is_insisted_on_where_there_is_any(shared: Stack, opened: Stack) -> None:
    name, value = (part.decode() for part in ONLY_OVER_TLS)
    assert name not in (await shared.client.get("/livez")).headers
    for path in ("/livez", "/nowhere"):
        assert (await opened.client.get(path)).headers[name] == value


# --- pages of other sites ------------------------------------------------------------------------


def preflight(origin: str, method: str = "POST") -> dict[str, str]:
    return {
        **ANONYMOUS,
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }


def of_cors(answer: httpx.Response) -> list[str]:
    return [name for name in answer.headers if name.startswith("access-control-")]


async def test_unless_configured_no_other_sites_page_is_let_in(shared: Stack) -> None:
    for headers in (preflight(PAGE), {"Origin": PAGE}):
        method = "OPTIONS" if len(headers) > 1 else "GET"
        answer = await shared.client.request(method, "/api/v1/generations", headers=headers)
        assert answer.status_code == (405 if method == "OPTIONS" else 200)
        assert of_cors(answer) == []


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_a_configured_page_may_ask_with_a_key(opened: Stack, method: str) -> None:
    answer = await opened.client.options("/api/v1/generations", headers=preflight(PAGE, method))
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert method in answer.headers["access-control-allow-methods"]
    assert "idempotency-key" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    assert_secure(answer)


async def test_it_can_read_errors_and_the_headers_that_count(opened: Stack) -> None:
    for status, path in ((200, "/api/v1/generations"), (404, "/api/v1/jobs/none"), (405, "/livez")):
        method = "PUT" if status == 405 else "GET"
        answer = await opened.client.request(method, path, headers={"Origin": PAGE})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == PAGE
        exposed = answer.headers["access-control-expose-headers"]
        for name in ("Location", "Retry-After", "RateLimit", "X-Request-Id", "ETag", "Link"):
            assert name in exposed


async def test_it_can_read_what_nobody_expected(
    opened: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened.container, "history_page", None)
    answer = await opened.client.get("/api/v1/generations", headers={"Origin": PAGE})
    assert answer.status_code == 500
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert_secure(answer)


async def test_another_page_is_not_let_in(opened: Stack) -> None:
    refused = await opened.client.options("/api/v1/generations", headers=preflight(STRANGER))
    answer = await opened.client.get("/api/v1/generations", headers={"Origin": STRANGER})
    assert refused.status_code == 400
    for one in (refused, answer):
        assert "access-control-allow-origin" not in one.headers


async def test_what_is_answered_to_one_page_is_kept_for_no_other(opened: Stack) -> None:
    answer = await opened.client.get("/api/v1/generations", headers={"Origin": PAGE})
    assert "Origin" in answer.headers["vary"]
