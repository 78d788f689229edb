"""The image store on a real disk: what is durable, what a fault leaves behind, who may read it."""

import asyncio
import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.ports.images import ImageStoreUnavailableError
from domain.image import image_key
from infrastructure.image_stores import filesystem
from infrastructure.image_stores.filesystem import UNFINISHED, FilesystemImageStore

DATA = b"not looked into by the store" * 1000
HASH = sha256(DATA).hexdigest()
NOBODY = 65534
PUT_WHAT_IS_TOLD = """
import asyncio, sys
from pathlib import Path
from hashlib import sha256
from infrastructure.image_stores.filesystem import FilesystemImageStore
store = FilesystemImageStore(Path(sys.argv[1]), "")
print("ready", flush=True)
for line in sys.stdin:
    number, size = map(int, line.split())
    data = number.to_bytes(4, "big") * (size // 4)
    key = f"images/generation-{number % 3}/{number}-{sha256(data).hexdigest()}.png"
    asyncio.run(store.put(key, data, "image/png"))
    print(key, flush=True)
"""


def new_key() -> str:
    return image_key(uuid4(), 1, HASH, "image/png")


def store_in(folder: Path) -> FilesystemImageStore:
    return FilesystemImageStore(folder, "https://images.example")


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def objects_in(folder: Path) -> list[Path]:
    return [path for path in files_in(folder) if not path.name.startswith(UNFINISHED)]


def modes_in(folder: Path, kind: Callable[[Path], bool]) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if kind(path)}


def is_whole(path: Path) -> bool:
    return sha256(path.read_bytes()).hexdigest() == path.stem.split("-")[1]


@contextmanager
def writer(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PUT_WHAT_IS_TOLD, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def without_roots_powers() -> Iterator[None]:
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if was_root:
            os.seteuid(0)


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        path.chmod(0o500)
        yield path
        path.chmod(0o700)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root, where mounting is allowed, can have a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_only_the_owner_can_read_objects(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        await store_in(tmp_path / "objects").put(new_key(), DATA, "image/png")
    finally:
        os.umask(before)
    assert modes_in(tmp_path, Path.is_dir) == {0o700}
    assert modes_in(tmp_path, Path.is_file) == {0o600}


async def test_deleting_the_last_object_removes_its_folder(tmp_path: Path) -> None:
    store, key = store_in(tmp_path), new_key()
    await store.put(key, DATA, "image/png")
    await store.delete([key])
    assert list((tmp_path / "images").iterdir()) == []


async def test_an_object_that_rotted_is_no_longer_held(tmp_path: Path) -> None:
    store, key = store_in(tmp_path), new_key()
    await store.put(key, DATA, "image/png")
    (tmp_path / key).write_bytes(DATA[:-1])
    assert not await store.holds(key, sha256=HASH)


async def test_a_picture_is_hashed_outside_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, key = store_in(tmp_path), new_key()
    await store.put(key, DATA, "image/png")
    hashing: list[threading.Thread] = []

    def noted(data: bytes) -> Any:
        hashing.append(threading.current_thread())
        return sha256(data)

    monkeypatch.setattr(filesystem.hashlib, "sha256", noted)
    assert await store.holds(key, sha256=HASH)
    assert hashing
    assert threading.main_thread() not in hashing


async def test_the_file_of_an_object_can_be_served(tmp_path: Path) -> None:
    store, key = store_in(tmp_path), new_key()
    await store.put(key, DATA, "image/png")
    assert store.path_of(key) == (tmp_path / key).resolve()


@pytest.mark.parametrize("key", ["images/../secret.png", "/etc/passwd", "images/a\0/b.png", ""])
def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    assert store_in(tmp_path).path_of(key) is None


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "objects/images/a").mkdir(parents=True)
    (tmp_path / "objects/images/a/b.png").symlink_to(tmp_path / "secret.png")
    assert store_in(tmp_path / "objects").path_of("images/a/b.png") is None
    assert store_in(tmp_path / "objects").path_of("images/a/c.png") is None


def test_a_disk_that_does_not_answer_is_no_missing_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(self: Path, *, strict: bool = False) -> Path:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(Path, "resolve", stale)
    with pytest.raises(ImageStoreUnavailableError, match="Stale file handle"):
        store_in(tmp_path).path_of("images/a/b.png")


# --- faults of the disk ----------------------------------------------------------------------


async def test_a_file_that_may_not_grow_is_said_to_be_so_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        files_limited_to(10_000),
        pytest.raises(ImageStoreUnavailableError, match="File too large") as refused,
    ):
        await store_in(tmp_path).put(new_key(), DATA, "image/png")
    assert str(tmp_path) not in str(refused.value)
    assert files_in(tmp_path) == []


async def test_a_full_disk_is_said_to_be_so_and_takes_objects_again_later(small_disk: Path) -> None:
    store = store_in(small_disk)
    first, second = new_key(), new_key()
    await store.put(first, DATA, "image/png")
    big = image_key(uuid4(), 1, HASH, "image/png")
    with pytest.raises(ImageStoreUnavailableError, match="No space left on device"):
        await store.put(big, DATA * 3, "image/png")
    assert len(files_in(small_disk)) == 1
    await store.delete([first])
    await store.put(second, DATA, "image/png")
    assert await store.holds(second, sha256=HASH)


async def test_a_read_only_folder_is_said_to_be_so(read_only_folder: Path) -> None:
    with (
        without_roots_powers(),
        pytest.raises(ImageStoreUnavailableError, match="Permission denied") as refused,
    ):
        await store_in(read_only_folder).put(new_key(), DATA, "image/png")
    assert str(read_only_folder) not in str(refused.value)


# --- several writers, and writers that die ---------------------------------------------------


def test_processes_that_write_the_same_objects_at_once_all_succeed(tmp_path: Path) -> None:
    with writer(tmp_path) as one, writer(tmp_path) as two, writer(tmp_path) as three:
        writers = [one, two, three]
        for process in writers:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        told = "".join(f"{number} 40000\n" for number in range(60))
        said = [_told(process, told) for process in writers]
    assert all(len(keys) == 60 for keys in said)
    assert len(files_in(tmp_path)) == 60
    assert all(is_whole(path) for path in objects_in(tmp_path))


async def test_puts_and_deletes_of_one_folder_at_once_all_succeed(tmp_path: Path) -> None:
    store, generation = store_in(tmp_path), UUID(int=1)
    keys = [image_key(generation, number, HASH, "image/png") for number in (1, 2)]

    async def come_and_go(key: str) -> None:
        for _ in range(150):
            await store.put(key, DATA, "image/png")
            await store.delete([key])
        await store.put(key, DATA, "image/png")

    await asyncio.gather(*(come_and_go(key) for key in keys))
    assert all([await store.holds(key, sha256=HASH) for key in keys])


@pytest.mark.parametrize("wait_for", [1, 2, 4, 7])
def test_kill_9_leaves_no_wrong_object(tmp_path: Path, wait_for: int) -> None:
    with writer(tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("".join(f"{number} 4000000\n" for number in range(40)))
        process.stdin.flush()
        said = [process.stdout.readline().strip() for _ in range(wait_for + 1)][1:]
        process.send_signal(signal.SIGKILL)
    assert all((tmp_path / key).exists() for key in said)
    assert all(is_whole(path) for path in objects_in(tmp_path))
    assert len(files_in(tmp_path)) - len(objects_in(tmp_path)) <= 1


def _told(process: subprocess.Popen[str], lines: str) -> list[str]:
    out, _ = process.communicate(lines)
    assert process.returncode == 0
    return out.split()
