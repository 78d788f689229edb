"""Every image store for tests, each with what makes its objects old, or itself unavailable."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from application.ports.images import ImageStore
from domain.image import image_key
from infrastructure.image_stores.filesystem import FilesystemImageStore
from infrastructure.image_stores.supabase import SupabaseImageStore
from tests.e2e.stack import free_port
from tests.fakes_images import FakeImageStore, small_png
from tests.servers.protocol import serving
from tests.servers.supabase import KEY, SupabaseServer

PUBLIC_URL = "https://images.example"
BUCKET = "darkroom"
REFERENCES = f"{BUCKET}-references"
DATA = small_png("a picture")
HASH = sha256(DATA).hexdigest()

Making = Callable[[Path], AbstractAsyncContextManager["StoreUnderTest"]]


def new_key() -> str:
    return image_key(uuid4(), 1, HASH, "image/png")


@dataclass
class StoreUnderTest:
    """An image store, where its images are public, and time to pass for what lies there."""

    store: ImageStore
    public_url: str
    let_it_age: Callable[..., None]


def supabase_store(url: str, *, key: str = KEY) -> SupabaseImageStore:
    return SupabaseImageStore(url=url, key=key, bucket=BUCKET)


@asynccontextmanager
async def filesystem(folder: Path) -> AsyncIterator[StoreUnderTest]:
    objects = folder / "objects"
    store = FilesystemImageStore(objects, PUBLIC_URL)
    yield StoreUnderTest(store, PUBLIC_URL, partial(_let_files_age, objects))


def _let_files_age(folder: Path, **time: float) -> None:
    for path in folder.rglob("*.*"):
        then = path.stat().st_mtime - timedelta(**time).total_seconds()
        os.utime(path, (then, then))


@asynccontextmanager
async def fake(_: Path) -> AsyncIterator[StoreUnderTest]:
    store = FakeImageStore(PUBLIC_URL)
    yield StoreUnderTest(store, PUBLIC_URL, store.clock.advance)


@asynccontextmanager
async def supabase(_: Path, **options: Any) -> AsyncIterator[StoreUnderTest]:
    server = SupabaseServer()
    server.switches.options.update(options)
    async with serving(server) as url:
        store = supabase_store(url)
        public = f"{url}/storage/v1/object/public/{BUCKET}"
        yield StoreUnderTest(store, public, server.let_it_age)
        await store.close()


@asynccontextmanager
async def filesystem_on_a_file(folder: Path) -> AsyncIterator[StoreUnderTest]:
    (folder / "occupied").write_bytes(b"")
    store = FilesystemImageStore(folder / "occupied", PUBLIC_URL)
    yield StoreUnderTest(store, PUBLIC_URL, _nothing_ages)


@asynccontextmanager
async def fake_unavailable(_: Path) -> AsyncIterator[StoreUnderTest]:
    store = FakeImageStore(PUBLIC_URL)
    store.unavailable = True
    yield StoreUnderTest(store, PUBLIC_URL, _nothing_ages)


@asynccontextmanager
async def supabase_away(_: Path) -> AsyncIterator[StoreUnderTest]:
    store = supabase_store(f"http://127.0.0.1:{free_port()}")
    yield StoreUnderTest(store, PUBLIC_URL, _nothing_ages)
    await store.close()


def _nothing_ages(**_: Any) -> None:
    raise AssertionError("nothing lies there")


STORES: Mapping[str, Making] = {
    "filesystem": filesystem,
    "fake": fake,
    "supabase": supabase,
    "supabase of another release": partial(supabase, error_names="code"),
}
BROKEN: Mapping[str, Making] = {
    "filesystem": filesystem_on_a_file,
    "fake": fake_unavailable,
    "supabase": supabase_away,
}
