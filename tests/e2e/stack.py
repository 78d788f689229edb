"""The REST API on a real server and a real database, with a worker that the test drives."""

from __future__ import annotations

import asyncio
import io
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
from fastapi import FastAPI
from PIL import Image

from application.ports.event_store import StoreUnavailableError
from application.ports.workers import DueWork, WorkBoard
from domain.provider import PROVIDERS
from infrastructure.container import Container
from infrastructure.event_store.follower import Follower
from infrastructure.event_store.follower_tables import ensure_tables
from infrastructure.read_models.image_generations import READ_MODEL
from infrastructure.settings import Settings, load_settings, variable
from interfaces.rest.app import create_app
from interfaces.rest.connection import Connection
from interfaces.rest.middleware import STALLED_AFTER
from interfaces.rest.serve import server_of
from tests.meanwhile import meanwhile
from tests.processes import ADMIN_KEY

LEASE = timedelta(minutes=5)
TESTERS = 5  # at most, beside each other
TESTER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
MINE = range(10_000 + TESTER % TESTERS, 20_000, TESTERS)  # Linux gives out none of them by itself
PORTS = cycle(random.SystemRandom().sample(MINE, len(MINE)))  # whoever else tests on this machine


@dataclass
class Stack:
    """One API process (several share a database), its client, and its worker."""

    container: Container
    client: httpx.AsyncClient
    settings: Settings
    app: FastAPI

    async def perform_all(self) -> None:
        """Do what is due, as a worker process would, until nothing is."""
        board: WorkBoard = self.container.board()
        worker = uuid4()
        await board.register(worker, slots=1, lease=LEASE)
        while due := await board.next_due(after_user=uuid4(), limit=10, handed_over=[]):
            for work in due:
                await self._perform(work, worker)
        await board.retire(worker)

    async def _perform(self, work: DueWork, worker: UUID) -> None:
        if work.kind == "delete":
            await self.container.deletions().perform(work.ref, worker)
        else:
            await self.container.performer().perform(work.ref, worker)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Let a worker perform whatever becomes due."""

        async def work() -> None:
            while True:
                with suppress(StoreUnavailableError):  # a worker goes on when it is back
                    await self.perform_all()
                await asyncio.sleep(0.01)

        async with meanwhile(work()):
            yield

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Keep the history up to date."""
        follower = Follower(self.container.database_url(), READ_MODEL)
        async with meanwhile(follower.run()):
            yield

    async def generate(self, **fields: Any) -> dict[str, Any]:
        """A generation that was asked for and not waited for."""
        response = await self.client.post(
            "/api/v1/generations",
            json={"prompt": "a lighthouse", "size": "64x64", **fields},
            headers={"Prefer": "respond-async"},
        )
        assert response.status_code == 202, response.text
        generation: dict[str, Any] = response.json()
        return generation

    def watched(self) -> set[UUID]:
        """The streams that requests wait for; the process itself watches that of the providers."""
        return set(self.container.news()._watchers) - {PROVIDERS}

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What the database says, over a connection of its own."""
        url = self.container.database_url()
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            cursor = await connection.execute(query)
            return await cursor.fetchall() if cursor.description is not None else []

    async def recorded(self) -> int:
        """How many events there are about generations."""
        topic = "SELECT count(*) FROM stored_events WHERE topic LIKE 'generation.%'"
        return int((await self.rows(topic))[0][0])


def settings_for(folder: Path, database_url: str, redis_url: str, **changed: str) -> Settings:
    """Settings of a stack, on a free port."""
    given = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DARKROOM_DATA_DIR": str(folder),
        "DARKROOM_ADMIN_KEY": ADMIN_KEY,
        "DARKROOM_PORT": str(free_port()),
        "DARKROOM_WAIT_SECONDS": "20",
        "DARKROOM_LEAVE_SECONDS": "0",
        "DARKROOM_LOGIN_RATE": "none",  # all tests come from one address
        "DARKROOM_GUESS_RATE": "none",
    }
    named = {variable(name): value for name, value in changed.items()}
    return load_settings({**given, **named})


def free_port() -> int:
    """A port that nobody listens on, and that no other test is given meanwhile."""
    for port in islice(PORTS, len(MINE)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("none of the ports is free")


@asynccontextmanager
async def running(
    settings: Settings,
    *,
    ready: bool = True,
    stalled_after: float = STALLED_AFTER,
    connection: type[Connection] = Connection,
    patience: float = 10.0,
) -> AsyncIterator[Stack]:
    """The stack until the block ends; unless told otherwise, the administrator is registered.

    `patience` is readiness's with each of its checks, in seconds.
    """
    if ready:
        assert settings.database_url
        await ensure_tables(settings.database_url)
    container = Container(settings=settings)
    container.readiness()._patience = patience
    app = create_app(container, stalled_after=stalled_after)
    server = server_of(
        app,
        port=settings.port,
        connection=connection,
        trusted_proxies=settings.trusted_proxies,
    )
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:
            await asyncio.sleep(0.005)
        if ready:
            await _registered(container.database_url())
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{settings.port}",
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
            timeout=30,
        ) as client:
            yield Stack(container, client, settings, app)
    finally:
        container.waiting().stop()
        server.should_exit = True
        await serving


async def _registered(database_url: str) -> None:
    registered = "SELECT FROM stored_events WHERE topic LIKE 'user.%'"
    async with (
        asyncio.timeout(10),
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection,
    ):
        while await (await connection.execute(registered)).fetchone() is None:
            await asyncio.sleep(0.005)


def encoded(format_: str, size: tuple[int, int] = (8, 8), **options: Any) -> bytes:
    """An image file of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", size, "teal").save(stream, format_, **options)
    return stream.getvalue()
