"""PostgreSQL restarts, stays away, is failed over: nobody is restarted, and nothing leaks."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest

from infrastructure.connection_budget import connections_of_each
from infrastructure.embedded import EmbeddedPostgres
from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.event_store.migrate import migrate
from infrastructure.event_store.store import READERS
from infrastructure.gatekeeping.shared import CONNECTIONS as GATE_CONNECTIONS
from infrastructure.queue import CONNECTIONS
from tests.e2e.stack import free_port
from tests.postgres import promote, standby_of, wait_until_replayed, written
from tests.processes import ADMIN_KEY, Process, eventually, processes
from tests.proxy import Proxy

URL = "/api/v1/generations"
TIMES = int(os.environ.get("DRILL_OUTAGES", "8"))  # `make drill` sets 10
FILES_MORE = 3  # less than TIMES; what passes by
# Of a pool; arq has another, and so has the gatekeeper.
MOST_TO_REDIS = {
    "api": CONNECTIONS + GATE_CONNECTIONS,
    "worker": 2 * CONNECTIONS + GATE_CONNECTIONS,
    "projector": 0,
}
MOST_THREADS = 1 + min(32, (os.cpu_count() or 1) + 4) + 2 + 2  # asyncio's, inspectors, painters
NAMES = ("api", "worker", "projector")


@dataclass
class Service:
    """One of each process, and the way to a PostgreSQL of their own."""

    client: httpx.AsyncClient
    proxy: Proxy
    primary: EmbeddedPostgres
    redis_port: int
    started: dict[str, Process]
    answers: Counter[tuple[str, int, bool]] = field(default_factory=Counter)

    async def ask(self, method: str, path: str, **rest: Any) -> httpx.Response:
        answer = await self.client.request(method, path, **rest)
        retry_after = int(answer.headers.get("retry-after", "0")) > 0
        self.answers[method, answer.status_code, retry_after] += 1
        return answer

    async def place(self, prompt: str = "a lighthouse") -> str | None:
        """Ask for a picture; None when that is not possible now."""
        request = {"prompt": prompt, "size": "64x64"}
        answer = await self.ask("POST", URL, json=request, headers={"Prefer": "respond-async"})
        return str(answer.json()["id"]) if answer.status_code == 202 else None

    async def all_work(self) -> None:
        """A request is accepted, performed, and shown in the history: every process is well."""

        word = f"w{uuid4().hex}"
        id_ = await eventually(lambda: self.place(word), why="nothing is accepted")

        async def shown() -> bool:
            answer = await self.ask("GET", f"{URL}?q={word}")
            return answer.status_code == 200 and (id_, "completed") in [
                (item["id"], item["status"]) for item in answer.json()["items"]
            ]

        await eventually(shown, why="it is not performed, or not shown")

    @asynccontextmanager
    async def asked_all_the_time(self) -> AsyncIterator[None]:
        """Whatever happens inside the block."""
        one = await self.place()
        asking = asyncio.create_task(self._ask_for_ever(f"{URL}/{one}"))
        try:
            yield
        finally:
            asking.cancel()
            await asyncio.wait({asking})
        assert asking.cancelled(), asking.exception()

    async def _ask_for_ever(self, one: str) -> None:
        while True:
            reads = [self.ask("GET", path) for path in (URL, one)]
            await asyncio.gather(self.place(), *reads)
            await asyncio.sleep(0.5)

    def held(self) -> dict[str, tuple[int, int]]:
        """Threads and open files of each process, but for its live connections.

        Those come and go as a pool or the test's client needs them, and have bounds of their own.
        """
        api = self.client.base_url.port
        live = sockets(to=self.proxy.port) | sockets(to=self.redis_port) | sockets(at=api)
        return {
            name: (
                len(os.listdir(f"/proc/{p.pid}/task")),
                sum(file not in live for file in open_files(p.pid)),
            )
            for name, p in self.started.items()
        }

    def to_redis(self) -> dict[str, int]:
        """Live connections of each process."""
        live = sockets(to=self.redis_port)
        return {
            name: sum(file in live for file in open_files(p.pid))
            for name, p in self.started.items()
        }

    async def connections(self) -> dict[str, int]:
        """Of each kind, as PostgreSQL sees them."""
        async with await psycopg.AsyncConnection.connect(self.primary.url) as connection:
            cursor = await connection.execute(
                "SELECT application_name, count(*) FROM pg_stat_activity"
                " WHERE application_name LIKE 'darkroom %' GROUP BY 1"
            )
            return dict(await cursor.fetchall())


def open_files(pid: int) -> list[str]:
    """What each open file is, by /proc's names."""
    files = []
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            files.append(str(file.readlink()))
    return files


