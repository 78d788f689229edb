"""A walk through a real folder: what killed processes left in it, and races for an old object."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pytest

from domain.image import image_key, reference_key
from infrastructure.image_stores import filesystem
from infrastructure.image_stores.filesystem import FilesystemImageStore
from infrastructure.image_stores.filesystem_walk import HIDDEN, UNFINISHED, age_of

DATA = b"not looked into by the store" * 100
HASH = sha256(DATA).hexdigest()
A_DAY = timedelta(days=1)


class Shelf:
    """A store on a folder, and ways to make what lies there old."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = FilesystemImageStore(folder, "https://images.example")

    async def put(self, *, days_ago: int = 0) -> Path:
        key = reference_key(uuid4(), HASH, "image/png")
        await self.store.put(key, DATA, "image/png")
        path = self.folder / key
        make_old(path, days_ago)
        return path

    async def put_again(self, path: Path) -> None:
        await self.store.put(self.key(path), DATA, "image/png")

    async def forget(self, path: Path) -> bool:
        return await self.store.forget(self.key(path), older_than=A_DAY)

    def key(self, path: Path) -> str:
        return str(path.relative_to(self.folder))

    async def walk(self) -> tuple[list[str], int]:
        pages = [page async for page in self.store.walk(at_once=100)]
        seen = [object_.key for page in pages for object_ in page.objects]
        return seen, sum(page.leftovers for page in pages)


def make_old(path: Path, days: int) -> None:
    then = path.stat().st_mtime - days * 86_400
    os.utime(path, (then, then))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "objects")


async def test_what_killed_puts_left_is_removed_with_its_empty_folder(shelf: Shelf) -> None:
    kept = await shelf.put()
    folder = shelf.folder / "images" / str(uuid4())
    folder.mkdir(parents=True)
    unfinished = folder / f"{UNFINISHED}{uuid4()}"
    unfinished.write_bytes(b"half a pic")
    assert await shelf.walk() == ([shelf.key(kept)], 0), "somebody may be writing it"
    assert unfinished.exists()
    make_old(unfinished, days=1)
    assert await shelf.walk() == ([shelf.key(kept)], 1)
    assert not folder.exists()


async def test_what_a_killed_removal_left_is_an_object_again(shelf: Shelf) -> None:
    path = await shelf.put(days_ago=2)
    path.rename(path.with_name(f"{HIDDEN}{path.name}"))
    await shelf.walk()
    assert await shelf.walk() == ([shelf.key(path)], 0)
    assert await shelf.forget(path)
    assert list(shelf.folder.rglob("*.*")) == []


async def test_what_is_put_again_between_the_look_and_the_removal_stays(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await shelf.put()
    first_look = iter([2 * A_DAY])
    monkeypatch.setattr(filesystem, "age_of", lambda seen: next(first_look, None) or age_of(seen))
    assert not await shelf.forget(path)
    assert path.read_bytes() == DATA
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


async def test_requests_that_race_with_a_removal_always_have_their_object(shelf: Shelf) -> None:
    path = await shelf.put()
    removed = 0
    for _ in range(200):
        make_old(path, days=2)
        gone, *_ = await asyncio.gather(shelf.forget(path), shelf.put_again(path))
        removed += gone
        assert path.read_bytes() == DATA, "a request was told that it is stored"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


async def test_a_walk_knows_only_its_own_kind_of_files(shelf: Shelf) -> None:
    path = await shelf.put()
    (path.parent / "notes.txt").write_text("an operator's")
    (shelf.folder / "README").write_text("an operator's")
    image = image_key(uuid4(), 1, HASH, "image/png")
    await shelf.store.put(image, DATA, "image/png")
    assert sorted((await shelf.walk())[0]) == sorted([shelf.key(path), image])
    assert (path.parent / "notes.txt").exists()


async def test_what_cannot_be_read_is_passed_by_and_the_walk_goes_on(shelf: Shelf) -> None:
    before, after = await shelf.put(), await shelf.put()
    for kind in ("images", "references"):
        endless = shelf.folder / kind / "leads-to-itself"
        endless.parent.mkdir(exist_ok=True)
        endless.symlink_to(endless)
    (before.parent / "1.png").symlink_to(before.parent / "1.png")
    pages = [page async for page in shelf.store.walk(at_once=2)]
    seen = {object_.key for page in pages for object_ in page.objects}
    assert seen == {shelf.key(before), shelf.key(after)}
    assert sum(page.unreadable for page in pages) == 3
