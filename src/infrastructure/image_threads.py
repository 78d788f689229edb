"""Threads in which pictures are decoded and edited: large ones, one after the other."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from application.ports.images import NotAnImageError
from infrastructure.image_parts import content_type_of, jpeg_segments

LARGE = 16_000_000  # pixels; each takes up to 16 bytes of memory while it is edited
SEGMENTS = 1000  # of a JPEG, in which its size is looked for
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}

T = TypeVar("T")


class ImageThreads:
    """As many threads as asked for, and one for all large pictures of the whole process.

    A thread of its own, no lock: who gives up waiting does not stop what it has begun.
    """

    _for_large = ThreadPoolExecutor(1, thread_name_prefix="large-image")

    def __init__(self, threads: int, name: str) -> None:
        self._for_others = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, data: bytes, work: Callable[[], T]) -> T:
        """Do what there is to do with this picture."""
        threads = self._for_large if is_large(data) else self._for_others
        return await asyncio.get_running_loop().run_in_executor(threads, work)


def is_large(data: bytes) -> bool:
    """By what its head says, at once; what hides its size counts as large."""
    try:
        kind = content_type_of(data)
    except NotAnImageError:
        return False
    width, height = {"image/png": _of_png, "image/jpeg": _of_jpeg, "image/webp": _of_webp}[kind](
        data
    )
    return width * height > LARGE


def _of_png(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        return LARGE, LARGE
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _of_jpeg(data: bytes) -> tuple[int, int]:
    for segment in itertools.islice(jpeg_segments(data), SEGMENTS):
        if segment.marker in FRAMES:
            size = segment.payload
            return int.from_bytes(size[3:5], "big"), int.from_bytes(size[1:3], "big")
    return LARGE, LARGE


def _of_webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return (
            1 + int.from_bytes(data[24:27], "little"),
            1 + int.from_bytes(data[27:30], "little"),
        )
    if kind == b"VP8L":
        both = int.from_bytes(data[21:25], "little")
        return 1 + (both & 0x3FFF), 1 + (both >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        sides = int.from_bytes(data[26:28], "little"), int.from_bytes(data[28:30], "little")
        return sides[0] & 0x3FFF, sides[1] & 0x3FFF
    return LARGE, LARGE
