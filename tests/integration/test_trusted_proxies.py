"""Who asks, behind proxies that are trusted, and behind others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from interfaces.rest.serve import server_of
from tests.e2e.stack import free_port

HERE, CLIENT, LIAR = "127.0.0.1", "203.0.113.7", "198.51.100.9"


async def who(request: Request) -> Response:
    assert request.client is not None
    return JSONResponse([request.client.host, request.url.scheme])


@asynccontextmanager
async def served(*trusted: str) -> AsyncIterator[str]:
    port = free_port()
    server = server_of(Starlette(routes=[Route("/", who)]), port=port, trusted_proxies=trusted)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield f"http://{HERE}:{port}/"
    finally:
        server.should_exit = True
        await serving


@pytest.mark.parametrize(
    ("trusted", "forwarded", "client"),
    [
        ((), [CLIENT], HERE),
        (("10.0.0.0/8",), [CLIENT], HERE),
        ((HERE,), [CLIENT], CLIENT),
        (("127.0.0.0/8",), [CLIENT], CLIENT),
        ((HERE,), [f"{LIAR}, {CLIENT}"], CLIENT),
        ((HERE,), [LIAR, CLIENT], CLIENT),
        ((HERE, "10.0.0.0/8"), [f"{LIAR}, {CLIENT}, 10.0.0.5"], CLIENT),
        ((HERE, "10.0.0.0/8"), [f"10.9.9.9, {CLIENT}"], CLIENT),
        ((HERE,), [f"{CLIENT}:4711"], CLIENT),
        ((HERE,), ["[2001:db8::7]:4711"], "2001:db8::7"),
        ((HERE,), [], HERE),
    ],
)
async def test_the_client_is_the_last_one_whom_a_trusted_proxy_names(
    trusted: Sequence[str], forwarded: list[str], client: str
) -> None:
    headers = [("X-Forwarded-For", one) for one in forwarded]
    async with served(*trusted) as url, httpx.AsyncClient() as proxy:
        answer = await proxy.get(url, headers=headers)
    assert answer.json() == [client, "http"]


@pytest.mark.parametrize(("trusted", "scheme"), [((), "http"), ((HERE,), "https")])
async def test_the_scheme_is_believed_of_trusted_proxies_alone(
    trusted: Sequence[str], scheme: str
) -> None:
    async with served(*trusted) as url, httpx.AsyncClient() as proxy:
        answer = await proxy.get(url, headers={"X-Forwarded-Proto": "https"})
    assert answer.json() == [HERE, scheme]


async def test_uvicorns_own_variable_trusts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    async with served() as url, httpx.AsyncClient() as proxy:
        answer = await proxy.get(url, headers={"X-Forwarded-For": CLIENT})
    assert answer.json() == [HERE, "http"]
