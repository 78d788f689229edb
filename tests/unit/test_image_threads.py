"""Large pictures have one thread, all of them together."""

from __future__ import annotations

import asyncio
import threading

import pytest
from PIL import Image

from domain.image import Format
from infrastructure import image_threads
from infrastructure.image_editing import PillowEditor
from infrastructure.image_parts import PNG_SIGNATURE
from infrastructure.image_threads import ImageThreads, is_large
from infrastructure.images import PillowInspector
from tests.photographs import exif, photograph, scene, written

FORMATS: list[Format] = ["png", "jpeg", "webp"]


@pytest.mark.parametrize("format_", FORMATS)
def test_a_picture_is_large_by_what_its_head_says(
    format_: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = [photograph(format_, 6), written(scene(), format_)]
    pictures += [written(scene(mode="RGBA"), "webp"), written(scene(), "webp", lossless=True)]
    for picture in pictures:
        monkeypatch.setattr(image_threads, "LARGE", 48 * 32)
        assert not is_large(picture)
        monkeypatch.setattr(image_threads, "LARGE", 48 * 32 - 1)
        assert is_large(picture)


def test_what_hides_its_size_is_large_and_what_is_no_picture_is_not() -> None:
    many = b"\xff\xd8" + b"\xff\xe1\x00\x02" * 2000
    assert is_large(many + written(scene(), "jpeg")[2:])
    assert is_large(PNG_SIGNATURE + b"\0\0\0\x08tEXt" + bytes(12) + written(scene(), "png")[8:])
    assert is_large(b"RIFF\0\0\0\0WEBPJUNK")
    assert not is_large(b"<html>")


async def test_large_pictures_are_edited_one_at_a_time_and_small_ones_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(image_threads, "LARGE", 100)
    large, small = written(scene(), "png"), written(scene((9, 9)), "png")
    threads, others = ImageThreads(2, "a"), ImageThreads(2, "b")
    begun, go_on = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        begun.release()
        go_on.wait()

    held = [asyncio.create_task(some.run(large, hold)) for some in (threads, others)]
    assert await asyncio.to_thread(begun.acquire)
    names = await asyncio.gather(
        *(threads.run(small, lambda: threading.current_thread().name) for _ in range(3))
    )
    assert {name[0] for name in names} == {"a"}
    assert not begun.acquire(blocking=False), "the second large one waits"
    go_on.set()
    await asyncio.gather(*held)


async def test_editor_and_inspector_share_the_thread_for_large_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(image_threads, "LARGE", 100)
    seen: list[str] = []
    load = Image.Image.getexif

    def noted(image: Image.Image) -> Image.Exif:
        seen.append(threading.current_thread().name)
        return load(image)

    monkeypatch.setattr(Image.Image, "getexif", noted)
    photo = written(scene(), "jpeg", exif=exif(6))
    await PillowEditor().cleaned(photo)
    await PillowInspector().inspect(photo)
    assert seen
    assert {name.rpartition("_")[0] for name in seen} == {"large-image"}
