"""Over HTTP: who asks too often is told so, and for how long; everybody else goes on."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from domain.api_key import BEGINS
from domain.user import User
from infrastructure.embedded import EmbeddedRedis
from tests.conftest import PostgresServer
from tests.e2e.stack import Stack, running, settings_for
from tests.gates import NOBODY_LISTENS
from tests.people import new_key, new_user, shown

URL = "/api/v1/me"
LIMITS = {
    "key_rate": "3/hour,100/day",
    "user_rate": "5/hour",
    "guess_rate": "3/hour",
    "login_rate": "2/hour",
}
GUESSER, LOGS_IN, ELSEWHERE = "127.0.0.2", "127.0.0.3", "127.0.0.4"

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    migrated_template: str,
    redis_server: EmbeddedRedis,
) -> AsyncIterator[Stack]:
    """One for all tests of this file: each has users, keys and addresses of its own."""
    database_url = postgres_server.new_database(migrated_template)
    folder = tmp_path_factory.mktemp("data")
    async with running(settings_for(folder, database_url, redis_server.url, **LIMITS)) as started:
        yield started


async def key_of(stack: Stack, user: User | None = None) -> dict[str, str]:
    store = stack.container.store()
    return shown(await new_key(store, user or await new_user(store), "read", "generate"))


async def statuses(stack: Stack, key: dict[str, str], times: int) -> list[int]:
    return [(await stack.client.get(URL, headers=key)).status_code for _ in range(times)]


@asynccontextmanager
async def client_at(stack: Stack, address: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.AsyncHTTPTransport(local_address=address)
    async with httpx.AsyncClient(base_url=stack.client.base_url, transport=transport) as client:
        yield client


def a_guess() -> dict[str, str]:
    return shown(BEGINS + secrets.token_urlsafe(32))


def assert_rate_limited(answer: httpx.Response, policy: str) -> dict[str, Any]:
    assert answer.status_code == 429, answer.text
    problem: dict[str, Any] = answer.json()
    assert problem["type"] == "/problems/rate-limited"
    assert problem["violated-policies"] == [policy]
    left = answer.headers["ratelimit"]
    assert f'"{policy}";r=0;t={answer.headers["retry-after"]}' in left
    return problem


async def test_a_key_that_asks_too_often_is_told_when_to_come_back(stack: Stack) -> None:
    key = await key_of(stack)
    assert await statuses(stack, key, 3) == [200] * 3

    answer = await stack.client.get(URL, headers=key)

    problem = assert_rate_limited(answer, "key-per-hour")
    assert "3 requests with this API key in an hour" in problem["detail"]
    assert 3500 < int(answer.headers["retry-after"]) <= 3600
    assert await statuses(stack, await key_of(stack), 1) == [200]


async def test_several_keys_of_a_user_share_the_users_limit(stack: Stack) -> None:
    user = await new_user(stack.container.store())
    keys = [await key_of(stack, user) for _ in range(2)]
    assert [await statuses(stack, key, n) for key, n in zip(keys, (3, 2), strict=True)] == [
        [200] * 3,
        [200] * 2,
    ]
    assert_rate_limited(await stack.client.get(URL, headers=keys[1]), "user-per-hour")


async def test_every_answer_tells_what_is_left(stack: Stack) -> None:
    key = await key_of(stack)
    seen = await stack.client.get(URL, headers=key)
    missing = await stack.client.get("/api/v1/jobs/none", headers=key)
    known = await stack.client.get(URL, headers={**key, "If-None-Match": seen.headers["etag"]})
    assert [answer.status_code for answer in (seen, missing, known)] == [200, 404, 304]
    assert seen.headers["ratelimit-policy"] == (
        '"key-per-hour";q=3;w=3600, "key-per-day";q=100;w=86400, "user-per-hour";q=5;w=3600'
    )
    for number, answer in enumerate((seen, missing, known), start=1):
        assert f'"key-per-hour";r={3 - number};' in answer.headers["ratelimit"]
        assert f'"user-per-hour";r={5 - number};t=3600' in answer.headers["ratelimit"]


async def test_the_operators_key_and_who_shows_none_are_not_counted(stack: Stack) -> None:
    for _ in range(7):
        answer = await stack.client.get(URL)
        assert (answer.status_code, "ratelimit" in answer.headers) == (200, False)
        anonymous = await stack.client.get("/livez", headers={"Authorization": ""})
        assert (anonymous.status_code, "ratelimit" in anonymous.headers) == (200, False)


async def test_a_public_route_is_served_to_who_is_over_their_limit(stack: Stack) -> None:
    key = await key_of(stack)
    await statuses(stack, key, 4)
    assert (await stack.client.get("/livez", headers=key)).status_code == 200


async def test_a_request_that_is_not_allowed_counts_too(stack: Stack) -> None:
    key = await key_of(stack)
    for _ in range(3):
        refused = await stack.client.post("/api/v1/admin/providers/sketch", headers=key)
        assert refused.status_code == 403
    assert_rate_limited(await stack.client.get(URL, headers=key), "key-per-hour")


async def test_openais_clients_are_told_in_their_shape(stack: Stack) -> None:
    key = await key_of(stack)
    await statuses(stack, key, 3)
    async with openai.AsyncOpenAI(
        api_key=key["Authorization"].removeprefix("Bearer "),
        base_url=f"{stack.settings.public_url}/v1",
        max_retries=0,
    ) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            await client.models.list()
    assert caught.value.code == "rate_limit_exceeded"
    headers = caught.value.response.headers
    assert (headers["x-should-retry"], int(headers["retry-after"]) > 3500) == ("true", True)


async def test_who_guesses_keys_is_slowed_and_keys_in_use_go_on_from_there(stack: Stack) -> None:
    key = await key_of(stack)
    async with client_at(stack, GUESSER) as client:
        assert (await client.get(URL, headers=key)).status_code == 200
        for _ in range(3):
            assert (await client.get(URL, headers=a_guess())).status_code == 401
        assert_rate_limited(await client.get(URL, headers=a_guess()), "guess-per-hour")
        assert (await client.get(URL, headers=key)).status_code == 200
    async with client_at(stack, ELSEWHERE) as client:
        assert (await client.get(URL, headers=a_guess())).status_code == 401
        assert (await client.get(URL, headers=await key_of(stack))).status_code == 200


async def test_two_apis_count_together_and_alone_without_redis(
    tmp_path: Path, database_url: str, redis_url: str
) -> None:
    here, there = (settings_for(tmp_path, database_url, redis_url, **LIMITS) for _ in range(2))
    async with running(here) as one, running(there) as other:
        key = await key_of(one)
        assert await statuses(one, key, 2) == [200] * 2
        assert await statuses(other, key, 2) == [200, 429]
    alone = settings_for(tmp_path, database_url, NOBODY_LISTENS, **LIMITS)
    async with running(alone) as stack:
        assert await statuses(stack, key, 4) == [200, 200, 200, 429]
        ready = (await stack.client.get("/readyz")).json()
    assert any("each process limits requests alone" in reason for reason in ready["reasons"])


async def test_routes_to_log_in_by_are_limited_by_address(stack: Stack) -> None:
    urls = ("/auth/login", "/auth/callback", "/auth/link")
    async with client_at(stack, LOGS_IN) as client:
        answers = [await client.get(url) for url in urls]
    assert [answer.status_code == 429 for answer in answers] == [False, False, True]
    assert '"login-per-hour";r=0' in answers[1].headers["ratelimit"]
    assert_rate_limited(answers[2], "login-per-hour")
    async with client_at(stack, ELSEWHERE) as client:
        assert (await client.get(urls[0])).status_code != 429
