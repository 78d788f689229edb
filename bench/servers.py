"""The embedded PostgreSQL, durable as in production, and Redis: for one run, in a folder of it."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql
from redis import Redis

from bench import processes
from infrastructure.embedded import EmbeddedPostgres, EmbeddedRedis
from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.event_store.migrate import migrate


class Servers:
    """Both servers while the block runs; every figure takes databases of its own."""

    def __init__(self, folder: Path, postgres: EmbeddedPostgres | None = None) -> None:
        self.folder = folder
        self.folder.mkdir(exist_ok=True)
        self._postgres = postgres or EmbeddedPostgres(folder / "postgres")
        self._redis = EmbeddedRedis(folder / "redis")
        self._numbers = itertools.count(1)

    def __enter__(self) -> Servers:
        self._postgres.start()
        try:
            self._redis.start()
        except BaseException:
            self._postgres.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._redis.stop()
        self._postgres.stop()

    @property
    def url(self) -> str:
        """Of a database that no figure uses."""
        return self._postgres.url

    def new_folder(self) -> Path:
        """A folder for what belongs to one figure."""
        folder = self.folder / f"figure-{next(self._numbers)}"
        folder.mkdir()
        return folder

    async def new_database(self) -> str:
        """The URL of a migrated, empty database."""
        name = f"bench_{next(self._numbers)}"
        with psycopg.connect(self._postgres.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        url = urlsplit(self._postgres.url)._replace(path=f"/{name}").geturl()
        await asyncio.to_thread(migrate, url)
        await ensure_tables(url)
        return url

    def empty_redis(self) -> str:
        """The URL of Redis, emptied: one figure after the other uses it."""
        with Redis.from_url(self._redis.url) as redis:
            redis.flushall()
        return self._redis.url

    def pids(self) -> dict[str, int]:
        """Of PostgreSQL's first process, the parent of its others, and of Redis."""
        with psycopg.connect(self._postgres.url) as connection:
            backend = connection.info.backend_pid
            postgres = processes.parent(backend)
        with Redis.from_url(self._redis.url) as redis:
            return {"PostgreSQL": postgres, "Redis": redis.info("server")["process_id"]}

    def ports(self) -> dict[str, int]:
        """Where both listen."""
        urls = {"PostgreSQL": self._postgres.url, "Redis": self._redis.url}
        return {name: urlsplit(url).port or 0 for name, url in urls.items()}

    def versions(self) -> dict[str, str]:
        """Of both servers, as they say it themselves."""
        with psycopg.connect(self._postgres.url) as connection:
            postgres = connection.info.parameter_status("server_version") or "unknown"
        with Redis.from_url(self._redis.url) as redis:
            return {"PostgreSQL": postgres, "Redis": redis.info("server")["redis_version"]}


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """On the disk that TMPDIR says: commits are as fast as that one."""
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder:
        yield Path(folder)
