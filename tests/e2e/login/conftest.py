"""An API and the provider that it asks, for all tests of a file."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from infrastructure.embedded import EmbeddedRedis
from tests.conftest import PostgresServer
from tests.e2e.login.visiting import Browser, Service, at
from tests.e2e.stack import running, settings_for
from tests.servers.openid import OpenIdServer
from tests.servers.protocol import serving


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider() -> AsyncIterator[OpenIdServer]:
    server = OpenIdServer()
    async with serving(server) as address:
        server.issuer = address
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_service(
    provider: OpenIdServer,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    migrated_template: str,
    redis_server: EmbeddedRedis,
) -> AsyncIterator[Service]:
    database_url = postgres_server.new_database(migrated_template)
    folder = tmp_path_factory.mktemp("data")
    settings = settings_for(folder, database_url, redis_server.url, **at(provider))
    async with running(settings) as stack:
        yield Service(stack, provider)


@pytest_asyncio.fixture(loop_scope="module")
async def service(running_service: Service) -> Service:
    await running_service.forget()
    return running_service


@pytest_asyncio.fixture(loop_scope="module")
async def browser(service: Service) -> AsyncIterator[Browser]:
    browser = Browser(service)
    async with browser.client:
        yield browser