def sockets(*, at: int | None = None, to: int | None = None) -> set[str]:
    """The ends of established connections at this port, or to this one, as /proc names them."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return {
        f"socket:[{row[9]}]"
        for row in rows
        if row[3] == "01" and (_port(row[1]) == at or _port(row[2]) == to)
    }


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


@asynccontextmanager
async def a_service(folder: Path, primary: EmbeddedPostgres, redis: str) -> AsyncIterator[Service]:
    await asyncio.to_thread(migrate, primary.url)
    await ensure_tables(primary.url)
    async with Proxy(primary.url) as proxy:
        port = free_port()
        settings = {
            "DATABASE_URL": proxy.url,
            "REDIS_URL": redis,
            "DARKROOM_ADMIN_KEY": ADMIN_KEY,
            "DARKROOM_PORT": str(port),
            "DARKROOM_DAILY_QUOTA": "unlimited",
            "DARKROOM_MONTHLY_QUOTA": "unlimited",
            "DARKROOM_LEASE_SECONDS": "5",
        }
        with processes(folder, **settings) as running:
            started = {name: running.start(name) for name in NAMES}
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}",
                headers={"Authorization": f"Bearer {ADMIN_KEY}"},
                timeout=30,
            ) as client:
                redis_port = urlsplit(redis).port
                assert redis_port is not None
                service = Service(client, proxy, primary, redis_port, started)

                async def is_there() -> bool:
                    with suppress(httpx.TransportError):
                        return (await client.get("/readyz")).json()["status"] == "ready"
                    return False

                await eventually(is_there, why="the service does not start")
                yield service
                assert not any(process.ended() for process in started.values())


# --- ways to be away -----------------------------------------------------------------------------


async def restarted(service: Service) -> None:
    await asyncio.to_thread(_end, service.primary, signal.SIGINT)
    await asyncio.to_thread(service.primary.start)


async def killed_and_away_for_a_while(service: Service) -> None:
    await asyncio.to_thread(_end, service.primary, signal.SIGQUIT)
    await until_refused(service)
    await asyncio.to_thread(service.primary.start)


async def sessions_ended(service: Service) -> None:
    async with await psycopg.AsyncConnection.connect(service.primary.url) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'darkroom %'"
        )


async def no_longer_the_primary(service: Service) -> None:
    """Connections stay, and are good for nothing: what is written is refused."""
    await _set_read_only(service, "on")
    await until_refused(service)
    await _set_read_only(service, "off")


async def until_refused(service: Service) -> None:
    """Somebody was told to come back later."""
    before = service.answers["POST", 503, True]

    async def refused() -> bool:
        return service.answers["POST", 503, True] > before

    await eventually(refused, why="nobody notices")


async def _set_read_only(service: Service, value: str) -> None:
    async with await psycopg.AsyncConnection.connect(
        service.primary.url, autocommit=True, options="-c default_transaction_read_only=off"
    ) as connection:
        await connection.execute(
            f"ALTER SYSTEM SET default_transaction_read_only = {value}".encode()
        )
        await connection.execute("SELECT pg_reload_conf()")


def _end(server: EmbeddedPostgres, how: signal.Signals) -> None:
    assert server._process is not None
    server._process.send_signal(how)
    server._process.wait(20)


WAYS: tuple[Callable[[Service], Awaitable[None]], ...] = (
    restarted,
    killed_and_away_for_a_while,
    sessions_ended,
    no_longer_the_primary,
)


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_however_often_postgres_goes_everybody_recovers_and_nothing_leaks(
    tmp_path: Path, redis_url: str
) -> None:
    with EmbeddedPostgres(tmp_path / "postgres", durable=False) as primary:
        async with a_service(tmp_path, primary, redis_url) as service:
            async with service.asked_all_the_time():
                await restarted(service)
                await service.all_work()
                before = service.held()
                for go_away in islice(cycle(WAYS), TIMES):
                    await go_away(service)
                    await service.all_work()

            async def as_before() -> bool:
                return all(
                    threads <= MOST_THREADS and files <= before[name][1] + FILES_MORE
                    for name, (threads, files) in service.held().items()
                )

            await eventually(as_before, why=f"{before} became more, at first {service.held()}")
            connections, to_redis = await service.connections(), service.to_redis()
    assert {status for _, status, _ in service.answers} <= {200, 201, 202, 503}, service.answers
    for method in ("POST", "GET"):
        assert service.answers[method, 503, True] > 0
        assert service.answers[method, 503, False] == 0, "it was not told when to come back"
    assert sum(connections.values()) <= sum(connections_of_each().values())
    assert all(to_redis[name] <= most for name, most in MOST_TO_REDIS.items()), to_redis
    assert connections["darkroom append"] == 2, "one of the api, one of the worker"
    assert connections["darkroom read"] <= 2 * READERS
    followers = [number for name, number in connections.items() if "follower" in name]
    assert followers == [1] * len(followers)
    assert connections["darkroom news"] == connections["darkroom news of a worker"] == 1
    assert connections["darkroom dispatcher"] == 1


@pytest.mark.slow
async def test_after_a_failover_everybody_goes_on_where_the_old_primary_ended(
    tmp_path: Path, redis_url: str
) -> None:
    with EmbeddedPostgres(tmp_path / "one", durable=False) as old:
        async with a_service(tmp_path, old, redis_url) as service:
            with standby_of(old, tmp_path / "two") as new:
                await service.all_work()
                async with service.asked_all_the_time():
                    service.proxy.lead_to(new.url)  # too early: it is read-only still
                    await until_refused(service)
                    last = await asyncio.to_thread(written, old)
                    await asyncio.to_thread(wait_until_replayed, new, last)
                    _end(old, signal.SIGQUIT)
                    await asyncio.to_thread(promote, new)
                    await service.all_work()
                with psycopg.connect(new.url) as connection:
                    order = connection.execute(
                        "SELECT array_agg(recorded_at ORDER BY notification_id)"
                        " = array_agg(recorded_at ORDER BY recorded_at, notification_id)"
                        " FROM stored_events"
                    ).fetchone()
    assert order == (True,)
    assert {status for _, status, _ in service.answers} <= {200, 201, 202, 503}
