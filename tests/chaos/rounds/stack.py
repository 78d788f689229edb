"""The whole service as real processes: two of each kind, one of each behind a bad network."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg

from infrastructure.embedded import EmbeddedPostgres, EmbeddedRedis, EmbeddedServer
from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.event_store.migrate import migrate
from tests.chaos.rounds.happened import Happened
from tests.chaos.rounds.others import Others, others_of
from tests.chaos.rounds.plan import CALL, LEASE, PLACES, Plan
from tests.e2e.stack import free_port
from tests.processes import ADMIN_KEY, Process, Processes, processes
from tests.proxy import Proxy

DEADLINE = 90.0  # seconds that a generation may take
WAIT = 10.0
DISK_MIB = 256
SECONDS_TO_START = 60.0
SECONDS_TO_STOP = CALL + 30  # a worker drains for as long as a call may take, and 15 s


class Place:
    """Where one process runs, again and again; `busy` while something is done to it."""

    def __init__(self, running: Processes, name: str, settings: dict[str, str]) -> None:
        self.name, self.kind = name, name.partition("-")[0]
        self.busy = asyncio.Lock()
        self._running, self._settings = running, settings
        self.process = self.start()

    def start(self) -> Process:
        self.process = self._running.start(self.kind, **self._settings)
        return self.process


class Disk:
    """Where the pictures lie: a small file system of its own where one may be mounted."""

    def __init__(self, folder: Path, objects: Path) -> None:
        self._folder, self._objects = folder, objects
        folder.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "tmpfs", str(folder)]
        mounting = subprocess.run(["mount", *options], capture_output=True, check=False)
        self.is_mounted = mounting.returncode == 0
        objects.parent.mkdir(mode=0o700, exist_ok=True)
        objects.symlink_to(folder)

    def fill(self) -> None:
        """Not one more page fits."""
        with (self._folder / ".filler").open("wb") as filler:
            step = DISK_MIB * 1024 * 1024
            size = 0
            while step >= 1:
                try:
                    os.posix_fallocate(filler.fileno(), size, step)
                    size += step
                except OSError:
                    step //= 2

    def empty(self) -> None:
        """There is room again."""
        (self._folder / ".filler").unlink(missing_ok=True)

    def take_away(self) -> None:
        """Nothing can be read or written."""
        nothing = self._folder.parent / "nothing"
        nothing.touch()
        self._point_to(nothing)

    def bring_back(self) -> None:
        """All of it is there again."""
        self._point_to(self._folder)

    def _point_to(self, target: Path) -> None:
        new = self._objects.with_name("objects.new")
        new.symlink_to(target)
        new.replace(self._objects)

    def end(self) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self._folder)], check=True)


class Stack:
    """PostgreSQL, Redis, six places, a proxy, a disk: what a round is played on."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        happened: Happened,
        postgres: EmbeddedPostgres,
        redis: EmbeddedRedis,
        proxy: Proxy,
        running: Processes,
        disk: Disk,
        others: Others | None,
    ) -> None:
        self.plan, self.folder, self.happened = plan, folder, happened
        self.postgres, self.redis, self.proxy = postgres, redis, proxy
        self.running, self.disk, self.others = running, disk, others
        self.ports = (free_port(), free_port())
        self.places = {name: Place(running, name, self._settings(name)) for name in PLACES}
        self.busy = {
            name: asyncio.Lock()
            for name in ("redis", "postgres", "network", "disk", "openai", "supabase")
        }

    @property
    def database_url(self) -> str:
        return self.postgres.url

    def behind_the_proxy(self) -> tuple[int, ...]:
        """The processes that reach PostgreSQL through it."""
        return tuple(place.process.pid for name, place in self.places.items() if name[-1] == "1")

    @asynccontextmanager
    async def client(self, api: int) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.ports[api]}",
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
            timeout=60,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=20),
        ) as client:
            yield client

    async def until_ready(self) -> None:
        """Both apis answer that all is well."""
        for api in (0, 1):
            async with self.client(api) as client, asyncio.timeout(SECONDS_TO_START):
                while not await _is_ready(client):
                    await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """As a deploy does, all at once."""
        await asyncio.gather(*(self.tell_to_stop(place) for place in self.places.values()))

    async def tell_to_stop(self, place: Place) -> None:
        """Wait for its end; whoever does not end well is told of."""
        place.process.send(signal.SIGTERM)
        try:
            status = await asyncio.to_thread(place.process.wait, SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            told = (
                f"{place.name} ({place.process.log.name}) did not stop within {SECONDS_TO_STOP:g} s"
            )
            self.happened.ends.append(told)
            place.process.send(signal.SIGABRT)  # its log then says where it was
            await asyncio.to_thread(place.process.wait)
            self.happened.was_killed(place.process.pid)
        else:
            if status not in (0, -signal.SIGTERM):  # told before it listened to signals
                self.happened.ends.append(f"{place.name} was told to stop, ended with {status}")

    def _settings(self, name: str) -> dict[str, str]:
        number = int(name[-1])
        url = self.proxy.url if number else self.postgres.url
        return {"DATABASE_URL": url, "DARKROOM_PORT": str(self.ports[number])}


@asynccontextmanager
async def stack(plan: Plan, folder: Path, happened: Happened) -> AsyncIterator[Stack]:
    """Started and ready, until the block ends."""
    async with AsyncExitStack() as until_then:
        postgres = await _started(until_then, EmbeddedPostgres(folder / "postgres"))
        redis = await _started(until_then, EmbeddedRedis(folder / "redis"))
        await asyncio.to_thread(migrate, postgres.url)
        await ensure_tables(postgres.url)
        proxy = await until_then.enter_async_context(Proxy(postgres.url))
        disk = Disk(folder / "disk", folder / "data" / "objects")
        until_then.callback(disk.end)
        others = await until_then.enter_async_context(others_of(plan))
        environment = _environment(plan, redis.url) | (others.environment if others else {})
        running = until_then.enter_context(processes(folder, **environment))
        built = Stack(plan, folder, happened, postgres, redis, proxy, running, disk, others)
        if others:  # what is uploaded may be refused at any moment
            until_then.enter_context(happened.outage("disk"))
        await built.until_ready()
        yield built


async def rows(url: str, query: str) -> list[tuple[Any, ...]]:
    """What a database says, over a connection of its own."""
    async with await psycopg.AsyncConnection.connect(
        url, autocommit=True, connect_timeout=5, application_name="chaos"
    ) as connection:
        cursor = await connection.execute(query)
        return await cursor.fetchall() if cursor.description else []


def _environment(plan: Plan, redis_url: str) -> dict[str, str]:
    return {
        "PYTHONFAULTHANDLER": "1",
        "REDIS_URL": redis_url,
        "DARKROOM_ADMIN_KEY": ADMIN_KEY,
        "DARKROOM_PUBLIC_URL": "http://pictures.test",
        "DARKROOM_LEASE_SECONDS": f"{LEASE:g}",
        "DARKROOM_CALL_SECONDS": f"{CALL:g}",
        "DARKROOM_DEADLINE_SECONDS": f"{DEADLINE:g}",
        "DARKROOM_WAIT_SECONDS": f"{WAIT:g}",
        "DARKROOM_CIRCUIT": "open=3,cool_down=3,pause=2",  # seconds, as short as a round's are
        "DARKROOM_DAILY_QUOTA": str(plan.daily_quota),
        "DARKROOM_MONTHLY_QUOTA": "unlimited",
        "DARKROOM_MOST_IN_FLIGHT_PER_USER": "10000",
        "DARKROOM_END_USER_DAILY_QUOTA": str(plan.end_user_quota),
        "DARKROOM_SKETCH_SECONDS": "0.25",
        "DARKROOM_SKETCH_FAULTS": plan.sketch_faults,
        "DARKROOM_SKETCH_IMAGES_PER_CALL": str(plan.images_per_call),
    }


async def _started(until_then: AsyncExitStack, server: Any) -> Any:
    assert isinstance(server, EmbeddedServer)
    await asyncio.to_thread(server.start)
    until_then.callback(server.stop)
    return server


async def _is_ready(client: httpx.AsyncClient) -> bool:
    with suppress(httpx.TransportError):
        return (await client.get("/readyz")).status_code == 200
    return False
