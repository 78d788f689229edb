"""Real servers for the tests, one PostgreSQL and one Redis for all; and processes on them."""

import itertools
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from redis import Redis

from infrastructure.embedded import EmbeddedPostgres, EmbeddedRedis
from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.event_store.migrate import migrate
from tests.processes import ADMIN_KEY, Processes, processes
from tests.servers.raw import authority_in


def pytest_configure() -> None:
    """Ctrl-C reaches the programs that tests start, even where the tests run in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One authority: the machine's hundred take every client that is made 27 ms of reading."""
    with pytest.MonkeyPatch.context() as environment:
        authority = authority_in(tmp_path_factory.mktemp("authority"))
        environment.setenv("SSL_CERT_FILE", str(authority))
        yield


class PostgresServer:
    """A running PostgreSQL that gives every test a database of its own."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._numbers = itertools.count(1)

    def new_database(self, template: str = "template1") -> str:
        """Create a database, empty or as a copy of the named one, and return its URL."""
        name = f"test_{next(self._numbers)}"
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            connection.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
        return urlsplit(self._server.url)._replace(path=f"/{name}").geturl()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """PostgreSQL for the whole run, without the disk's guarantees."""
    folder = tmp_path_factory.mktemp("postgres")
    with EmbeddedPostgres(folder, durable=False) as server:
        yield PostgresServer(server)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """Redis for the whole run: tests take `redis_url`."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """The address of an empty Redis."""
    with Redis.from_url(redis_server.url) as redis:
        redis.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> str:
    """The name of a migrated database to copy."""
    url = postgres_server.new_database()
    migrate(url)
    return urlsplit(url).path.lstrip("/")


@pytest.fixture
def database_url(postgres_server: PostgresServer, migrated_template: str) -> str:
    """The address of a migrated, empty database."""
    return postgres_server.new_database(migrated_template)


@pytest.fixture
async def one_service(
    database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[Processes]:
    """Processes on one database and one Redis."""
    await ensure_tables(database_url)
    settings = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DARKROOM_ADMIN_KEY": ADMIN_KEY,
        "DARKROOM_PUBLIC_URL": "http://127.0.0.1:8000",
    }
    with processes(tmp_path, **settings) as started:
        yield started
